//! Reverse names: parses `2.3.20.10.in-addr.arpa` to its addresses (RFC 1035, 3.5; RFC 3596, 2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;

use super::prefix::IpPrefix;

#[derive(Debug, PartialEq, Eq)]
pub struct Reverse {
    /// The addresses of the name, or of all names below it.
    pub prefix: IpPrefix,
    /// Whether the name consists of the prefix only, without further labels in front.
    pub is_complete: bool,
    /// The zone to answer for: the last labels of the name.
    pub zone: Name,
}

impl Reverse {
    /// Parses `name`; `None` if it is no reverse name.
    ///
    /// Non-standard notations of numbers that some parser accepts are parsed, too, so that a name
    /// about an address of the box is recognised in every spelling.
    pub fn parse(name: &Name) -> Option<Self> {
        let mut labels = name.iter().rev();
        if !labels.next()?.eq_ignore_ascii_case(b"arpa") {
            return None;
        }
        let kind = labels.next()?;
        let (prefix, numbers) = if kind.eq_ignore_ascii_case(b"in-addr") {
            octets(labels)
        } else if kind.eq_ignore_ascii_case(b"ip6") {
            nibbles(labels)
        } else {
            return None;
        };
        let whole = name.iter().len() == numbers + 2;
        // The zones of RFC 6303 have at least one octet, or two nibbles.
        let zone = name.trim_to(if kind.len() == 3 { 4 } else { 3 });
        Some(Self { prefix: prefix?, is_complete: whole, zone })
    }
}

fn octets<'a>(labels: impl Iterator<Item = &'a [u8]>) -> (Option<IpPrefix>, usize) {
    let (mut octets, mut count) = ([0; 4], 0);
    for (label, octet) in labels.zip(&mut octets) {
        let Some(number) = str::from_utf8(label).ok().and_then(|text| text.parse().ok()) else {
            break;
        };
        (*octet, count) = (number, count + 1);
    }
    (IpPrefix::new(IpAddr::V4(Ipv4Addr::from(octets)), 8 * count), count.into())
}

fn nibbles<'a>(labels: impl Iterator<Item = &'a [u8]>) -> (Option<IpPrefix>, usize) {
    let (mut bits, mut count) = (0u128, 0u8);
    for label in labels.take(32) {
        let [digit] = label else { break };
        let Some(nibble) = char::from(*digit).to_digit(16) else { break };
        count += 1;
        bits |= u128::from(nibble) << (128 - 4 * u32::from(count));
    }
    (IpPrefix::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), 4 * count), count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Option<(IpPrefix, bool)> {
        Reverse::parse(&name.parse().unwrap()).map(|it| (it.prefix, it.is_complete))
    }

    #[test]
    fn names_are_about_addresses() {
        let v4 = |octets, length| IpPrefix::v4(octets, length);
        assert_eq!(of("2.3.20.10.in-addr.arpa."), Some((v4([10, 20, 3, 2], 32), true)));
        assert_eq!(of("3.20.10.IN-ADDR.arpa."), Some((v4([10, 20, 3, 0], 24), true)));
        assert_eq!(of("in-addr.arpa."), Some((v4([0; 4], 0), true)));
        assert_eq!(
            of("b._dns-sd._udp.0.20.10.in-addr.arpa."),
            Some((v4([10, 20, 0, 0], 24), false))
        );
        assert_eq!(of("9.2.3.20.10.in-addr.arpa."), Some((v4([10, 20, 3, 2], 32), false)));
        assert_eq!(of("2.3.020.010.in-addr.arpa."), Some((v4([10, 20, 3, 2], 32), true)));
        assert_eq!(of("d.F.ip6.arpa."), Some((IpPrefix::v6([0xfd00, 0, 0, 0], 8), true)));
        for other in ["arpa.", ".", "10.in-addr.", "home.arpa.", "10.in-addr.arpa.example."] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn the_reverse_name_of_an_address_is_about_it() {
        for text in ["10.20.3.2", "fd6f:6374:6574:3::2", "::1", "255.255.255.255"] {
            let address: IpAddr = text.parse().unwrap();
            let reverse = Reverse::parse(&Name::from(address)).unwrap();
            assert_eq!((reverse.prefix.address(), reverse.is_complete), (Some(address), true));
        }
    }
}
