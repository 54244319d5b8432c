//! The ends of paths: which numbers, addresses and ports they have.
//!
//! Within labels go packets of WireGuard, which have addresses that only the two ends know: both come from a
//! random number that the source has chosen, and say nothing of anybody.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// The addresses of ends: 240.0.0.0/4, which nobody has (RFC 1112, 4: reserved).
const NETWORK: u32 = 0xf000_0000;

/// The bits of a path's number that count.
const BITS: u32 = 0x07ff_ffff;

/// What stands before the secret of which the time to live is made.
const TTL_PREFIX: &[u8] = b"octet time to live 1\0";

/// The first of the ports of ends, and how many there are.
const PORTS: (u16, u16) = (52_000, 8_000);

/// How many ends a node has at most: each is a device.
const MAX_ENDS: usize = 512;

/// The number of an end at this node, and of its device `fp<N>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathNumber(pub u16);

impl PathNumber {
    /// The name of its device.
    pub fn device(self) -> String {
        format!("fp{}", self.0)
    }
}

impl fmt::Display for PathNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What two ends have in common, as the one of them sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct PathEnd {
    /// The number that the source has chosen: 27 bits.
    pub number: u32,
    /// Whether this is the end where the path begins.
    pub is_source: bool,
    /// The own secret (X25519), for this path alone.
    pub secret: [u8; 32],
    /// The other end's public key.
    pub key: [u8; 32],
    /// The node at the other end, once it is known.
    pub node: Option<Ipv6Addr>,
}

impl PathEnd {
    /// The addresses where packets leave the label path: here, and at the other end.
    pub fn outer(&self) -> (Ipv4Addr, Ipv4Addr) {
        let of =
            |side: bool| Ipv4Addr::from_bits(NETWORK | (self.number & BITS) << 1 | u32::from(side));
        (of(!self.is_source), of(self.is_source))
    }

    /// The port of both ends.
    pub fn port(&self) -> u16 {
        port(self.number)
    }

    /// What the labels' time to live begins with: each hop takes one off, and is not to learn from it how many
    /// there are before it.
    pub fn ttl(&self) -> u8 {
        let digest = Sha256::new().chain_update(TTL_PREFIX).chain_update(self.secret).finalize();
        128 + digest[0] % 120
    }

    /// The addresses of the path itself, within WireGuard: here, and at the other end.
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

/// The next number; after the highest comes the first. 0 is none.
fn after(number: u16) -> u16 {
    number.checked_add(1).unwrap_or(1)
}

/// The numbers of ends that are in use.
#[derive(Debug, Default)]
pub struct EndNumbers {
    taken: BTreeMap<PathNumber, u32>,
    /// The number that was given last. Whoever has noted one of an ended path is not to mean another path by it, so
    /// all others come before it is given again.
    last: u16,
}

impl EndNumbers {
    /// Takes a number for an end; `None` if there are too many, or the port or the addresses of `number` are
    /// those of another, everybody's or nobody's.
    pub fn take(&mut self, number: u32) -> Option<PathNumber> {
        let is_full = self.taken.len() >= MAX_ENDS;
        // One of its addresses would be 255.255.255.255, which is everybody's, or 240.0.0.0, which is what hosts
        // take for everybody's of this network (RFC 1122, 3.3.6).
        let is_reserved = [0, BITS].contains(&(number & BITS));
        if is_full || is_reserved || self.taken.values().any(|other| port(*other) == port(number)) {
            return None;
        }
        let mut free = after(self.last);
        while self.taken.contains_key(&PathNumber(free)) {
            free = after(free);
        }
        self.last = free;
        self.taken.insert(PathNumber(free), number);
        Some(PathNumber(free))
    }

    /// The number that was given last; 0 before any.
    pub fn last(&self) -> u16 {
        self.last
    }

    /// Numbers are given from this one on.
    pub fn continue_after(&mut self, last: u16) {
        self.last = last;
    }

    /// It is in use, as it was before.
    pub fn keep(&mut self, path: PathNumber, number: u32) {
        self.taken.insert(path, number);
    }

    pub fn give_back(&mut self, path: PathNumber) {
        self.taken.remove(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// What is near for the one is far for the other.
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

    /// A hop that takes one more off sees the same as the one before it, but for one in 120 paths.
    #[test]
    fn the_time_to_live_begins_anywhere() {
        let of = |secret: u32| {
            let mut stretch =
                PathEnd { number: 1, is_source: true, secret: [0; 32], key: [0; 32], node: None };
            stretch.secret[..4].copy_from_slice(&secret.to_be_bytes());
            stretch.ttl()
        };
        let all: BTreeSet<_> = (0..10_000).map(of).collect();
        assert_eq!(all, (128..=247).collect());
        assert_eq!(of(7), of(7), "a daemon that starts again puts back what was there");
    }

    #[test]
    fn no_end_is_everybody() {
        let mut ends = EndNumbers::default();
        for number in [BITS, u32::MAX, 0, BITS + 1] {
            assert_eq!(ends.take(number), None, "{number:#x}");
        }
        let far = |number| {
            PathEnd { number, is_source: true, secret: [0; 32], key: [0; 32], node: None }.outer().1
        };
        assert!(ends.take(BITS - 1).is_some());
        assert_eq!(far(BITS - 1), Ipv4Addr::new(255, 255, 255, 253));
        assert!(ends.take(1).is_some());
        assert_eq!(far(1), Ipv4Addr::new(240, 0, 0, 3));
    }

    #[test]
    fn no_two_have_one_port() {
        let mut ends = EndNumbers::default();
        let first = ends.take(5).unwrap();
        assert_eq!(ends.take(5 + 8_000), None);
        assert_ne!(ends.take(6).unwrap(), first);
        ends.give_back(first);
        assert!(ends.take(5 + 8_000).is_some());
    }

    /// Each number is given once before any comes again, and none that is in use.
    #[test]
    fn a_number_is_not_given_again_soon() {
        let mut ends = EndNumbers::default();
        let stays = ends.take(1).unwrap();
        let mut given = BTreeSet::from([stays]);
        for _ in 1..u16::MAX {
            let path = ends.take(2).unwrap();
            assert!(given.insert(path), "{path} is given twice");
            ends.give_back(path);
        }
        assert_eq!(given.len(), usize::from(u16::MAX));
        assert_eq!(ends.take(2), Some(PathNumber(2)), "the first one is in use");
        for number in 3..=MAX_ENDS as u32 {
            assert!(ends.take(number).is_some());
        }
        assert_eq!(ends.take(MAX_ENDS as u32 + 1), None, "each is a device");
    }
}
