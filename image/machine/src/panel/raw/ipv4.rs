//! IPv4 with options, and in fragments (RFC 791).

use std::net::Ipv4Addr;
use std::ops::Range;

use super::checksum;

/// What stands in the header besides lengths and checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv4 {
    /// Who sends it, as it says.
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    /// The number of what lies above.
    pub protocol: u8,
    /// Routers that it may still pass.
    pub hop_limit: u8,
    /// What all fragments of a packet have in common.
    pub id: u16,
    pub dont_fragment: bool,
    /// It is a fragment, and others lie behind it.
    pub more_fragments: bool,
    /// Where the fragment belongs, in 8 bytes: less than 8192.
    pub offset: u16,
    /// Up to 40 bytes; they are filled up to a multiple of 4 with ends of options.
    pub options: Vec<u8>,
}

impl Ipv4 {
    /// The header that most packets have.
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        Self {
            source,
            destination,
            protocol,
            hop_limit: 64,
            id: 0,
            dont_fragment: false,
            more_fragments: false,
            offset: 0,
            options: vec![],
        }
    }

    /// The packet with `payload`.
    ///
    /// # Panics
    /// Options, offset or payload are longer than the format has room for.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let options = self.options.len().next_multiple_of(4);
        assert!(options <= 40 && self.offset < 1 << 13, "{self:?}");
        let header = 20 + options;
        let length = u16::try_from(header + payload.len()).expect("a packet of up to 65535 bytes");
        let part = u16::from(self.dont_fragment) << 14
            | u16::from(self.more_fragments) << 13
            | self.offset;
        let mut bytes = vec![0x40 | (header / 4) as u8, 0];
        for word in [length, self.id, part] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend([self.hop_limit, self.protocol, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        bytes.resize(header, 0);
        let checksum = checksum::internet(&bytes);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// The fragment with `range` of `payload`. Two ranges may overlap, and the first one be tiny.
    ///
    /// # Panics
    /// The range is not in `payload`, or does not begin at a multiple of 8.
    pub fn fragment(&self, payload: &[u8], range: Range<usize>) -> Vec<u8> {
        assert!(range.start.is_multiple_of(8), "a fragment at {}", range.start);
        let offset = u16::try_from(range.start / 8).expect("an offset of 13 bits");
        let more_fragments = range.end < payload.len();
        Self { more_fragments, offset, ..self.clone() }.packet(&payload[range])
    }
}

/// The option that a packet is to go by way of `via`, loosely (RFC 791, 3.1), for a packet whose
/// destination is the first router on the way.
pub fn source_route(via: &[Ipv4Addr]) -> Vec<u8> {
    assert!(via.len() <= 9, "{} routers", via.len());
    let mut bytes = vec![131, 3 + 4 * via.len() as u8, 4];
    bytes.extend(via.iter().flat_map(Ipv4Addr::octets));
    bytes
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::{IpProtocol, Ipv4Packet};

    use super::*;

    const ONE: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 20, 2, 2);

    #[test]
    fn a_packet_is_read_back() {
        let bytes = Ipv4 { hop_limit: 9, id: 77, ..Ipv4::new(ONE, OTHER, 47) }.packet(b"payload");
        let read = Ipv4Packet::new_checked(&bytes[..]).unwrap();
        assert!(read.verify_checksum());
        assert_eq!((read.src_addr(), read.dst_addr()), (ONE, OTHER));
        assert_eq!((read.hop_limit(), read.ident()), (9, 77));
        assert_eq!(read.next_header(), IpProtocol::Unknown(47));
        assert_eq!((read.more_frags(), read.dont_frag(), read.frag_offset()), (false, false, 0));
        assert_eq!(read.payload(), b"payload");
        let whole = Ipv4 { dont_fragment: true, ..Ipv4::new(ONE, OTHER, 47) }.packet(b"");
        assert!(Ipv4Packet::new_checked(&whole[..]).unwrap().dont_frag());
    }

    #[test]
    fn options_are_part_of_the_header() {
        let options = source_route(&[OTHER, ONE]);
        let bytes = Ipv4 { options, ..Ipv4::new(ONE, OTHER, 17) }.packet(b"payload");
        let read = Ipv4Packet::new_checked(&bytes[..]).unwrap();
        assert!(read.verify_checksum());
        assert_eq!((read.header_len(), read.payload()), (32, &b"payload"[..]));
        // RFC 791, 3.1: type 131, length, pointer to the first address; an end of options.
        assert_eq!(bytes[20..32], [131, 11, 4, 10, 20, 2, 2, 10, 20, 1, 2, 0]);
    }

    #[test]
    fn fragments_are_where_they_are_told() {
        let payload: Vec<u8> = (0..40).collect();
        let header = Ipv4 { id: 5, ..Ipv4::new(ONE, OTHER, 6) };
        // A tiny first one, and two that overlap.
        for (range, more) in [(0..8, true), (0..24, true), (16..40, false)] {
            let bytes = header.fragment(&payload, range.clone());
            let read = Ipv4Packet::new_checked(&bytes[..]).unwrap();
            assert!(read.verify_checksum());
            assert_eq!((read.ident(), read.more_frags()), (5, more));
            assert_eq!(usize::from(read.frag_offset()), range.start);
            assert_eq!(read.payload(), &payload[range]);
        }
    }
}
