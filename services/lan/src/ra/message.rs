//! Router advertisements and solicitations; only the fields in use (RFC 4861, 4.1, 4.2 and 4.6; RFC
//! 4191, 2.3; RFC 8106, 5.1).

use std::net::Ipv6Addr;

const SOLICIT: u8 = 133;
const ADVERT: u8 = 134;

const PREFIX: u8 = 3;
const ROUTE: u8 = 24;
const NAMES: u8 = 25;

/// The size of an advertisement's header, in bytes.
const HEAD: usize = 16;

/// The maximum number of prefixes, of routes, and of DNS servers that are read.
pub const MAX: usize = 4;

/// A router solicitation. The kernel fills in the checksum.
pub const SOLICITATION: [u8; 8] = [SOLICIT, 0, 0, 0, 0, 0, 0, 0];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The lifetime as a default router, in seconds; 0 if it is none.
    pub router_seconds: u16,
    /// The prefixes of the link.
    pub prefixes: Vec<PrefixInformation>,
    /// Routes to other networks, independent of whether it is a default router.
    pub routes: Vec<RouteInformation>,
    /// The DNS servers, with their lifetimes in seconds.
    pub dns_servers: Vec<(Ipv6Addr, u32)>,
}

/// The prefix of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixInformation {
    /// The prefix; all bits beyond its length are 0.
    pub network: Ipv6Addr,
    pub length: u8,
    /// Whether its addresses are on-link.
    pub on_link: bool,
    /// Whether it is for address autoconfiguration (RFC 4862).
    pub autonomous: bool,
    /// The lifetime in seconds; `None` for infinity.
    pub seconds: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInformation {
    /// The prefix; all bits beyond its length are 0.
    pub network: Ipv6Addr,
    pub length: u8,
    /// The lifetime in seconds; `u32::MAX` is infinity, and 0 withdraws the route.
    pub seconds: u32,
}

/// Why a message is not a valid advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidAdvertisement(pub &'static str);

/// Whether a message is a router solicitation.
pub fn is_solicitation(bytes: &[u8]) -> bool {
    bytes.len() >= SOLICITATION.len() && bytes[..2] == [SOLICIT, 0]
}

impl RouterAdvertisement {
    /// The encoded message. The kernel fills in the checksum.
    pub fn bytes(&self) -> Vec<u8> {
        // The current hop limit is 64, and no flags are set, as there is no DHCPv6.
        let mut bytes = vec![ADVERT, 0, 0, 0, 64, 0];
        bytes.extend(self.router_seconds.to_be_bytes());
        bytes.extend([0; 8]);
        for prefix in &self.prefixes {
            let flags = u8::from(prefix.on_link) << 7 | u8::from(prefix.autonomous) << 6;
            bytes.extend([PREFIX, 4, prefix.length, flags]);
            // The preferred lifetime equals the valid lifetime.
            let seconds = prefix.seconds.unwrap_or(u32::MAX).to_be_bytes();
            bytes.extend([seconds, seconds, [0; 4]].as_flattened());
            bytes.extend(prefix.network.octets());
        }
        for route in &self.routes {
            // A prefix of at most 64 bits takes 8 bytes, as RFC 4191 permits.
            let size = if route.length <= 64 { 8 } else { 16 };
            // The preference is medium.
            bytes.extend([ROUTE, if size == 8 { 2 } else { 3 }, route.length, 0]);
            bytes.extend(route.seconds.to_be_bytes());
            bytes.extend(&route.network.octets()[..size]);
        }
        for (server, seconds) in &self.dns_servers {
            bytes.extend([NAMES, 3, 0, 0]);
            bytes.extend(seconds.to_be_bytes());
            bytes.extend(server.octets());
        }
        bytes
    }

    /// Parses an ICMPv6 message with a hop limit of 255, which no router has forwarded.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidAdvertisement> {
        let Some((head, mut options)) = bytes.split_at_checked(HEAD) else {
            return Err(InvalidAdvertisement("it is too short"));
        };
        if head[..2] != [ADVERT, 0] {
            return Err(InvalidAdvertisement("it is no router advertisement"));
        }
        let router_seconds = u16::from_be_bytes([head[6], head[7]]);
        let mut advert =
            Self { router_seconds, prefixes: vec![], routes: vec![], dns_servers: vec![] };
        while !options.is_empty() {
            let [kind, length, ..] = *options else {
                return Err(InvalidAdvertisement("an option is cut off"));
            };
            let length = usize::from(length) * 8;
            let (option, rest) = options
                .split_at_checked(length)
                .filter(|_| length > 0)
                .ok_or(InvalidAdvertisement("an option is cut off, or has no length"))?;
            match kind {
                PREFIX if advert.prefixes.len() < MAX => advert.prefixes.extend(prefix(option)),
                ROUTE if advert.routes.len() < MAX => advert.routes.extend(route(option)),
                NAMES => advert.parse_rdnss(option),
                _ => {}
            }
            options = rest;
        }
        Ok(advert)
    }

    fn parse_rdnss(&mut self, option: &[u8]) {
        let Some((head, servers)) = option.split_first_chunk::<8>() else { return };
        let seconds = word(head, 4);
        for server in servers.as_chunks::<16>().0 {
            if self.dns_servers.len() < MAX {
                self.dns_servers.push((Ipv6Addr::from(*server), seconds));
            }
        }
    }
}

