//! Paths as whoever counts what they carry sees them.

use super::relay::{NextHop, Transit};
use super::source::{SourcePath, SourceState};
use super::{Engine, LinkNumber};
use crate::control::Id;
use crate::label::Label;
use octet_node::address::NodeAddress;

/// A path that stands, or stood. At its source there is nobody before, at its end nobody behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathCounters {
    /// What it is called on the link before; at its source, on the one behind.
    pub id: (LinkNumber, Id),
    /// Since when it stands, in seconds since 1970.
    pub since: u64,
    pub before: Option<CounterSide>,
    pub behind: Option<CounterSide>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterSide {
    pub link: LinkNumber,
    pub node: NodeAddress,
    /// What comes from there has this label.
    pub comes: Label,
    /// What goes there has this one.
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
