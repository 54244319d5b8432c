//! The checksum of IP and of what lies above it (RFC 1071).

use std::net::IpAddr;

/// The checksum of `bytes`, whose own field for it is zero.
pub(super) fn internet(bytes: &[u8]) -> u16 {
    finish(sum(bytes))
}

/// The checksum of what lies above IP, with the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
///
/// # Panics
/// The two ends are of different versions.
pub(super) fn transport(ends: (IpAddr, IpAddr), protocol: u8, bytes: &[u8]) -> u16 {
    let addresses = match ends {
        (IpAddr::V4(from), IpAddr::V4(to)) => sum(&from.octets()) + sum(&to.octets()),
        (IpAddr::V6(from), IpAddr::V6(to)) => sum(&from.octets()) + sum(&to.octets()),
        (from, to) => panic!("{from} and {to} are of two versions"),
    };
    finish(addresses + u64::from(protocol) + bytes.len() as u64 + sum(bytes))
}

fn sum(bytes: &[u8]) -> u64 {
    let word = |two: &[u8]| u64::from(two[0]) << 8 | u64::from(two.get(1).copied().unwrap_or(0));
    bytes.chunks(2).map(word).sum()
}

fn finish(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 1071, 3: the words 0001 f203 f4f5 f6f7 add up to ddf2.
        assert_eq!(internet(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        // An odd byte counts as the upper half of a word.
        assert_eq!(internet(&[0x12]), !0x1200);
    }

    #[test]
    fn the_pseudo_header_counts() {
        let ends = ("1.0.0.0".parse().unwrap(), "0.2.0.0".parse().unwrap());
        assert_eq!(transport(ends, 3, &[0x40, 0]), !(0x0100 + 0x0002 + 3 + 2 + 0x4000));
        let ends = ("100::".parse().unwrap(), "::2".parse().unwrap());
        assert_eq!(transport(ends, 3, &[0x40, 0]), !(0x0100 + 0x0002 + 3 + 2 + 0x4000));
    }
}
