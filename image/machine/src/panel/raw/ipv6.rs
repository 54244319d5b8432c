//! IPv6 with any chain of headers (RFC 8200).

use std::net::Ipv6Addr;
use std::ops::Range;

/// The option that routers are to look at a packet (RFC 2711), as reports about groups have it.
pub const ROUTER_ALERT: [u8; 4] = [5, 2, 0, 0];

/// What stands in the header besides lengths, and the headers behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv6 {
    /// Who sends it, as it says.
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    /// Routers that it may still pass.
    pub hop_limit: u8,
    /// In the order in which they stand, which may be one that the RFC forbids.
    pub extensions: Vec<Extension>,
}

/// A header between the first one and what lies above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extension {
    /// Options for every router; those to fill it up are added.
    HopByHop(Vec<u8>),
    /// Options for the destination; those to fill it up are added.
    Destination(Vec<u8>),
    /// The packet is to go by way of these, of which so many are left (type 0, which RFC 5095
    /// forbids).
    Routing {
        /// How many of them it has not been at.
        left: u8,
        via: Vec<Ipv6Addr>,
    },
    Fragment {
        /// Where the fragment belongs, in 8 bytes: less than 8192.
        offset: u16,
        more: bool,
        /// What all fragments of a packet have in common.
        id: u32,
    },
}

impl Extension {
    fn number(&self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Routing { .. } => 43,
            Self::Fragment { .. } => 44,
            Self::Destination(_) => 60,
        }
    }

    fn bytes(&self, next: u8) -> Vec<u8> {
        match self {
            Self::HopByHop(options) | Self::Destination(options) => with_options(next, options),
            Self::Routing { left, via } => {
                let length = u8::try_from(2 * via.len()).expect("up to 127 addresses");
                let mut bytes = vec![next, length, 0, *left, 0, 0, 0, 0];
                bytes.extend(via.iter().flat_map(Ipv6Addr::octets));
                bytes
            }
            Self::Fragment { offset, more, id } => {
                assert!(*offset < 1 << 13, "a fragment at 8 times {offset}");
                let part = offset << 3 | u16::from(*more);
                let mut bytes = vec![next, 0];
                bytes.extend(part.to_be_bytes());
                bytes.extend(id.to_be_bytes());
                bytes
            }
        }
    }
}

/// A header of options, filled up to a multiple of 8 with one or more bytes (RFC 8200, 4.2).
fn with_options(next: u8, options: &[u8]) -> Vec<u8> {
    let mut bytes = [&[next, 0], options].concat();
    match bytes.len().next_multiple_of(8) - bytes.len() {
        0 => {}
        1 => bytes.push(0),
        missing => {
            bytes.extend([1, missing as u8 - 2]);
            bytes.resize(bytes.len() + missing - 2, 0);
        }
    }
    bytes[1] = u8::try_from(bytes.len() / 8 - 1).expect("options of up to 2 kB");
    bytes
}

