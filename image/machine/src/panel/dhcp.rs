//! A small DHCP server, for one client: made of smoltcp's messages, which netd does not use.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use smoltcp::wire::{
    DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame,
    EthernetProtocol, IpProtocol, Ipv4Packet, UdpPacket,
};

use super::packet;
use super::port::{Mac, Port};

/// How long a client may take to ask; long, because the host may be busy.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The option that names servers for the time (RFC 2132, 8.3).
const TIME: u8 = 42;

/// A server, and the one address that it gives.
#[derive(Debug, Clone)]
pub struct DhcpServer {
    pub mac: Mac,
    /// Its address, which is also that of the gateway.
    pub address: Ipv4Addr,
    pub mask: Ipv4Addr,
    /// The address that it gives.
    pub offered: Ipv4Addr,
    /// For how many seconds.
    pub seconds: u32,
    /// Whether it says that it answers questions about names and time, too.
    pub knows: bool,
}

impl DhcpServer {
    /// Serves at `port` until a client has confirmed the address. Returns what it asked, in order.
    ///
    /// # Errors
    /// Nobody asks within two minutes, or the guest is gone.
    pub fn serve(&self, port: &Port) -> io::Result<Vec<DhcpMessageType>> {
        let deadline = Instant::now() + TIMEOUT;
        let mut requests = vec![];
        while let Some(frame) = port.receive(deadline) {
            let Some((kind, reply)) = self.answer(&frame) else { continue };
            requests.push(kind);
            if let Some(reply) = reply {
                port.send(&reply)?;
            }
            if kind == DhcpMessageType::Request {
                return Ok(requests);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no DHCP request came, but {requests:?}"),
        ))
    }

    /// What the client asks in `frame`, and the frame with the answer.
    pub fn answer(&self, frame: &[u8]) -> Option<(DhcpMessageType, Option<Vec<u8>>)> {
        let time = self.address.octets();
        let time = [DhcpOption { kind: TIME, data: &time }];
        self.answer_with(frame, if self.knows { &time } else { &[] })
    }

    /// The same with other `options` than that about the time.
    pub fn answer_with(
        &self,
        frame: &[u8],
        options: &[DhcpOption<'_>],
    ) -> Option<(DhcpMessageType, Option<Vec<u8>>)> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        if frame.ethertype() != EthernetProtocol::Ipv4 {
            return None;
        }
        let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
        if ip.next_header() != IpProtocol::Udp {
            return None;
        }
        let udp = UdpPacket::new_checked(ip.payload()).ok()?;
        if udp.dst_port() != 67 {
            return None;
        }
        let packet = DhcpPacket::new_checked(udp.payload()).ok()?;
        let question = DhcpRepr::parse(&packet).ok()?;
        let answer = match question.message_type {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            DhcpMessageType::Request => DhcpMessageType::Ack,
            kind => return Some((kind, None)),
        };
        let client = question.client_hardware_address;
        let repr = DhcpRepr {
            message_type: answer,
            transaction_id: question.transaction_id,
            secs: 0,
            client_hardware_address: client,
            client_ip: question.client_ip,
            your_ip: self.offered,
            server_ip: self.address,
            router: Some(self.address),
            subnet_mask: Some(self.mask),
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: question.broadcast,
            requested_ip: None,
            client_identifier: None,
            server_identifier: Some(self.address),
            parameter_request_list: None,
            dns_servers: self.knows.then(|| [self.address].into_iter().collect()),
            max_size: None,
            lease_duration: Some(self.seconds),
            renew_duration: None,
            rebind_duration: None,
            additional_options: options,
        };
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).ok()?;
        // To all, if the client cannot be spoken to yet (RFC 2131, 4.1).
        let (to, mac) = match question.broadcast {
            true => (Ipv4Addr::BROADCAST, EthernetAddress::BROADCAST),
            false => (question.client_ip, client),
        };
        let (from, to) = ((IpAddr::V4(self.address), 67), (IpAddr::V4(to), 68));
        let reply = packet::udp((self.mac, Mac(mac.0)), from, to, &bytes);
        Some((question.message_type, Some(reply)))
    }
}
