//! One network of a router, and who the test is in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::panel::port::Mac;

/// The last part of the test's address in every network, and of the router's.
const TEST: u16 = 2;
const ROUTER: u16 = 1;

/// What the network of the owner's devices has where those of the boards have their number.
const LAN: u8 = 250;

/// A network of the router, with the test at the other end of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    pub zone: String,
    pub test: End,
    pub router: End,
    /// Further addresses that the test answers for.
    pub others: Vec<IpAddr>,
}

/// One of the two on a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub mac: Mac,
    /// Its IPv4 address.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub ipv6: Ipv6Addr,
}

impl Leg {
    /// That of a board, by its number; `router` is the address of the router's card for it.
    pub fn board(number: u8, router: Mac) -> Self {
        let macs = (Mac::number(number), router);
        Self::inside(format!("board-{number}"), number, macs)
    }

    /// That of the owner's devices, of which the test is one.
    pub fn lan(test: Mac, router: Mac) -> Self {
        Self::inside("lan".to_owned(), LAN, (test, router))
    }

    /// That which leads out. The test is the gateway, and so everybody outside.
    pub fn uplink(test: Mac, router: Mac) -> Self {
        let end = |mac, last: u8| End {
            mac,
            ipv4: Ipv4Addr::new(192, 0, 2, last),
            ipv6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()),
        };
        let (test, router) = (end(test, 1), end(router, 7));
        Self { zone: "uplink".to_owned(), test, router, others: vec![] }
    }

    fn inside(zone: String, number: u8, macs: (Mac, Mac)) -> Self {
        let end = |mac, last: u16| End {
            mac,
            ipv4: Ipv4Addr::new(10, 20, number, last as u8),
            ipv6: Ipv6Addr::new(0xfd6f, 0x6374, 0x6574, number.into(), 0, 0, 0, last),
        };
        let (test, router) = (end(macs.0, TEST), end(macs.1, ROUTER));
        Self { zone, test, router, others: vec![] }
    }

    /// Whether the test says that it has `address`.
    pub fn answers_for(&self, address: IpAddr) -> bool {
        let test = &self.test;
        let own = [test.ipv4.into(), test.ipv6.into(), link_local(test.mac).into()];
        own.contains(&address) || self.others.contains(&address)
    }
}

impl End {
    /// Its address to speak to `other` from.
    pub fn source_address(&self, other: IpAddr) -> IpAddr {
        match other {
            IpAddr::V4(_) => self.ipv4.into(),
            IpAddr::V6(other) if other.is_unicast_link_local() => link_local(self.mac).into(),
            IpAddr::V6(_) => self.ipv6.into(),
        }
    }
}

/// The address on a link that is made of an Ethernet address (RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let bytes = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Ipv6Addr::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legs_have_the_addresses_of_the_documentation() {
        let said = |leg: &Leg| {
            let End { mac, ipv4, ipv6 } = leg.test;
            let router = leg.router;
            format!("{} {mac} {ipv4} {ipv6} {} {}", leg.zone, router.ipv4, router.ipv6)
        };
        let (test, router) = (Mac::number(200), Mac::number(100));
        assert_eq!(
            said(&Leg::board(16, router)),
            "board-16 02:00:00:00:00:10 10.20.16.2 fd6f:6374:6574:10::2 10.20.16.1 \
             fd6f:6374:6574:10::1"
        );
        assert_eq!(
            said(&Leg::lan(test, router)),
            "lan 02:00:00:00:00:c8 10.20.250.2 fd6f:6374:6574:fa::2 10.20.250.1 \
             fd6f:6374:6574:fa::1"
        );
        assert_eq!(
            said(&Leg::uplink(test, router)),
            "uplink 02:00:00:00:00:c8 192.0.2.1 2001:db8::1 192.0.2.7 2001:db8::7"
        );
    }

    #[test]
    fn the_test_answers_for_its_own_addresses() {
        let mut leg = Leg::board(3, Mac::number(100));
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        leg.others.push(ip("10.20.3.9"));
        for own in ["10.20.3.2", "fd6f:6374:6574:3::2", "fe80::ff:fe00:3", "10.20.3.9"] {
            assert!(leg.answers_for(ip(own)), "{own}");
        }
        for other in ["10.20.3.1", "10.20.4.2", "fd6f:6374:6574:3::1", "fe80::ff:fe00:64"] {
            assert!(!leg.answers_for(ip(other)), "{other}");
        }
        assert_eq!(leg.test.source_address(ip("10.20.4.2")), ip("10.20.3.2"));
        assert_eq!(leg.test.source_address(ip("fd6f::4")), ip("fd6f:6374:6574:3::2"));
        assert_eq!(leg.test.source_address(ip("fe80::1")), ip("fe80::ff:fe00:3"));
    }
}