/// Parses a prefix information option; `None` if its prefix is unusable.
fn prefix(option: &[u8]) -> Option<PrefixInformation> {
    let option = option.first_chunk::<32>()?;
    let (length, flags) = (option[2], option[3]);
    let (valid, preferred) = (word(option, 4), word(option, 8));
    let network = Ipv6Addr::from(*option.last_chunk::<16>()?);
    let network = masked(network, length)?;
    let is_usable =
        preferred <= valid && !network.is_multicast() && !network.is_unicast_link_local();
    is_usable.then_some(PrefixInformation {
        network,
        length,
        on_link: flags & 0x80 != 0,
        autonomous: flags & 0x40 != 0,
        seconds: (valid != u32::MAX).then_some(valid),
    })
}

/// Parses a route information option; `None` if its prefix is unusable.
fn route(option: &[u8]) -> Option<RouteInformation> {
    let (head, bits) = option.split_first_chunk::<8>()?;
    let (length, preference) = (head[2], head[3] >> 3 & 0b11);
    // An option with the reserved preference is ignored (RFC 4191, 2.3).
    if usize::from(length) > bits.len() * 8 || preference == 0b10 {
        return None;
    }
    let mut octets = [0; 16];
    for (octet, byte) in octets.iter_mut().zip(bits) {
        *octet = *byte;
    }
    let network = masked(octets.into(), length)?;
    let is_usable = !network.is_multicast() && !network.is_unicast_link_local();
    is_usable.then_some(RouteInformation { network, length, seconds: word(head, 4) })
}

/// The first `length` bits of `address`; `None` if it has fewer bits.
fn masked(address: Ipv6Addr, length: u8) -> Option<Ipv6Addr> {
    let others = 128u32.checked_sub(length.into())?;
    let mask = u128::MAX.checked_shl(others).unwrap_or(0);
    Some(Ipv6Addr::from_bits(address.to_bits() & mask))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn advert() -> RouterAdvertisement {
        let network = "fd6f:6374:6574:3::".parse().unwrap();
        let seconds = Some(3600);
        let prefix =
            PrefixInformation { network, length: 64, on_link: true, autonomous: false, seconds };
        let server = "fd6f:6374:6574:3::1".parse().unwrap();
        let whole = "fd6f:6374:6574::".parse().unwrap();
        let routes = vec![RouteInformation { network: whole, length: 48, seconds: 300 }];
        let names = vec![(server, 1800)];
        RouterAdvertisement {
            router_seconds: 1800,
            prefixes: vec![prefix],
            routes,
            dns_servers: names,
        }
    }

    #[test]
    fn as_the_rfc_draws_it() {
        let bytes = advert().bytes();
        assert_eq!(bytes.len(), 16 + 32 + 16 + 24);
        assert_eq!(bytes[..8], [134, 0, 0, 0, 64, 0, 7, 8]);
        assert_eq!(bytes[16..24], [3, 4, 64, 0x80, 0, 0, 14, 16]);
        assert_eq!(bytes[32..40], [0xfd, 0x6f, 0x63, 0x74, 0x65, 0x74, 0, 3]);
        assert_eq!(
            bytes[48..64],
            [24, 2, 48, 0, 0, 0, 1, 44, 0xfd, 0x6f, 0x63, 0x74, 0x65, 0x74, 0, 0]
        );
        assert_eq!(bytes[64..72], [25, 3, 0, 0, 0, 0, 7, 8]);
        assert_eq!(RouterAdvertisement::parse(&bytes), Ok(advert()));
        assert!(is_solicitation(&SOLICITATION) && !is_solicitation(&bytes));
    }

    #[test]
    fn what_is_wrong_is_not_taken() {
        let good = advert().bytes();
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            RouterAdvertisement::parse(&bytes)
        };
        assert!(with(0, 133).is_err() && with(1, 1).is_err());
        assert!(with(17, 0).is_err() && with(17, 10).is_err());
        assert!(RouterAdvertisement::parse(&good[..40]).is_err());
        // Unusable prefixes are ignored.
        for (at, value) in [(18, 129), (27, 255), (32, 0xff)] {
            assert!(with(at, value).unwrap().prefixes.is_empty(), "byte {at}");
        }
        assert_eq!(with(16, 99).unwrap().prefixes, []);
        // Ignored routes: a prefix longer than the option, the reserved preference, and a multicast
        // prefix.
        for (at, value) in [(50, 65), (50, 129), (51, 0b1_0000), (56, 0xff)] {
            assert!(with(at, value).unwrap().routes.is_empty(), "byte {at}");
        }
        // A route of high preference is accepted, as is a default route, which needs no prefix
        // bits.
        assert_eq!(with(51, 0b1000).unwrap().routes, advert().routes);
        let everywhere = [&good[..16], &[24, 1, 0, 0, 0, 0, 1, 44]].concat();
        let route = RouteInformation { network: Ipv6Addr::UNSPECIFIED, length: 0, seconds: 300 };
        assert_eq!(RouterAdvertisement::parse(&everywhere).unwrap().routes, [route]);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = RouterAdvertisement::parse(&bytes);
            let _ = RouterAdvertisement::parse(&[&advert().bytes()[..16], &bytes].concat());
        }

        #[test]
        fn comes_back(changes in prop::collection::vec((0usize..88, any::<u8>()), 0..9)) {
            let mut bytes = advert().bytes();
            for (at, value) in changes {
                bytes[at] = value;
            }
            if let Ok(read) = RouterAdvertisement::parse(&bytes) {
                prop_assert!(read.prefixes.len() <= MAX && read.dns_servers.len() <= MAX);
                prop_assert!(read.routes.len() <= MAX);
                let again = RouterAdvertisement::parse(&read.bytes()).unwrap();
                prop_assert_eq!(again, read);
            }
        }
    }
}
