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
    pub before: Option<CounterSide>,
    pub behind: Option<CounterSide>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterSide {
    pub link: LinkNumber,
    pub node: NodeAddress,
    /// The label of received packets.
    pub comes: Label,
    /// The label of sent packets.
    pub goes: Label,
}

impl Engine {
    pub fn carried(&self) -> Vec<PathCounters> {
        let relayed = self.segments.iter().filter_map(|(key, it)| self.segment_carried(*key, it));
        relayed.chain(self.paths.values().filter_map(|path| self.path_carried(path))).collect()
    }

    pub(super) fn segment_carried(
        &self,
        key: (LinkNumber, Id),
        segment: &Transit,
    ) -> Option<PathCounters> {
        let behind = match &segment.to {
            NextHop::Hop { onward: None, .. } => return None,
            NextHop::Hop { key, back, onward: Some(goes), .. } => {
                Some(self.side(key.0, *back, *goes)?)
            }
            NextHop::End(..) => None,
        };
        let before = Some(self.side(key.0, segment.there, segment.back)?);
        Some(PathCounters { id: key, since: segment.since, before, behind })
    }

    pub(super) fn path_carried(&self, path: &SourcePath) -> Option<PathCounters> {
        let SourceState::Stands { there, .. } = &path.way else { return None };
        let behind = Some(self.side(path.link, path.back, *there)?);
        Some(PathCounters { id: (path.link, path.id), since: path.since, before: None, behind })
    }

    fn side(&self, link: LinkNumber, comes: Label, goes: Label) -> Option<CounterSide> {
        Some(CounterSide { link, node: *self.links.get(&link)?, comes, goes })
    }
}
