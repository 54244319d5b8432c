//! Messages of DHCP, of both versions of IP, as the bytes that UDP carries.

use std::net::Ipv4Addr;

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress};

use crate::panel::port::Mac;

/// The port of a server.
pub const SERVER: u16 = 67;
/// The port of a client.
pub const CLIENT: u16 = 68;
/// The port of a server of DHCPv6.
pub const SERVER6: u16 = 547;
/// The port of a client of DHCPv6.
pub const CLIENT6: u16 = 546;

/// What all messages of the tests have as their number.
const TRANSACTION: u32 = 0x000c_7e70;

/// `client` asks for an address.
pub fn discover(client: Mac) -> Vec<u8> {
    emit(&about(DhcpMessageType::Discover, client))
}

/// `client` wants the address `wanted` of `server`.
pub fn request(client: Mac, wanted: Ipv4Addr, server: Ipv4Addr) -> Vec<u8> {
    let (requested_ip, server_identifier) = (Some(wanted), Some(server));
    let request = about(DhcpMessageType::Request, client);
    emit(&DhcpRepr { requested_ip, server_identifier, ..request })
}

/// `server` offers the address `gives` to `client`, and itself as the router.
pub fn offer(client: Mac, gives: Ipv4Addr, server: Ipv4Addr) -> Vec<u8> {
    emit(&assignment(DhcpMessageType::Offer, client, gives, server))
}

/// `server` gives the address `gives` to `client`.
pub fn acknowledge(client: Mac, gives: Ipv4Addr, server: Ipv4Addr) -> Vec<u8> {
    emit(&assignment(DhcpMessageType::Ack, client, gives, server))
}

fn assignment(
    kind: DhcpMessageType,
    client: Mac,
    gives: Ipv4Addr,
    server: Ipv4Addr,
) -> DhcpRepr<'static> {
    DhcpRepr {
        your_ip: gives,
        server_ip: server,
        router: Some(server),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        server_identifier: Some(server),
        lease_duration: Some(3600),
        ..about(kind, client)
    }
}

fn about(message_type: DhcpMessageType, client: Mac) -> DhcpRepr<'static> {
    DhcpRepr {
        message_type,
        transaction_id: TRANSACTION,
        secs: 0,
        client_hardware_address: EthernetAddress(client.0),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: true,
        requested_ip: None,
        client_identifier: None,
        server_identifier: None,
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    }
}

fn emit(repr: &DhcpRepr) -> Vec<u8> {
    let mut bytes = vec![0; repr.buffer_len()];
    let written = repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes));
    written.expect("the buffer has the length that the message has");
    bytes
}

/// The kinds of messages of DHCPv6 (RFC 8415, 7.3).
pub mod v6_kind {
    /// A client asks for servers.
    pub const SOLICIT: u8 = 1;
    /// A server says that it is one.
    pub const ADVERTISE: u8 = 2;
    /// A client wants what a server has.
    pub const REQUEST: u8 = 3;
    pub const REPLY: u8 = 7;
}

/// A message of DHCPv6 that names the client and, if there is one, the server (RFC 8415, 8).
pub fn v6(kind: u8, client: Mac, server: Option<Mac>) -> Vec<u8> {
    let [_, number @ ..] = TRANSACTION.to_be_bytes();
    let mut bytes = vec![kind];
    bytes.extend(number);
    for (option, mac) in [(1, Some(client)), (2, server)] {
        let Some(mac) = mac else { continue };
        bytes.extend([0, option, 0, 10]);
        bytes.extend([0, 3, 0, 1]); // named by an address of the link, which is Ethernet
        bytes.extend(mac.0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Mac = Mac::number(1);
    const OTHER: Mac = Mac::number(2);
    const GIVEN: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 2);
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 1);

    #[test]
    fn messages_are_read_back() {
        let read = |bytes: &[u8], kind| {
            let packet = DhcpPacket::new_checked(bytes).unwrap();
            let repr = DhcpRepr::parse(&packet).unwrap();
            assert_eq!(repr.message_type, kind);
            assert_eq!(repr.client_hardware_address.0, ONE.0);
            (repr.your_ip, repr.requested_ip, repr.server_identifier)
        };
        let none = Ipv4Addr::UNSPECIFIED;
        assert_eq!(read(&discover(ONE), DhcpMessageType::Discover), (none, None, None));
        let found = read(&request(ONE, GIVEN, SERVER), DhcpMessageType::Request);
        assert_eq!(found, (none, Some(GIVEN), Some(SERVER)));
        let found = read(&offer(ONE, GIVEN, SERVER), DhcpMessageType::Offer);
        assert_eq!(found, (GIVEN, None, Some(SERVER)));
        let found = read(&acknowledge(ONE, GIVEN, SERVER), DhcpMessageType::Ack);
        assert_eq!(found, (GIVEN, None, Some(SERVER)));
    }

    #[test]
    fn the_other_version_names_both() {
        // RFC 8415, 8: kind and number; 21.2 and 21.3: options 1 and 2; 11.4: DUID 3, hardware 1.
        let expected = [
            2, 0x0c, 0x7e, 0x70, 0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1, //
            0, 2, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 2,
        ];
        assert_eq!(v6(v6_kind::ADVERTISE, ONE, Some(OTHER)), expected);
        assert_eq!(v6(v6_kind::SOLICIT, ONE, None).len(), 18);
    }
}
