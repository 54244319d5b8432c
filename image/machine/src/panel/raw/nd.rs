//! Neighbour discovery, with whatever it says (RFC 4861).

use std::net::Ipv6Addr;

use super::icmp::{self, ICMPV6};
use super::ipv6::Ipv6;
use crate::panel::port::Mac;

/// The hop limit of every message that is to be believed: it has passed no router.
pub const HOP_LIMIT: u8 = 255;

/// All hosts of a network.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of a network.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Of an advertisement: who sends it is a router.
pub const ROUTER: u8 = 0x80;
/// Of an advertisement: it was asked for.
pub const SOLICITED: u8 = 0x40;
/// Of an advertisement: it is to replace what was known.
pub const OVERRIDE: u8 = 0x20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    RouterSolicit,
    /// Who sends it is a router.
    RouterAdvert {
        /// For how many seconds.
        lifetime: u16,
        /// A network, and the length of its prefix, to make addresses of for an hour.
        prefix: Option<(Ipv6Addr, u8)>,
    },
    Solicit {
        target: Ipv6Addr,
    },
    Advert {
        target: Ipv6Addr,
        /// [`ROUTER`], [`SOLICITED`] and [`OVERRIDE`].
        flags: u8,
    },
    /// The way to the destination is by the target.
    Redirect {
        target: Ipv6Addr,
        destination: Ipv6Addr,
    },
}

/// What stands behind a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The Ethernet address of who sends it.
    Source(Mac),
    /// The Ethernet address of the target.
    Target(Mac),
    /// Any bytes.
    Raw(Vec<u8>),
}

impl Message {
    /// The packet from the first address to the second one.
    pub fn packet(&self, ends: (Ipv6Addr, Ipv6Addr), hop_limit: u8, options: &[Link]) -> Vec<u8> {
        let (kind, mut body) = self.body();
        for option in options {
            match option {
                Link::Source(mac) => body.extend([&[1, 1], &mac.0[..]].concat()),
                Link::Target(mac) => body.extend([&[2, 1], &mac.0[..]].concat()),
                Link::Raw(bytes) => body.extend(bytes),
            }
        }
        let message = icmp::v6(ends, kind, 0, &body);
        Ipv6 { hop_limit, ..Ipv6::new(ends.0, ends.1) }.packet(ICMPV6, &message)
    }

    /// Its type, and what stands behind the checksum.
    fn body(&self) -> (u8, Vec<u8>) {
        let reserved = [0; 4];
        match self {
            Self::RouterSolicit => (133, reserved.to_vec()),
            Self::RouterAdvert { lifetime, prefix } => {
                let mut body = vec![64, 0];
                body.extend(lifetime.to_be_bytes());
                body.extend([0; 8]);
                if let Some((network, length)) = prefix {
                    let hour = 3600_u32.to_be_bytes();
                    // On the link (0x80), and for addresses (0x40).
                    body.extend([3, 4, *length, 0xc0]);
                    body.extend([hour, hour, reserved].concat());
                    body.extend(network.octets());
                }
                (134, body)
            }
            Self::Solicit { target } => (135, [&reserved[..], &target.octets()].concat()),
            Self::Advert { target, flags } => {
                (136, [&[*flags, 0, 0, 0][..], &target.octets()].concat())
            }
            Self::Redirect { target, destination } => {
                (137, [&reserved[..], &target.octets(), &destination.octets()].concat())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::time::Duration;
    use smoltcp::wire::{
        EthernetAddress, Icmpv6Packet, Icmpv6Repr, Ipv6Packet, NdiscNeighborFlags,
        NdiscPrefixInfoFlags, NdiscPrefixInformation, NdiscRepr, NdiscRouterFlags,
        RawHardwareAddress,
    };

    use super::*;

    const ONE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    const MAC: Mac = Mac::number(9);

    #[test]
    fn messages_are_read_back() {
        let lladdr = Some(RawHardwareAddress::from(EthernetAddress(MAC.0)));
        let advert = |prefix_info| NdiscRepr::RouterAdvert {
            hop_limit: 64,
            flags: NdiscRouterFlags::empty(),
            router_lifetime: Duration::from_secs(1800),
            reachable_time: Duration::ZERO,
            retrans_time: Duration::ZERO,
            lladdr,
            mtu: None,
            prefix_info,
        };
        let prefix_info = NdiscPrefixInformation {
            prefix_len: 64,
            flags: NdiscPrefixInfoFlags::ON_LINK | NdiscPrefixInfoFlags::ADDRCONF,
            valid_lifetime: Duration::from_secs(3600),
            preferred_lifetime: Duration::from_secs(3600),
            prefix: OTHER,
        };
        let (source, target) = (Link::Source(MAC), Link::Target(MAC));
        let said = [
            (Message::RouterSolicit, &source, NdiscRepr::RouterSolicit { lladdr }),
            (Message::RouterAdvert { lifetime: 1800, prefix: None }, &source, advert(None)),
            (
                Message::RouterAdvert { lifetime: 1800, prefix: Some((OTHER, 64)) },
                &source,
                advert(Some(prefix_info)),
            ),
            (
                Message::Solicit { target: OTHER },
                &source,
                NdiscRepr::NeighborSolicit { target_addr: OTHER, lladdr },
            ),
            (
                Message::Advert { target: OTHER, flags: SOLICITED | OVERRIDE },
                &target,
                NdiscRepr::NeighborAdvert {
                    flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
                    target_addr: OTHER,
                    lladdr,
                },
            ),
            (
                Message::Redirect { target: OTHER, destination: ONE },
                &target,
                NdiscRepr::Redirect {
                    target_addr: OTHER,
                    dest_addr: ONE,
                    lladdr,
                    redirected_hdr: None,
                },
            ),
        ];
        for (message, option, expected) in said {
            let bytes = message.packet((ONE, OTHER), HOP_LIMIT, std::slice::from_ref(option));
            let packet = Ipv6Packet::new_checked(&bytes[..]).unwrap();
            assert_eq!((packet.src_addr(), packet.dst_addr()), (ONE, OTHER));
            let read = Icmpv6Packet::new_checked(packet.payload()).unwrap();
            assert!(read.verify_checksum(&ONE, &OTHER), "{message:?}");
            let read =
                Icmpv6Repr::parse(&ONE, &OTHER, &read, &ChecksumCapabilities::default()).unwrap();
            assert_eq!(read, Icmpv6Repr::Ndisc(expected));
        }
    }

    #[test]
    fn it_may_have_passed_a_router_and_say_anything() {
        let options = [Link::Target(MAC), Link::Raw(vec![14, 0])];
        let bytes = Message::Solicit { target: OTHER }.packet((ONE, OTHER), 64, &options);
        assert_eq!(bytes[7], 64);
        // Type and length in 8 bytes (RFC 4861, 4.6), of which none is allowed.
        assert_eq!(bytes[64..], [2, 1, 2, 0, 0, 0, 0, 9, 14, 0]);
    }
}
