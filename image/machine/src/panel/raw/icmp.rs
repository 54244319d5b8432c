//! ICMP of both versions: echoes, and any other message (RFC 792, RFC 4443).

use std::net::{IpAddr, Ipv6Addr};

use super::checksum;

pub const ICMP: u8 = 1;
/// The number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// A message of ICMP; `body` begins behind the checksum.
pub fn v4(kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&[kind, code, 0, 0], body].concat();
    let checksum = checksum::internet(&bytes);
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// A message of ICMPv6; `body` begins behind the checksum.
pub fn v6(ends: (Ipv6Addr, Ipv6Addr), kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&[kind, code, 0, 0], body].concat();
    let checksum = checksum::transport((ends.0.into(), ends.1.into()), ICMPV6, &bytes);
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// An echo request or, if not `is_request`, a reply, of the version of the two ends, with its identifier and
/// sequence number.
///
/// # Panics
/// The two ends are of different versions of IP.
pub fn echo(
    ends: (IpAddr, IpAddr),
    is_request: bool,
    (id, sequence): (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let body = [&id.to_be_bytes(), &sequence.to_be_bytes(), payload].concat();
    match ends {
        (IpAddr::V4(_), IpAddr::V4(_)) => v4(if is_request { 8 } else { 0 }, 0, &body),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            v6((from, to), if is_request { 128 } else { 129 }, 0, &body)
        }
        (from, to) => panic!("{from} and {to} are of two versions"),
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr};

    use super::*;

    #[test]
    fn echoes_are_read_back() {
        let ip = |text: &str| text.parse().unwrap();
        let checksums = ChecksumCapabilities::default();
        let (ident, seq_no, data) = (7, 9, &b"hello"[..]);
        for asks in [true, false] {
            let ends = (ip("10.20.1.2"), ip("10.20.2.2"));
            let bytes = echo(ends, asks, (ident, seq_no), data);
            let read = Icmpv4Packet::new_checked(&bytes[..]).unwrap();
            let expected = match asks {
                true => Icmpv4Repr::EchoRequest { ident, seq_no, data },
                false => Icmpv4Repr::EchoReply { ident, seq_no, data },
            };
            // It is refused if its checksum is wrong.
            assert_eq!(Icmpv4Repr::parse(&read, &checksums), Ok(expected));
            let ends: (Ipv6Addr, Ipv6Addr) =
                ("fd6f::1:2".parse().unwrap(), "fd6f::2:2".parse().unwrap());
            let bytes = echo((ends.0.into(), ends.1.into()), asks, (ident, seq_no), data);
            let read = Icmpv6Packet::new_checked(&bytes[..]).unwrap();
            let expected = match asks {
                true => Icmpv6Repr::EchoRequest { ident, seq_no, data },
                false => Icmpv6Repr::EchoReply { ident, seq_no, data },
            };
            assert_eq!(Icmpv6Repr::parse(&ends.0, &ends.1, &read, &checksums), Ok(expected));
        }
    }
}
