//! IP prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The number of bits before the IPv4 address in an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2).
const MAPPED: u8 = 96;

/// An IP prefix. IPv4 is stored as IPv4-mapped IPv6, so that both notations of an address are
/// equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpPrefix {
    bits: u128,
    /// The prefix length, of 128 bits.
    length: u8,
}

impl IpPrefix {
    pub const EVERYTHING: Self = Self { bits: 0, length: 0 };

    /// The prefix of `address` with `length` bits; `None` if that is longer than an address.
    pub const fn new(address: IpAddr, length: u8) -> Option<Self> {
        let (address, length, longest) = match address {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), MAPPED.saturating_add(length), 32),
            IpAddr::V6(v6) => (v6, length, 128),
        };
        let longest = if longest == 32 { MAPPED + 32 } else { longest };
        if length > longest {
            return None;
        }
        Some(Self { bits: address.to_bits() & mask(length), length })
    }

    /// An IPv4 prefix; `length` is at most 32.
    pub(super) const fn v4(octets: [u8; 4], length: u8) -> Self {
        let [a, b, c, d] = octets;
        let address = Ipv4Addr::new(a, b, c, d).to_ipv6_mapped();
        Self { bits: address.to_bits() & mask(MAPPED + length), length: MAPPED + length }
    }

    /// An IPv6 prefix; `length` is at most 128.
    pub(super) const fn v6(head: [u16; 4], length: u8) -> Self {
        let [a, b, c, d] = head;
        let address = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0);
        Self { bits: address.to_bits() & mask(length), length }
    }

    /// Whether `address` is within the prefix.
    pub fn contains(&self, address: IpAddr) -> bool {
        (bits(address) ^ self.bits) & mask(self.length) == 0
    }

    /// Whether `other` contains all of its addresses.
    pub fn is_within(&self, other: &Self) -> bool {
        self.length >= other.length && (self.bits ^ other.bits) & mask(other.length) == 0
    }

    /// The address, if there is only one.
    pub fn address(&self) -> Option<IpAddr> {
        (self.length == 128).then(|| IpAddr::V6(Ipv6Addr::from_bits(self.bits)).to_canonical())
    }
}

/// An address as 128 bits, the same for both notations of IPv4.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

const fn mask(length: u8) -> u128 {
    match u128::MAX.checked_shl(128 - length as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, length: u8) -> IpPrefix {
        IpPrefix::new(address.parse().unwrap(), length).unwrap()
    }

    #[test]
    fn an_address_is_in_its_network_however_it_is_written() {
        let network = prefix("10.20.3.9", 16);
        for inside in ["10.20.0.0", "10.20.255.255", "::ffff:10.20.3.2"] {
            assert!(network.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["10.21.0.0", "::10.20.3.2", "fd6f::10.20.3.2"] {
            assert!(!network.contains(outside.parse().unwrap()), "{outside}");
        }
        assert_eq!(IpPrefix::new("10.0.0.0".parse().unwrap(), 33), None);
        assert_eq!(IpPrefix::new("10.0.0.0".parse().unwrap(), 255), None);
        assert_eq!(IpPrefix::new("::".parse().unwrap(), 129), None);
        assert!(prefix("::", 0).contains("1.2.3.4".parse().unwrap()));
        assert!(prefix("0.0.0.0", 0).contains("1.2.3.4".parse().unwrap()));
        assert!(!prefix("0.0.0.0", 0).contains("::1".parse().unwrap()));
    }

    #[test]
    fn networks_lie_within_larger_ones() {
        assert!(prefix("10.20.3.0", 24).is_within(&prefix("10.20.0.0", 16)));
        assert!(prefix("10.20.0.0", 16).is_within(&prefix("10.20.0.0", 16)));
        assert!(!prefix("10.0.0.0", 8).is_within(&prefix("10.20.0.0", 16)));
        assert_eq!(prefix("10.20.3.2", 32).address(), Some("10.20.3.2".parse().unwrap()));
        assert_eq!(prefix("10.20.3.2", 31).address(), None);
    }
}
