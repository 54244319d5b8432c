//! What becomes of paths: of those that go through here, end here, and begin here. Pure: it has no clock, no
//! sockets and no chance of its own, and what is to be done comes out as [`Action`]s, in their order.

mod action;
mod carried;
mod end;
mod kept;
mod labels;
mod limits;
mod rate;
mod refusals;
mod relay;
mod source;
mod standing;

pub use action::{EngineAction, LinkNumber};
pub use carried::{CounterSide, PathCounters};
pub use end::{PathEnd, PathNumber};
pub use kept::LAST_NUMBER;
pub use rate::HIGHEST as HIGHEST_RATE;
pub use refusals::SetupRefusal;
pub use source::{NotAsked, PathState, RequestedPath, SourcePath};

use std::collections::{BTreeMap, BTreeSet};

use crate::control::{Id, LinkMessage};
use crate::label::Label;
use crate::onion::{OnionSecret, Reason};
use octet_node::address::NodeAddress;

use end::EndNumbers;
use labels::Labels;
use limits::{MAX_CHANGES, MAX_SET_UPS, NeighbourRates, Replays};
use refusals::Refusals;
use relay::Transit;

/// Where random numbers come from.
pub type Rng<'a> = &'a mut dyn FnMut() -> [u8; 32];

/// How many paths go through this node or end here at most.
const MAX_SEGMENTS: usize = 4096;

/// How many of them come from one neighbour.
const MAX_OF_ONE: usize = 2048;

/// How many of them end here, each of which is a device: of all neighbours, so that a quarter of all ends is left for paths
/// that begin here, and of one.
const MAX_ENDS: usize = 384;
const MAX_ENDS_OF_ONE: usize = 128;

/// For how long a path that ends here may be without a source that has said which node it is, in seconds.
const STRANGER: u64 = 30;

/// How long the next hops may take to answer, in seconds; the source waits twice as long, and so hears of it.
const TIMEOUT: u64 = 10;

/// By how much the clocks of two nodes may differ, in seconds.
const CLOCKS: u64 = 60;

/// The state of all paths.
#[derive(Debug, Default)]
pub struct Engine {
    /// The neighbours that there is a link to.
    links: BTreeMap<LinkNumber, NodeAddress>,
    labels: Labels,
    /// Those that neighbours have given away: what goes with one of them is counted as that of one path.
    given: BTreeSet<(LinkNumber, Label)>,
    ends: EndNumbers,
    replays: Replays,
    rates: NeighbourRates<MAX_SET_UPS>,
    changes: NeighbourRates<MAX_CHANGES>,
    refusals: Refusals,
    /// By who has asked for them.
    segments: BTreeMap<(LinkNumber, Id), Transit>,
    /// Of what was asked on: whose it is.
    onward: BTreeMap<(LinkNumber, Id), (LinkNumber, Id)>,
    paths: BTreeMap<PathNumber, SourcePath>,
}

impl Engine {
    /// There is a link to `neighbour`.
    pub fn linked(&mut self, link: LinkNumber, neighbour: NodeAddress) {
        self.links.insert(link, neighbour);
    }

    /// The links that there are.
    pub fn links(&self) -> &BTreeMap<LinkNumber, NodeAddress> {
        &self.links
    }

    fn link_to(&self, neighbour: NodeAddress) -> Option<LinkNumber> {
        self.links.iter().find(|(_, it)| **it == neighbour).map(|(link, _)| *link)
    }

    /// The link is gone: so is all that went by it.
    pub fn cut(&mut self, link: LinkNumber) -> Vec<EngineAction> {
        let mut actions = vec![];
        for key in self.using(link) {
            actions.extend(self.remove_segment(key));
        }
        let own = self.paths.iter().filter(|(_, it)| it.link == link);
        let own: Vec<_> = own.map(|(number, _)| *number).collect();
        for number in own {
            actions.extend(self.remove_path(number));
        }
        self.links.remove(&link);
        actions
    }

    /// A neighbour says something of a path. `keys` are those of this node for set-ups, `now` is in seconds
    /// since 1970.
    pub fn hear(
        &mut self,
        from: LinkNumber,
        message: LinkMessage,
        keys: &[OnionSecret],
        now: u64,
        chance: Rng<'_>,
    ) -> Vec<EngineAction> {
        if !self.links.contains_key(&from) {
            return vec![];
        }
        match message {
            LinkMessage::SetUp { id, back, onion } => {
                self.set_up((from, id), back, &onion, keys, now, chance)
            }
            LinkMessage::Answer { id, there, onion } => {
                self.answered((from, id), there, &onion, now)
            }
            LinkMessage::Unreadable(id) => self.unreadable((from, id)),
            LinkMessage::Change { id, sealed } => self.changed((from, id), &sealed, now),
            // They are of the link, and not of a path.
            LinkMessage::Probe(_)
            | LinkMessage::Probed(_)
            | LinkMessage::Announcement(_)
            | LinkMessage::Train { .. }
            | LinkMessage::Trained { .. }
            | LinkMessage::MtuProbe(_)
            | LinkMessage::MtuProbed(_) => vec![],
        }
    }