impl Ipv6 {
    /// The header that most packets have.
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self { source, destination, hop_limit: 64, extensions: vec![] }
    }

    /// The packet with `payload`, which is of the protocol with this number.
    ///
    /// # Panics
    /// A header or the payload is longer than the format has room for.
    pub fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut above = vec![payload.to_vec()];
        let mut next = protocol;
        for extension in self.extensions.iter().rev() {
            above.push(extension.bytes(next));
            next = extension.number();
        }
        let length = above.iter().map(Vec::len).sum::<usize>();
        let length = u16::try_from(length).expect("a packet of up to 65535 bytes");
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([next, self.hop_limit]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(above.iter().rev().flatten());
        bytes
    }

    /// The fragment with `range` of `payload`, behind the other headers. Two ranges may overlap, and
    /// the first one be tiny.
    ///
    /// # Panics
    /// The range is not in `payload`, or does not begin at a multiple of 8.
    pub fn fragment(&self, id: u32, protocol: u8, payload: &[u8], range: Range<usize>) -> Vec<u8> {
        assert!(range.start.is_multiple_of(8), "a fragment at {}", range.start);
        let offset = u16::try_from(range.start / 8).expect("an offset of 13 bits");
        let mut fragment = self.clone();
        let more = range.end < payload.len();
        fragment.extensions.push(Extension::Fragment { offset, more, id });
        fragment.packet(protocol, &payload[range])
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::{
        IpProtocol, Ipv6ExtHeader, Ipv6ExtHeaderRepr, Ipv6FragmentHeader, Ipv6Packet,
    };

    use super::*;

    const ONE: Ipv6Addr = Ipv6Addr::new(0xfd6f, 0x6374, 0x6574, 1, 0, 0, 0, 2);
    const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd6f, 0x6374, 0x6574, 2, 0, 0, 0, 2);

    fn with(extensions: Vec<Extension>) -> Ipv6 {
        Ipv6 { extensions, ..Ipv6::new(ONE, OTHER) }
    }

    #[test]
    fn a_packet_is_read_back() {
        let bytes = Ipv6 { hop_limit: 9, ..Ipv6::new(ONE, OTHER) }.packet(47, b"payload");
        let read = Ipv6Packet::new_checked(&bytes[..]).unwrap();
        assert_eq!((read.src_addr(), read.dst_addr(), read.hop_limit()), (ONE, OTHER, 9));
        assert_eq!(read.next_header(), IpProtocol::Unknown(47));
        assert_eq!(read.payload(), b"payload");
    }

    #[test]
    fn a_chain_leads_to_what_lies_above() {
        let packet = with(vec![
            Extension::HopByHop(ROUTER_ALERT.to_vec()),
            Extension::Destination(vec![]),
            Extension::Destination(vec![1, 3, 0, 0, 0]),
            Extension::Routing { left: 1, via: vec![ONE] },
            Extension::Destination(vec![1; 6]),
        ]);
        let bytes = packet.packet(17, b"payload");
        let read = Ipv6Packet::new_checked(&bytes[..]).unwrap();
        let (mut next, mut rest) = (read.next_header(), read.payload());
        let mut found = vec![];
        while next != IpProtocol::Udp {
            let header = Ipv6ExtHeader::new_checked(rest).unwrap();
            let repr = Ipv6ExtHeaderRepr::parse(&header).unwrap();
            let length = 8 * (usize::from(repr.length) + 1);
            found.push((u8::from(next), rest[2..length].to_vec()));
            (next, rest) = (repr.next_header, &rest[length..]);
        }
        // RFC 8200, 4.2: option 1 (PadN) has a length, option 0 (Pad1) has none. RFC 2460, 4.4: the
        // type, segments left, 4 bytes of nothing, the addresses.
        let route = [&[0, 1, 0, 0, 0, 0][..], &ONE.octets()].concat();
        let expected = [
            (0, vec![5, 2, 0, 0, 1, 0]),
            (60, vec![1, 4, 0, 0, 0, 0]),
            (60, vec![1, 3, 0, 0, 0, 0]),
            (43, route),
            (60, vec![1; 6]),
        ];
        assert_eq!(found, expected);
        assert_eq!(rest, b"payload");
    }

    #[test]
    fn fragments_are_where_they_are_told() {
        let payload: Vec<u8> = (0..40).collect();
        for (range, more) in [(0..8, true), (0..24, true), (16..40, false)] {
            let bytes = with(vec![]).fragment(5, 6, &payload, range.clone());
            let read = Ipv6Packet::new_checked(&bytes[..]).unwrap();
            assert_eq!(read.next_header(), IpProtocol::Ipv6Frag);
            assert_eq!(read.payload()[..2], [6, 0]);
            let header = Ipv6FragmentHeader::new_checked(&read.payload()[2..8]).unwrap();
            assert_eq!((header.ident(), header.more_frags()), (5, more));
            assert_eq!(usize::from(header.frag_offset()) * 8, range.start);
            assert_eq!(&read.payload()[8..], &payload[range]);
        }
    }
}
