//! A datagram as a board sends it: Ethernet, IPv4 (RFC 791), UDP (RFC 768).

use std::net::Ipv4Addr;

use octet_machine::Mac;

/// The lengths of the headers.
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;

const PROTOCOL: u8 = 17;

/// One end of a flow of datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowEnd {
    pub address: Ipv4Addr,
    pub port: u16,
}

/// The frame from the first of `macs` to the second, with a datagram from the first of `ends` to the
/// second, that may still pass so many routers.
pub fn datagram(macs: (Mac, Mac), ends: (FlowEnd, FlowEnd), hops: u8, payload: &[u8]) -> Vec<u8> {
    let (from, to) = ends;
    let udp = (UDP + payload.len()) as u16;
    let mut frame = Vec::with_capacity(ETHERNET + IPV4 + usize::from(udp));
    frame.extend(macs.1.0);
    frame.extend(macs.0.0);
    frame.extend([0x08, 0x00]);

    frame.extend([0x45, 0]);
    frame.extend((IPV4 as u16 + udp).to_be_bytes());
    // No fragment of anything.
    frame.extend([0, 0, 0x40, 0, hops, PROTOCOL, 0, 0]);
    frame.extend(from.address.octets());
    frame.extend(to.address.octets());
    let sum = checksum(&[&frame[ETHERNET..]]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum);

    frame.extend(from.port.to_be_bytes());
    frame.extend(to.port.to_be_bytes());
    frame.extend(udp.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    let mut pseudo = [from.address.octets(), to.address.octets(), [0; 4]].concat();
    pseudo[9] = PROTOCOL;
    pseudo[10..].copy_from_slice(&udp.to_be_bytes());
    let at = ETHERNET + IPV4;
    let sum = match checksum(&[&pseudo, &frame[at..]]) {
        // What is no checksum at all is said otherwise.
        [0, 0] => [0xff, 0xff],
        sum => sum,
    };
    frame[at + 6..at + 8].copy_from_slice(&sum);
    frame
}

/// The Internet checksum (RFC 1071) of pieces, of which only the last may have an odd length.
fn checksum(pieces: &[&[u8]]) -> [u8; 2] {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let word = |it: &[u8]| u32::from(u16::from_be_bytes([it[0], it.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_byte_by_byte() {
        let end = |last, port| FlowEnd { address: Ipv4Addr::new(10, 20, last, 2), port };
        let macs = (Mac::number(1), Mac::number(101));
        let frame = datagram(macs, (end(1, 5000), end(2, 6000)), 64, b"odd");
        // Its checksums were worked out by another program.
        let expected = [
            "0200000000650200000000010800",
            "4500001f00004000401123a30a1401020a140202",
            "13881770000bea4f",
            "6f6464",
        ];
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.concat());
    }

    #[test]
    fn checksums_of_the_books() {
        // RFC 1071, 3: the sum is ddf2.
        assert_eq!(checksum(&[&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]]), [0x22, 0x0d]);
        assert_eq!(checksum(&[&[0, 1], &[0xf2]]), checksum(&[&[0, 1, 0xf2, 0]]));
    }
}