    /// The other end of a path has shown which node it is.
    pub fn introduced(&mut self, number: PathNumber, node: NodeAddress) -> Vec<EngineAction> {
        if let Some(path) = self.paths.get_mut(&number) {
            path.stretch.node = Some(node.ip());
            return vec![
                source::keep(number, path),
                EngineAction::End(number, path.stretch.clone()),
            ];
        }
        let is_it = |segment: &Transit| segment.end_here().is_some_and(|(it, _)| it == number);
        let found = self.segments.iter_mut().find(|(_, segment)| is_it(segment));
        let Some((key, segment)) = found else { return vec![] };
        let Some(stretch) = segment.end() else { return vec![] };
        stretch.node = Some(node.ip());
        let end = EngineAction::End(number, stretch.clone());
        vec![EngineAction::Keep(kept::segment_name(*key), kept::segment(segment)), end]
    }

    /// A node is not believed any more: no path leads to it, nor ends here that it has asked for.
    pub fn forsake(&mut self, node: NodeAddress) -> Vec<EngineAction> {
        let is_its = |segment: &Transit| {
            segment.end_here().is_some_and(|(_, stretch)| stretch.node == Some(node.ip()))
        };
        let ends = self.segments.iter().filter(|(_, segment)| is_its(segment));
        let ends: Vec<_> = ends.map(|(key, _)| *key).collect();
        let own = self.paths.iter().filter(|(_, path)| path.hops.last() == Some(&node));
        let own: Vec<_> = own.map(|(number, _)| *number).collect();
        let ended: Vec<_> = ends.into_iter().flat_map(|key| self.remove_segment(key)).collect();
        let dropped = own.into_iter().flat_map(|number| self.drop_path(number));
        ended.into_iter().chain(dropped).collect()
    }

    /// The end of a path that is here.
    pub fn stretch(&self, number: PathNumber) -> Option<&PathEnd> {
        let ends = self.segments.values().filter_map(Transit::end_here);
        let own = self.paths.iter().map(|(number, path)| (*number, &path.stretch));
        ends.chain(own).find(|(it, _)| *it == number).map(|(_, stretch)| stretch)
    }

    /// The link by which a path goes that begins or ends here.
    pub fn link_of(&self, number: PathNumber) -> Option<LinkNumber> {
        let is_it = |segment: &Transit| segment.end_here().is_some_and(|(it, _)| it == number);
        let ends = self.segments.iter().find(|(_, segment)| is_it(segment));
        let own = self.paths.get(&number).map(|path| path.link);
        own.or_else(|| ends.map(|((link, _), _)| *link))
    }

    /// A path of this node's own.
    pub fn path(&self, number: PathNumber) -> Option<&SourcePath> {
        self.paths.get(&number)
    }

    /// The node that a path of this node's own is to lead to.
    pub fn wanted(&self, number: PathNumber) -> Option<NodeAddress> {
        self.paths.get(&number)?.hops.last().copied()
    }

    /// The paths of this node's own whose other end has not shown yet who it is.
    pub fn strangers(&self) -> Vec<PathNumber> {
        let stands =
            |path: &SourcePath| path.state == PathState::Stands && path.stretch.node.is_none();
        self.paths.iter().filter(|(_, path)| stands(path)).map(|(number, _)| *number).collect()
    }

    /// How many paths go through this node, or come to their end here.
    pub fn relayed(&self) -> usize {
        self.segments.len()
    }

    /// How many set-ups were refused here since the start, by why.
    pub fn refusals(&self) -> impl Iterator<Item = (SetupRefusal, u64)> {
        self.refusals.counts()
    }

    pub fn pass(&mut self, now: u64) -> Vec<EngineAction> {
        self.replays.pass(now);
        let late = self.segments.iter().filter(|(_, it)| it.until <= now);
        let late: Vec<_> = late.map(|(key, _)| *key).collect();
        let mut actions: Vec<_> =
            late.into_iter().flat_map(|key| self.give_up(key, Reason::Silent)).collect();
        let is_strange = |segment: &Transit| {
            let is_unknown = segment.end_here().is_some_and(|(_, it)| it.node.is_none());
            is_unknown && segment.since + STRANGER <= now
        };
        let strange = self.segments.iter().filter(|(_, it)| is_strange(it));
        let strange: Vec<_> = strange.map(|(key, _)| *key).collect();
        actions.extend(strange.into_iter().flat_map(|key| self.remove_segment(key)));
        actions.extend(self.time_out(now));
        actions.extend(self.refresh(now));
        actions
    }
}
