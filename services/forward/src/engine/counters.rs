//! Paths as accounting sees them.

use super::relay::{NextHop, Transit};
use super::source::{SourcePath, SourceState};
use super::{Engine, LinkNumber};
use crate::control::Id;
use crate::label::Label;
use octet_node::address::NodeAddress;

/// A path that is or was up. At its source there is no previous hop, at its end no next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathCounters {
    /// Its identifier on the previous link; at the source, on the next link.
    pub id: (LinkNumber, Id),
    /// When it came up, in seconds since 1970.
    pub since: u64,
    pub previous_hop: Option<CounterSide>,
    pub next_hop: Option<CounterSide>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterSide {
    pub link: LinkNumber,
    pub node: NodeAddress,
    /// The label of received packets.
    pub rx_label: Label,
    /// The label of sent packets.
    pub tx_label: Label,
}

impl Engine {
    /// Whether the neighbour at this link asked for the path that has this label there.
    pub fn is_charged(&self, link: LinkNumber, label: Label) -> bool {
        let has = |transit: &Transit| transit.in_label == label || transit.reverse_label == label;
        self.transits.iter().any(|((from, _), transit)| *from == link && has(transit))
    }

    pub fn path_counters(&self) -> Vec<PathCounters> {
        let relayed = self.transits.iter().filter_map(|(key, it)| self.transit_counters(*key, it));
        relayed.chain(self.paths.values().filter_map(|path| self.source_counters(path))).collect()
    }

    pub(super) fn transit_counters(
        &self,
        key: (LinkNumber, Id),
        transit: &Transit,
    ) -> Option<PathCounters> {
        let next_hop = match &transit.next_hop {
            NextHop::Hop { out_label: None, .. } => return None,
            NextHop::Hop { key, reverse_label, out_label: Some(goes), .. } => {
                Some(self.side(key.0, *reverse_label, *goes)?)
            }
            NextHop::End(..) => None,
        };
        let previous_hop = Some(self.side(key.0, transit.in_label, transit.reverse_label)?);
        Some(PathCounters { id: key, since: transit.since, previous_hop, next_hop })
    }

    pub(super) fn source_counters(&self, path: &SourcePath) -> Option<PathCounters> {
        let SourceState::Up { out_label, .. } = &path.setup else { return None };
        let next_hop = Some(self.side(path.link, path.reverse_label, *out_label)?);
        Some(PathCounters {
            id: (path.link, path.id),
            since: path.since,
            previous_hop: None,
            next_hop,
        })
    }

    fn side(&self, link: LinkNumber, rx_label: Label, tx_label: Label) -> Option<CounterSide> {
        Some(CounterSide { link, node: *self.links.get(&link)?, rx_label, tx_label })
    }
}
