//! Path ends: their numbers, addresses and ports.
//!
//! The labelled packets are WireGuard packets. The two ends derive their addresses from a random number that
//! the source has chosen, so that the addresses identify nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// The network of path ends: 240.0.0.0/4, which is unassigned (RFC 1112, 4: reserved).
const NETWORK: u32 = 0xf000_0000;

/// The significant bits of a path's number.
const BITS: u32 = 0x07ff_ffff;

/// The prefix of the secret in the hash that gives the TTL.
const TTL_PREFIX: &[u8] = b"octet time to live 1\0";

/// The first port of path ends, and the number of ports.
const PORTS: (u16, u16) = (52_000, 8_000);

/// The maximum number of path ends on a node: each needs a device.
const MAX_ENDS: usize = 512;

/// The number of a local path end, and of its device `fp<N>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathNumber(pub u16);

impl PathNumber {
    pub fn device(self) -> String {
        format!("fp{}", self.0)
    }
}

impl fmt::Display for PathNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The parameters that two path ends share, as one of them sees them.
#[derive(Clone, PartialEq, Eq)]
pub struct PathEnd {
    /// The number that the source has chosen: 27 bits.
    pub number: u32,
    /// Whether the path begins here.
    pub is_source: bool,
    /// The local X25519 secret, for this path alone.
    pub secret: [u8; 32],
    /// The peer's X25519 public key, for this path alone.
    pub key: [u8; 32],
    /// The node at the other end, once it is authenticated.
    pub node: Option<Ipv6Addr>,
}

impl PathEnd {
    /// The outer addresses: local and remote.
    pub fn outer(&self) -> (Ipv4Addr, Ipv4Addr) {
        let of =
            |side: bool| Ipv4Addr::from_bits(NETWORK | (self.number & BITS) << 1 | u32::from(side));
        (of(!self.is_source), of(self.is_source))
    }

    /// The UDP port of both ends.
    pub fn port(&self) -> u16 {
        port(self.number)
    }

    /// The initial TTL of labels. Each hop decrements it, so it varies to hide the number of preceding hops.
    pub fn ttl(&self) -> u8 {
        let digest = Sha256::new().chain_update(TTL_PREFIX).chain_update(self.secret).finalize();
        128 + digest[0] % 120
    }

    /// The inner addresses, within WireGuard: local and remote.
    pub fn inner(&self) -> (Ipv6Addr, Ipv6Addr) {
        let of = |side: u16| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, side);
        if self.is_source { (of(1), of(2)) } else { (of(2), of(1)) }
    }
}

impl fmt::Debug for PathEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "end {:#x} of {:?}", self.number, self.node)
    }
}

fn port(number: u32) -> u16 {
    PORTS.0 + ((number & BITS) % u32::from(PORTS.1)) as u16
}

/// The next number, wrapping around. 0 is not used.
fn next_after(number: u16) -> u16 {
    number.checked_add(1).unwrap_or(1)
}

/// The path numbers in use.
#[derive(Debug, Default)]
pub struct EndNumbers {
    taken: BTreeMap<PathNumber, u32>,
    /// The last assigned number. A user may have noted the number of an ended path, so all other numbers are
    /// used before it is reused.
    last: u16,
}

impl EndNumbers {
    /// Allocates a number; `None` if there are too many, or if the port or the addresses of `number` are in use
    /// or reserved.
    pub fn allocate(&mut self, number: u32) -> Option<PathNumber> {
        let is_full = self.taken.len() >= MAX_ENDS;
        // Reserved are 255.255.255.255, the broadcast address, and 240.0.0.0, which hosts take for a broadcast
        // address of this network (RFC 1122, 3.3.6).
        let is_reserved = [0, BITS].contains(&(number & BITS));
        if is_full || is_reserved || self.taken.values().any(|other| port(*other) == port(number)) {
            return None;
        }
        let mut free = next_after(self.last);
        while self.taken.contains_key(&PathNumber(free)) {
            free = next_after(free);
        }
        self.last = free;
        self.taken.insert(PathNumber(free), number);
        Some(PathNumber(free))
    }

