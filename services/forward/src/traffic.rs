//! What each neighbour has carried for this node, and this node for it: the bytes that `accounts` has paid for
//! (docs/accounts.md).

use std::collections::{BTreeMap, BTreeSet};

use octet_node::address::NodeAddress;
use octet_node::key::{NoRandomness, random};
use serde::{Deserialize, Serialize};

use crate::control::Id;
use crate::engine::{CounterSide, LinkNumber, PathCounters};
use crate::kernel::meter::{Direction, Meter, MeterCounts};

/// Bytes of IP with the label of the link, of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TrafficBytes {
    /// Of paths that this node asked the neighbour for.
    pub bought: u64,
    /// Of paths that the neighbour asked this node for.
    pub served: u64,
}

/// A path that has ended: its link, its identifier there, and when it came up.
type EndedPath = (u16, u64, u64);

/// The traffic of neighbours, and how much more they may have. Counts never decrease within an epoch, and
/// survive a restart of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourTraffic {
    /// Drawn when counting begins at 0, as after a boot.
    epoch: [u8; 16],
    /// The traffic of paths that have ended.
    ended: BTreeMap<NodeAddress, TrafficBytes>,
    /// How far `served` may grow; a neighbour without an entry has no limit.
    limits: BTreeMap<NodeAddress, u64>,
    /// Paths that are in `ended`, and that a daemon which is killed now finds again.
    in_ended: BTreeSet<EndedPath>,
}

impl NeighbourTraffic {
    /// No traffic, in a new epoch.
    ///
    /// # Errors
    /// The kernel provides no randomness.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self {
            epoch: random()?,
            ended: BTreeMap::new(),
            limits: BTreeMap::new(),
            in_ended: BTreeSet::new(),
        })
    }

    /// Decodes what is persisted; `None` if it is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The epoch of the counts, in hexadecimal digits.
    pub fn epoch(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.epoch)
    }

    /// Adds paths that end, with their last counts. A path that is added already is left out.
    pub fn end(&mut self, paths: &[PathCounters], counts: &MeterCounts) {
        for path in paths {
            let (LinkNumber(link), Id(id)) = path.id;
            if self.in_ended.insert((link, id, path.since)) {
                add(&mut self.ended, path, counts);
            }
        }
    }

    /// No ended path will be found again: nothing of them is persisted any more.
    pub fn forgotten(&mut self) {
        self.in_ended.clear();
    }

    /// The traffic of all neighbours, with that of the current paths.
    pub fn all(
        &self,
        current: &[PathCounters],
        counts: &MeterCounts,
    ) -> BTreeMap<NodeAddress, TrafficBytes> {
        let mut all = self.ended.clone();
        for path in current {
            add(&mut all, path, counts);
        }
        all
    }

    pub fn limit(&self, node: NodeAddress) -> Option<u64> {
        self.limits.get(&node).copied()
    }

    pub fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Sets how far `served` may grow; `None`: without limit.
    pub fn set_limit(&mut self, node: NodeAddress, limit: Option<u64>) {
        match limit {
            Some(limit) => self.limits.insert(node, limit),
            None => self.limits.remove(&node),
        };
    }
}

fn add(all: &mut BTreeMap<NodeAddress, TrafficBytes>, path: &PathCounters, counts: &MeterCounts) {
    let mut count = |side: Option<CounterSide>, of: fn(&mut TrafficBytes) -> &mut u64| {
        let Some(side) = side else { return };
        let sum = of(all.entry(side.node).or_default());
        for (direction, label) in [(Direction::In, side.rx_label), (Direction::Out, side.tx_label)]
        {
            let meter = Meter { device: side.link.device(), direction, label };
            let bytes = counts.get(&meter).map_or(0, |count| count.bytes);
            *sum = sum.saturating_add(bytes);
        }
    };
    count(path.previous_hop, |it| &mut it.served);
    count(path.next_hop, |it| &mut it.bought);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::meter::Count;
    use crate::label::Label;
    use octet_node::control::PublicKey;
    use proptest::prelude::*;

    fn node(key: u8) -> NodeAddress {
        NodeAddress::of(&PublicKey::new([key; 32]))
    }

    /// The side at the link to node `key`, with labels from its number.
    fn side(key: u8, at: u32) -> CounterSide {
        let label = |number| Label::new(number).unwrap();
        CounterSide {
            link: LinkNumber(key.into()),
            node: node(key),
            rx_label: label(1000 + 2 * at),
            tx_label: label(1001 + 2 * at),
        }
    }

    fn path(id: u64, previous: Option<u8>, next: Option<u8>) -> PathCounters {
        let at = u32::try_from(id).unwrap();
        let link = LinkNumber(previous.or(next).unwrap().into());
        let [previous_hop, next_hop] = [previous, next].map(|key| key.map(|key| side(key, at)));
        PathCounters { id: (link, Id(id)), since: 7, previous_hop, next_hop }
    }

    /// Each label of these paths has carried this many bytes.
    fn counts(paths: &[PathCounters], bytes: u64) -> MeterCounts {
        let sides = paths.iter().flat_map(|path| [path.previous_hop, path.next_hop]).flatten();
        let meters = sides.flat_map(|side| {
            let of = move |direction, label| Meter { device: side.link.device(), direction, label };
            [of(Direction::In, side.rx_label), of(Direction::Out, side.tx_label)]
        });
        meters.map(|meter| (meter, Count { packets: 1, bytes })).collect()
    }

    /// A source asks, a relay serves and asks, an end serves; both directions count.
    #[test]
    fn each_side_counts_for_its_neighbour() {
        let paths = [path(1, None, Some(2)), path(2, Some(3), Some(2)), path(3, Some(3), None)];
        let traffic = NeighbourTraffic::new().unwrap();
        let all = traffic.all(&paths, &counts(&paths, 10));
        let of = |bought, served| TrafficBytes { bought, served };
        assert_eq!(all, [(node(2), of(40, 0)), (node(3), of(0, 40))].into());
    }

    /// A daemon that is killed while a path ends finds the path again, and does not count it twice.
    #[test]
    fn what_ends_counts_once() {
        let paths = [path(1, Some(2), Some(3)), path(2, Some(2), None)];
        let counted = counts(&paths, 10);
        let mut traffic = NeighbourTraffic::new().unwrap();
        let before = traffic.all(&paths, &counted);
        traffic.end(&paths[..1], &counted);
        assert_eq!(traffic.all(&paths[1..], &counted), before);
        let mut next = NeighbourTraffic::from_bytes(&traffic.to_bytes()).unwrap();
        assert_eq!((&next, next.epoch()), (&traffic, traffic.epoch()));
        next.end(&paths[..1], &counted);
        assert_eq!(next.all(&paths[1..], &counted), before);
        next.forgotten();
        next.end(&paths[1..], &counted);
        assert_eq!(next.all(&[], &MeterCounts::new()), before);
        assert_ne!(NeighbourTraffic::new().unwrap().epoch(), traffic.epoch());
    }

    #[test]
    fn a_limit_is_kept_until_it_is_taken_back() {
        let mut traffic = NeighbourTraffic::new().unwrap();
        traffic.set_limit(node(2), Some(5));
        let mut next = NeighbourTraffic::from_bytes(&traffic.to_bytes()).unwrap();
        assert_eq!((next.limit(node(2)), next.limit(node(3))), (Some(5), None));
        assert!(next.has_limits());
        next.set_limit(node(2), None);
        assert!(!next.has_limits());
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            prop_assert!(NeighbourTraffic::from_bytes(&bytes).is_none());
        }
    }
}
