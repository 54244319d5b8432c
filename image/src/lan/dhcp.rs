//! A DHCP client (RFC 2131) for a card that nobody else uses.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use octet_machine::panel::Mac;
use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress};

/// The ports of clients and servers.
const CLIENT: u16 = 68;
const SERVER: u16 = 67;

/// The pause before a question is asked again.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// No answer is longer, in bytes.
const MAX_MESSAGE: usize = 1500;

/// The options that are asked for: mask, router, DNS servers, domain (RFC 2132).
const REQUESTED_OPTIONS: [u8; 4] = [1, 3, 6, DOMAIN];
const DOMAIN: u8 = 15;

/// Flags that a name of a domain may have.
const MAX_DOMAIN: usize = 253;

/// What a server has given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLease {
    pub address: Ipv4Addr,
    /// The length of its network's prefix, in bits.
    pub prefix: u32,
    pub server: Ipv4Addr,
    /// The way to all other networks.
    pub router: Option<Ipv4Addr>,
    /// Who is asked for names.
    pub dns: Vec<Ipv4Addr>,
    /// The domain that names are in.
    pub domain: Option<String>,
    /// For how many seconds.
    pub seconds: u32,
}

pub fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, CLIENT))?;
    socket.set_broadcast(true)?;
    Ok(socket)
}

/// Asks all servers for an address, or for the one that it `had`, until one gives it.
pub fn request_lease(
    socket: &UdpSocket,
    mac: Mac,
    had: Option<Ipv4Addr>,
    deadline: Instant,
) -> io::Result<DeviceLease> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let question = Transaction { mac, id: u32::from_ne_bytes(bytes) };
    let first = had.map_or((DhcpMessageType::Discover, None, None), |had| {
        (DhcpMessageType::Request, Some(had), None)
    });
    let (mut kind, mut wish, mut server) = first;
    let mut buffer = [0; MAX_MESSAGE];
    while Instant::now() < deadline {
        let sent =
            socket.send_to(&question.render(kind, wish, server), (Ipv4Addr::BROADCAST, SERVER));
        // A card without carrier takes nothing yet.
        if let Err(error) = sent
            && error.kind() != io::ErrorKind::NetworkDown
        {
            return Err(error);
        }
        let again = deadline.min(Instant::now() + RETRY_DELAY);
        // What is asked next, if somebody answers; the same once more, if nobody does.
        let answer = loop {
            let left = again.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            socket.set_read_timeout(Some(left))?;
            let Ok((count, _)) = socket.recv_from(&mut buffer) else { break None };
            if let Some(answer) = question.parse(&buffer[..count]) {
                break Some(answer);
            }
        };
        match answer {
            Some((DhcpMessageType::Offer, Some(offer))) if kind == DhcpMessageType::Discover => {
                (kind, wish) = (DhcpMessageType::Request, Some(offer.address));
                server = Some(offer.server);
            }
            Some((DhcpMessageType::Ack, Some(lease))) if kind == DhcpMessageType::Request => {
                return Ok(lease);
            }
            // A server that has offered and then says nothing, or that refuses, is not asked for ever.
            Some((DhcpMessageType::Nak, _)) | None => {
                (kind, wish, server) = (DhcpMessageType::Discover, None, None);
            }
            Some(_) => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "nobody has answered in time"))
}

/// What all messages of one exchange have.
struct Transaction {
    mac: Mac,
    id: u32,
}

impl Transaction {
    fn render(
        &self,
        message_type: DhcpMessageType,
        requested_ip: Option<Ipv4Addr>,
        server_identifier: Option<Ipv4Addr>,
    ) -> Vec<u8> {
        let mac = EthernetAddress(self.mac.0);
        let repr = DhcpRepr {
            message_type,
            transaction_id: self.id,
            secs: 0,
            client_hardware_address: mac,
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            // There is no address yet that an answer could go to.
            broadcast: true,
            requested_ip,
            client_identifier: Some(mac),
            server_identifier,
            parameter_request_list: Some(&REQUESTED_OPTIONS),
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        let mut bytes = vec![0; repr.buffer_len()];
        // It has as many bytes as are wanted.
        let _ = repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes));
        bytes
    }

    /// An answer to this question, and what it gives.
    fn parse(&self, bytes: &[u8]) -> Option<(DhcpMessageType, Option<DeviceLease>)> {
        let packet = DhcpPacket::new_checked(bytes).ok()?;
        let answer = DhcpRepr::parse(&packet).ok()?;
        if answer.transaction_id != self.id || answer.client_hardware_address.0 != self.mac.0 {
            return None;
        }
        let domain = packet.options().find(|option| option.kind == DOMAIN);
        let lease = || {
            Some(DeviceLease {
                address: answer.your_ip,
                prefix: u32::from(answer.subnet_mask?).leading_ones(),
                server: answer.server_identifier?,
                router: answer.router,
                dns: answer.dns_servers.iter().flatten().copied().collect(),
                domain: domain.and_then(|option| name(option.data)),
                seconds: answer.lease_duration?.max(2),
            })
        };
        Some((answer.message_type, lease()))
    }
}

/// A domain, if it is one: it becomes a line of a file.
fn name(bytes: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_name = (1..=MAX_DOMAIN).contains(&name.len()) && name.bytes().all(is_plain);
    is_name.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUESTION: Transaction = Transaction { mac: Mac::number(7), id: 0x1234_5678 };

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut bytes = bytes;
            let asked = QUESTION.render(DhcpMessageType::Ack, None, None);
            let _ = QUESTION.parse(&bytes);
            // Behind a head that is read.
            let head = asked.len().min(240);
            bytes.splice(0..bytes.len().min(head), asked[..head].iter().copied());
            if let Some((_, Some(lease))) = QUESTION.parse(&bytes) {
                prop_assert!(lease.prefix <= 32 && lease.seconds >= 2);
            }
        }
    }

    #[test]
    fn only_an_answer_to_the_question_is_one() {
        let asked =
            QUESTION.render(DhcpMessageType::Request, Some(Ipv4Addr::new(10, 20, 250, 9)), None);
        let same = QUESTION.parse(&asked).unwrap();
        assert_eq!(same, (DhcpMessageType::Request, None));
        let [other, another] =
            [Transaction { id: 1, ..QUESTION }, Transaction { mac: Mac::number(8), ..QUESTION }];
        assert!(other.parse(&asked).is_none() && another.parse(&asked).is_none());
    }

    #[test]
    fn a_domain_cannot_be_two_lines() {
        assert_eq!(name(b"octet.internal\0").as_deref(), Some("octet.internal"));
        for wrong in [&b"a\nnameserver 1.1.1.1"[..], b"", b"a b", &[b'a'; 300], b"\xff"] {
            assert_eq!(name(wrong), None);
        }
    }
}