    /// The last assigned number; 0 if none.
    pub fn last(&self) -> u16 {
        self.last
    }

    /// Continues numbering after `last`.
    pub fn continue_after(&mut self, last: u16) {
        self.last = last;
    }

    /// Marks a number of a previous daemon as in use.
    pub fn reserve(&mut self, path: PathNumber, number: u32) {
        self.taken.insert(path, number);
    }

    pub fn free(&mut self, path: PathNumber) {
        self.taken.remove(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// One end's local address is the other end's remote address.
        #[test]
        fn both_ends_agree(number: u32) {
            let end = |is_source| PathEnd { number, is_source, secret: [0; 32], key: [0; 32], node: None };
            let (source, end) = (end(true), end(false));
            let swapped = |(a, b)| (b, a);
            prop_assert_eq!(source.outer(), swapped(end.outer()));
            prop_assert_ne!(source.outer().0, source.outer().1);
            prop_assert_eq!(source.outer().0.octets()[0] >> 4, 15);
            prop_assert_eq!((source.inner().0, source.inner().1), (end.inner().1, end.inner().0));
            prop_assert!((52_000..60_000).contains(&source.port()));
        }
    }

    /// The TTL reveals the position of a hop in 1 of 120 paths only.
    #[test]
    fn the_time_to_live_begins_anywhere() {
        let of = |secret: u32| {
            let mut path_end =
                PathEnd { number: 1, is_source: true, secret: [0; 32], key: [0; 32], node: None };
            path_end.secret[..4].copy_from_slice(&secret.to_be_bytes());
            path_end.ttl()
        };
        let all: BTreeSet<_> = (0..10_000).map(of).collect();
        assert_eq!(all, (128..=247).collect());
        assert_eq!(of(7), of(7), "a daemon that starts again puts back what was there");
    }

    #[test]
    fn no_end_is_everybody() {
        let mut ends = EndNumbers::default();
        for number in [BITS, u32::MAX, 0, BITS + 1] {
            assert_eq!(ends.allocate(number), None, "{number:#x}");
        }
        let far = |number| {
            PathEnd { number, is_source: true, secret: [0; 32], key: [0; 32], node: None }.outer().1
        };
        assert!(ends.allocate(BITS - 1).is_some());
        assert_eq!(far(BITS - 1), Ipv4Addr::new(255, 255, 255, 253));
        assert!(ends.allocate(1).is_some());
        assert_eq!(far(1), Ipv4Addr::new(240, 0, 0, 3));
    }

    #[test]
    fn no_two_have_one_port() {
        let mut ends = EndNumbers::default();
        let first = ends.allocate(5).unwrap();
        assert_eq!(ends.allocate(5 + 8_000), None);
        assert_ne!(ends.allocate(6).unwrap(), first);
        ends.free(first);
        assert!(ends.allocate(5 + 8_000).is_some());
    }

    /// All other numbers are used before one is reused.
    #[test]
    fn a_number_is_not_given_again_soon() {
        let mut ends = EndNumbers::default();
        let stays = ends.allocate(1).unwrap();
        let mut given = BTreeSet::from([stays]);
        for _ in 1..u16::MAX {
            let path = ends.allocate(2).unwrap();
            assert!(given.insert(path), "{path} is given twice");
            ends.free(path);
        }
        assert_eq!(given.len(), usize::from(u16::MAX));
        assert_eq!(ends.allocate(2), Some(PathNumber(2)), "the first one is in use");
        for number in 3..=MAX_ENDS as u32 {
            assert!(ends.allocate(number).is_some());
        }
        assert_eq!(ends.allocate(MAX_ENDS as u32 + 1), None, "each is a device");
    }
}
