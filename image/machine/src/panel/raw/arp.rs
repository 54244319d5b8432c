//! ARP, with whatever it says (RFC 826).

use std::net::Ipv4Addr;

use smoltcp::wire::{ArpHardware, ArpOperation, ArpPacket, EthernetProtocol};

use super::ethernet;
use crate::panel::port::Mac;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// 1 for a request, 2 for a reply.
    pub operation: u16,
    /// Who says it, as the message says.
    pub sender: (Mac, Ipv4Addr),
    pub target: (Mac, Ipv4Addr),
}

/// The operation of a request.
pub const REQUEST: u16 = 1;
/// The operation of a reply.
pub const REPLY: u16 = 2;

impl Arp {
    /// Who has `target`?
    pub fn request(sender: (Mac, Ipv4Addr), target: Ipv4Addr) -> Self {
        Self { operation: REQUEST, sender, target: (Mac([0; 6]), target) }
    }

    /// `sender` is at its Ethernet address, for `target` to know.
    pub fn reply(sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Self {
        Self { operation: REPLY, sender, target }
    }

    /// `sender` is at its Ethernet address, for everybody to know (RFC 5227, 3).
    pub fn gratuitous(operation: u16, sender: (Mac, Ipv4Addr)) -> Self {
        let mac = if operation == REQUEST { Mac([0; 6]) } else { sender.0 };
        Self { operation, sender, target: (mac, sender.1) }
    }

    /// Its 28 bytes.
    pub fn packet(&self) -> Vec<u8> {
        let mut bytes = vec![0; 28];
        let mut packet = ArpPacket::new_unchecked(&mut bytes);
        packet.set_hardware_type(ArpHardware::Ethernet);
        packet.set_protocol_type(EthernetProtocol::Ipv4);
        packet.set_hardware_len(6);
        packet.set_protocol_len(4);
        packet.set_operation(ArpOperation::from(self.operation));
        packet.set_source_hardware_addr(&self.sender.0.0);
        packet.set_source_protocol_addr(&self.sender.1.octets());
        packet.set_target_hardware_addr(&self.target.0.0);
        packet.set_target_protocol_addr(&self.target.1.octets());
        bytes
    }

    pub fn frame(&self, macs: (Mac, Mac)) -> Vec<u8> {
        ethernet::frame(macs, ethernet::ARP, &self.packet())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: (Mac, Ipv4Addr) = (Mac::number(1), Ipv4Addr::new(10, 20, 1, 2));
    const OTHER: (Mac, Ipv4Addr) = (Mac::number(2), Ipv4Addr::new(10, 20, 2, 2));

    #[test]
    fn it_says_what_it_is_told() {
        // RFC 826: Ethernet, IPv4, 6 and 4 bytes, operation; sender; target.
        let expected = [
            0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 20, 1, 2, 2, 0, 0, 0, 0, 2, 10, 20, 2, 2,
        ];
        assert_eq!(Arp::reply(ONE, OTHER).packet(), expected);
        let request = Arp::request(ONE, OTHER.1).packet();
        assert_eq!(request[6..8], [0, 1]);
        assert_eq!(request[18..], [0, 0, 0, 0, 0, 0, 10, 20, 2, 2]);
        for (operation, mac) in [(REQUEST, [0; 6]), (REPLY, ONE.0.0)] {
            let gratuitous = Arp::gratuitous(operation, ONE).packet();
            assert_eq!(gratuitous[6..8], operation.to_be_bytes());
            assert_eq!(gratuitous[14..18], gratuitous[24..]);
            assert_eq!(gratuitous[18..24], mac);
        }
        let frame = Arp::reply(ONE, OTHER).frame((OTHER.0, ethernet::BROADCAST));
        assert_eq!(frame[..14], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 2, 8, 6]);
    }
}
