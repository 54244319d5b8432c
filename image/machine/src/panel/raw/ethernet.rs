//! Frames of Ethernet: with tags, without an EtherType, and those that bridges speak.

use std::net::Ipv6Addr;

use crate::panel::port::Mac;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
/// EtherType of a tag of 802.1Q.
pub const VLAN: u16 = 0x8100;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of a tag of 802.1ad, the outer one of two.
pub const SERVICE_VLAN: u16 = 0x88a8;
pub const LLDP: u16 = 0x88cc;
/// EtherType of outer tags from before there was a standard for them.
pub const OLD_VLAN: u16 = 0x9100;

pub const BROADCAST: Mac = Mac([0xff; 6]);

/// Every bridge next to the sender (802.1D, 7.12.3).
pub const BRIDGES: Mac = Mac([0x01, 0x80, 0xc2, 0, 0, 0x00]);

/// Everybody next to the sender who speaks LLDP (802.1AB, 7.1).
pub const NEIGHBOURS: Mac = Mac([0x01, 0x80, 0xc2, 0, 0, 0x0e]);

/// A frame from the first address to the second one.
pub fn frame(macs: (Mac, Mac), ether_type: u16, payload: &[u8]) -> Vec<u8> {
    tagged(macs, &[], ether_type, payload)
}

/// A frame with an IP packet, whose version says the EtherType.
///
/// # Panics
/// It is of no version of IP.
pub fn ip(macs: (Mac, Mac), packet: &[u8]) -> Vec<u8> {
    match packet.first().map(|first| first >> 4) {
        Some(4) => frame(macs, IPV4, packet),
        Some(6) => frame(macs, IPV6, packet),
        other => panic!("{other:?} is no version of IP"),
    }
}

/// A frame with `tags`, the outer one first: of each its EtherType, and its priority and number.
pub fn tagged(macs: (Mac, Mac), tags: &[(u16, u16)], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [macs.1.0, macs.0.0].concat();
    for (ether_type, tag) in tags {
        bytes.extend(ether_type.to_be_bytes());
        bytes.extend(tag.to_be_bytes());
    }
    bytes.extend(ether_type.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A frame of 802.3, with its length where others have the EtherType.
///
/// # Panics
/// `payload` is longer than such a frame can be, 1500 bytes.
pub fn with_length(macs: (Mac, Mac), payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= 1500, "{} bytes in a frame of 802.3", payload.len());
    frame(macs, payload.len() as u16, payload)
}

/// What a bridge says that wants to be the root of all (802.1D, 9.3.1): there is no better priority.
pub fn spanning_tree(from: Mac) -> Vec<u8> {
    let bridge = [&[0, 0][..], &from.0].concat();
    let mut bytes = vec![0x42, 0x42, 0x03]; // LLC: the protocol of bridges, unnumbered
    bytes.extend([0, 0, 0, 0, 0]); // protocol, version, type: configuration; no flags
    bytes.extend(&bridge); // the root
    bytes.extend([0; 4]); // at no cost
    bytes.extend(&bridge);
    bytes.extend([0x80, 1]); // port
    bytes.extend([0, 0, 20, 0, 2, 0, 15, 0]); // age, maximum, hello, delay, in 1/256 s
    with_length((from, BRIDGES), &bytes)
}

/// What a station says of itself by LLDP (802.1AB, 8.5): its address, twice, and for how long.
pub fn lldp(from: Mac) -> Vec<u8> {
    let mut bytes = vec![1 << 1, 7, 4]; // chassis, by its Ethernet address
    bytes.extend(from.0);
    bytes.extend([2 << 1, 7, 3]); // port, by its Ethernet address
    bytes.extend(from.0);
    bytes.extend([3 << 1, 2, 0, 120, 0, 0]); // for 120 s; the end
    frame((from, NEIGHBOURS), LLDP, &bytes)
}

/// The Ethernet address of a group of IPv6 (RFC 2464, 7).
pub fn group(address: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = address.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::{EthernetFrame, EthernetProtocol};

    use super::*;

    const MACS: (Mac, Mac) = (Mac::number(1), Mac::number(2));

    #[test]
    fn a_frame_is_read_back() {
        let bytes = frame(MACS, IPV4, b"payload");
        let read = EthernetFrame::new_checked(&bytes).unwrap();
        assert_eq!((read.src_addr().0, read.dst_addr().0), (MACS.0.0, MACS.1.0));
        assert_eq!(read.ethertype(), EthernetProtocol::Ipv4);
        assert_eq!(read.payload(), b"payload");
        assert_eq!(ip(MACS, &[0x45])[12..], [0x08, 0x00, 0x45]);
        assert_eq!(ip(MACS, &[0x60])[12..], [0x86, 0xdd, 0x60]);
    }

    #[test]
    fn tags_stand_between_addresses_and_type() {
        let bytes = tagged(MACS, &[(SERVICE_VLAN, 7), (VLAN, 0x2005)], ARP, b"x");
        // 802.1Q, 9.3: each tag is its EtherType, and 3 bits of priority, one more, 12 of the number.
        let expected = [0x88, 0xa8, 0, 7, 0x81, 0x00, 0x20, 5, 0x08, 0x06, b'x'];
        assert_eq!(bytes[12..], expected);
        assert_eq!(tagged(MACS, &[(OLD_VLAN, 7)], IPV6, b"")[12..], [0x91, 0, 0, 7, 0x86, 0xdd]);
    }

    #[test]
    fn a_bridge_says_that_it_is_the_root() {
        let bytes = spanning_tree(MACS.0);
        // 802.1D, 9.3.1: 35 bytes, behind 3 of LLC; the length stands where the EtherType would.
        let expected = [
            0x01, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 38, 0x42, 0x42, 0x03, 0, 0, 0, 0,
            0, //
            0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0x80, 1, //
            0, 0, 20, 0, 2, 0, 15, 0,
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_station_says_who_it_is() {
        // 802.1AB, 8.4: 7 bits of type, 9 of length, and so on until type 0.
        let expected = [
            0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1, 0x88, 0xcc, //
            2, 7, 4, 2, 0, 0, 0, 0, 1, 4, 7, 3, 2, 0, 0, 0, 0, 1, 6, 2, 0, 120, 0, 0,
        ];
        assert_eq!(lldp(MACS.0), expected);
    }

    #[test]
    fn groups_have_addresses() {
        let group = group("ff02::1:ff28:9c5a".parse().unwrap());
        assert_eq!(group.to_string(), "33:33:ff:28:9c:5a");
    }
}
