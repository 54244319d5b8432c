//! Paths as whoever counts what they carry sees them.

use super::relay::{Segment, To};
use super::source::{Path, Way};
use super::{Engine, Link};
use crate::control::Id;
use crate::label::Label;
use octet_node::address::Address;

/// A path that stands, or stood. At its source there is nobody before, at its end nobody behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// What it is called on the link before; at its source, on the one behind.
    pub id: (Link, Id),
    /// Since when it stands, in seconds since 1970.
    pub since: u64,
    /// Towards its source.
    pub before: Option<Side>,
    /// Towards its end.
    pub behind: Option<Side>,
}

/// One side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// The link.
    pub link: Link,
    /// The neighbour.
    pub node: Address,
    /// What comes from there has this label.
    pub comes: Label,
    /// What goes there has this one.
    pub goes: Label,
}

impl Engine {
    /// All that stand.
    pub fn carried(&self) -> Vec<Carried> {
        let relayed = self.segments.iter().filter_map(|(key, it)| self.segment_carried(*key, it));
        relayed.chain(self.paths.values().filter_map(|path| self.path_carried(path))).collect()
    }

    pub(super) fn segment_carried(&self, key: (Link, Id), segment: &Segment) -> Option<Carried> {
        let behind = match &segment.to {
            To::Hop { onward: None, .. } => return None,
            To::Hop { key, back, onward: Some(goes), .. } => Some(self.side(key.0, *back, *goes)?),
            To::End(..) => None,
        };
        let before = Some(self.side(key.0, segment.there, segment.back)?);
        Some(Carried { id: key, since: segment.since, before, behind })
    }

    pub(super) fn path_carried(&self, path: &Path) -> Option<Carried> {
        let Way::Stands { there, .. } = &path.way else { return None };
        let behind = Some(self.side(path.link, path.back, *there)?);
        Some(Carried { id: (path.link, path.id), since: path.since, before: None, behind })
    }

    fn side(&self, link: Link, comes: Label, goes: Label) -> Option<Side> {
        Some(Side { link, node: *self.links.get(&link)?, comes, goes })
    }
}
