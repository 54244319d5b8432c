//! Which addresses are globally reachable, by IANA's special-purpose address registries (RFC 6890, state of 2025).
//! An address for which they say neither yes nor no is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network, and whether its addresses are globally reachable. The longest one that contains an address counts.
struct Special<const N: usize>([u16; N], u32, bool);

/// IPv4, in four bytes. Multicast is not in the registry, and is not reached either.
const SPECIAL_4: [Special<4>; 21] = [
    Special([0, 0, 0, 0], 8, false),
    Special([10, 0, 0, 0], 8, false),
    Special([100, 64, 0, 0], 10, false),
    Special([127, 0, 0, 0], 8, false),
    Special([169, 254, 0, 0], 16, false),
    Special([172, 16, 0, 0], 12, false),
    Special([192, 0, 0, 0], 24, false),
    Special([192, 0, 0, 9], 32, true),
    Special([192, 0, 0, 10], 32, true),
    Special([192, 0, 2, 0], 24, false),
    Special([192, 31, 196, 0], 24, true),
    Special([192, 52, 193, 0], 24, true),
    Special([192, 88, 99, 0], 24, false),
    Special([192, 168, 0, 0], 16, false),
    Special([192, 175, 48, 0], 24, true),
    Special([198, 18, 0, 0], 15, false),
    Special([198, 51, 100, 0], 24, false),
    Special([203, 0, 113, 0], 24, false),
    Special([224, 0, 0, 0], 4, false),
    Special([240, 0, 0, 0], 4, false),
    Special([255, 255, 255, 255], 32, false),
];

/// IPv6, in eight groups. Of all that is outside 2000::/3 only NAT64 is reached: the rest is not assigned (RFC 4291),
/// or not global.
const SPECIAL_6: [Special<8>; 14] = [
    Special([0, 0, 0, 0, 0, 0, 0, 0], 0, false),
    Special([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, true),
    Special([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, false),
    Special([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, true),
    Special([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, true),
    Special([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, true),
    Special([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, false),
    Special([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, true),
    Special([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, true),
    Special([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, true),
    Special([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, true),
    Special([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, false),
    Special([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, true),
    Special([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, false),
];

/// Whether `address` is globally reachable. IPv4 inside IPv6 is judged by its IPv4.
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_4(address),
        IpAddr::V6(address) => match inner_4(address) {
            Some(inner) => inner.into_iter().all(is_global_4),
            None => is_global_6(address),
        },
    }
}

fn is_global_4(address: Ipv4Addr) -> bool {
    let bits = |octets: [u16; 4]| octets.iter().fold(0u128, |all, it| all << 8 | u128::from(*it));
    let of = |network: &[u16; 4]| bits(*network) << 96;
    longest(&SPECIAL_4, u128::from(address.to_bits()) << 96, of).unwrap_or(true)
}

fn is_global_6(address: Ipv6Addr) -> bool {
    let of = |groups: &[u16; 8]| Ipv6Addr::from(*groups).to_bits();
    longest(&SPECIAL_6, address.to_bits(), of).unwrap_or(false)
}

fn longest<const N: usize>(
    table: &[Special<N>],
    address: u128,
    bits: impl Fn(&[u16; N]) -> u128,
) -> Option<bool> {
    let is_in =
        |it: &&Special<N>| (bits(&it.0) ^ address).checked_shr(128 - it.1).unwrap_or(0) == 0;
    table.iter().filter(is_in).max_by_key(|it| it.1).map(|it| it.2)
}

/// The IPv4 addresses in an IPv6 one: mapped (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056), and server and client of
/// Teredo (RFC 4380).
fn inner_4(address: Ipv6Addr) -> Option<Vec<Ipv4Addr>> {
    let at =
        |groups: [u16; 2]| Ipv4Addr::from_bits(u32::from(groups[0]) << 16 | u32::from(groups[1]));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => Some(vec![at([a, b])]),
        [0x2002, a, b, ..] => Some(vec![at([a, b])]),
        [0x2001, 0, a, b, _, _, c, d] => Some(vec![at([a, b]), at([!c, !d])]),
        _ => None,
    }
}
