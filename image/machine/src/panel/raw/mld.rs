//! Reports about groups of IPv6.

use std::net::Ipv6Addr;

use super::icmp::{self, ICMPV6};
use super::ipv6::{Extension, Ipv6, ROUTER_ALERT};

/// Everybody who wants to know of groups (RFC 3810, 5.2.14).
pub const LISTENERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// The packet in which `source` says that it is in `groups` from now on (RFC 3810, 5.2).
///
/// # Panics
/// There are more groups than a packet has room for.
pub fn report(source: Ipv6Addr, groups: &[Ipv6Addr]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend(u16::try_from(groups.len()).expect("groups of one packet").to_be_bytes());
    for group in groups {
        body.extend([4, 0, 0, 0]); // all of it from now on, nothing more, except from nobody
        body.extend(group.octets());
    }
    packet(source, LISTENERS, 143, &body)
}

/// The same for one group, as it was before (RFC 2710, 3).
pub fn old_report(source: Ipv6Addr, group: Ipv6Addr) -> Vec<u8> {
    packet(source, group, 131, &[&[0; 4][..], &group.octets()].concat())
}

fn packet(source: Ipv6Addr, destination: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let message = icmp::v6((source, destination), kind, 0, body);
    let extensions = vec![Extension::HopByHop(ROUTER_ALERT.to_vec())];
    Ipv6 { hop_limit: 1, extensions, ..Ipv6::new(source, destination) }.packet(ICMPV6, &message)
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, MldAddressRecord, MldRecordType, MldRepr,
    };

    use super::*;

    const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

    #[test]
    fn a_report_is_read_back() {
        let bytes = report(SOURCE, &[GROUP]);
        let packet = Ipv6Packet::new_checked(&bytes[..]).unwrap();
        assert_eq!((packet.dst_addr(), packet.hop_limit()), (LISTENERS, 1));
        assert_eq!(packet.next_header(), IpProtocol::HopByHop);
        // RFC 8200, 4.3 and RFC 2711: ICMPv6 is next; the alert, and two bytes to fill it up.
        assert_eq!(packet.payload()[..8], [58, 0, 5, 2, 0, 0, 1, 0]);
        let read = Icmpv6Packet::new_checked(&packet.payload()[8..]).unwrap();
        let checksums = ChecksumCapabilities::default();
        let read = Icmpv6Repr::parse(&SOURCE, &LISTENERS, &read, &checksums).unwrap();
        let Icmpv6Repr::Mld(MldRepr::Report { nr_mcast_addr_rcrds: 1, data }) = read else {
            panic!("{read:?}");
        };
        let record = MldAddressRecord::new_checked(data).unwrap();
        assert_eq!(record.record_type(), MldRecordType::ChangeToExclude);
        assert_eq!((record.mcast_addr(), record.num_srcs()), (GROUP, 0));
    }

    #[test]
    fn an_old_report_is_for_its_group() {
        let bytes = old_report(SOURCE, GROUP);
        let packet = Ipv6Packet::new_checked(&bytes[..]).unwrap();
        assert_eq!(packet.dst_addr(), GROUP);
        // RFC 2710, 3: type, code, checksum, delay, nothing, the group. The words of the pseudo-header,
        // fe80 1 ff02 fb 18 3a, and of the message, 8300 ff02 fb, add up to 81d0.
        let message = &packet.payload()[8..];
        assert_eq!(message[..8], [131, 0, 0x7e, 0x2f, 0, 0, 0, 0]);
        assert_eq!(message[8..], GROUP.octets());
    }
}
