//! The state machine of all paths: through this node, to it, and from it. Pure: it has no clock, no sockets and
//! no random source, and returns an ordered list of [`EngineAction`]s.

mod action;
mod counters;
mod end;
mod installed;
mod labels;
mod limits;
mod persisted;
mod rate;
mod refusals;
mod relay;
mod source;

pub use action::{EngineAction, LinkNumber};
pub use counters::{CounterSide, PathCounters};
pub use end::{PathEnd, PathNumber};
pub use installed::{KernelEntry, install};
pub use persisted::LAST_NUMBER;
pub use rate::MAX as MAX_RATE;
pub use refusals::SetupRefusal;
pub use source::{NotAsked, PathState, RequestedPath, ShownSource, SourcePath};

use std::collections::{BTreeMap, BTreeSet};

use crate::control::{Id, LinkMessage};
use crate::label::Label;
use crate::onion::{OnionSecret, Reason};
use octet_node::address::NodeAddress;

use end::EndNumbers;
use installed::difference;
use labels::Labels;
use limits::{NeighbourRates, Replays};
use refusals::Refusals;
use relay::Transit;

/// The random source.
pub type Rng<'a> = &'a mut dyn FnMut() -> [u8; 32];

/// The maximum number of paths through this node or to it.
const MAX_TRANSITS: usize = 4096;

/// The maximum number of these from one neighbour.
const MAX_TRANSITS_PER_NEIGHBOUR: usize = 2048;

/// The maximum number of paths that end here, each of which needs a device: of all neighbours, so that a
/// quarter of all ends remains for paths that begin here, and of one.
const MAX_ENDS: usize = 384;
const MAX_ENDS_PER_NEIGHBOUR: usize = 128;

/// How long a path that ends here may have an unauthenticated source, in seconds.
const AUTHENTICATION_TIMEOUT: u64 = 30;

/// The timeout for the next hops' answer, in seconds. The source waits twice as long, so that it receives the
/// relay's timeout.
const TIMEOUT: u64 = 10;

/// The allowed difference between the clocks of two nodes, in seconds.
const MAX_CLOCK_SKEW: u64 = 60;

#[derive(Debug, Default)]
pub struct Engine {
    /// The linked neighbours.
    links: BTreeMap<LinkNumber, NodeAddress>,
    labels: Labels,
    /// Labels that neighbours have assigned. They are unique, because traffic is counted by label.
    used_labels: BTreeSet<(LinkNumber, Label)>,
    end_numbers: EndNumbers,
    replays: Replays,
    rates: NeighbourRates,
    refusals: Refusals,
    /// Transit paths, by the requesting neighbour.
    transits: BTreeMap<(LinkNumber, Id), Transit>,
    /// From the identifiers on the next link to the transit path.
    transits_by_next: BTreeMap<(LinkNumber, Id), (LinkNumber, Id)>,
    paths: BTreeMap<PathNumber, SourcePath>,
}

impl Engine {
    /// Adds a link to `neighbour`.
    pub fn add_link(&mut self, link: LinkNumber, neighbour: NodeAddress) {
        self.links.insert(link, neighbour);
    }

    pub fn links(&self) -> &BTreeMap<LinkNumber, NodeAddress> {
        &self.links
    }

    fn link_to(&self, neighbour: NodeAddress) -> Option<LinkNumber> {
        self.links.iter().find(|(_, it)| **it == neighbour).map(|(link, _)| *link)
    }

    /// Removes a link, and all paths over it.
    pub fn remove_link(&mut self, link: LinkNumber) -> Vec<EngineAction> {
        let mut actions = vec![];
        for key in self.transits_over(link) {
            actions.extend(self.remove_transit(key));
        }
        let own = self.paths.iter().filter(|(_, it)| it.link == link);
        let own: Vec<_> = own.map(|(number, _)| *number).collect();
        for number in own {
            actions.extend(self.remove_path(number));
        }
        self.links.remove(&link);
        actions
    }

    /// Handles a message about a path. `keys` are this node's onion keys, `now` is in seconds since 1970.
    pub fn handle_message(
        &mut self,
        from: LinkNumber,
        message: LinkMessage,
        keys: &[OnionSecret],
        now: u64,
        rng: Rng<'_>,
    ) -> Vec<EngineAction> {
        if !self.links.contains_key(&from) {
            return vec![];
        }
        match message {
            LinkMessage::SetUp { id, reverse_label, onion } => {
                self.handle_setup((from, id), reverse_label, &onion, keys, now, rng)
            }
            LinkMessage::Answer { id, label, onion } => {
                self.handle_answer((from, id), label, &onion, now)
            }
            LinkMessage::Unreadable(id) => self.handle_unreadable((from, id)),
            LinkMessage::Change { id, sealed } => self.handle_change((from, id), &sealed, now),
            // These messages concern the link, not a path.
            LinkMessage::Probe(_)
            | LinkMessage::ProbeReply(_)
            | LinkMessage::Announcement(_)
            | LinkMessage::Account(_)
            | LinkMessage::Train { .. }
            | LinkMessage::TrainReply { .. }
            | LinkMessage::MtuProbe(_)
            | LinkMessage::MtuProbeReply(_) => vec![],
        }
    }

    /// Handles the authentication of a path's other end.
    pub fn set_peer(&mut self, number: PathNumber, node: NodeAddress) -> Vec<EngineAction> {
        if let Some(path) = self.paths.get_mut(&number) {
            let before = path.installed(number);
            path.end.node = Some(node.ip());
            let changed = difference(before, path.installed(number));
            return [source::persist(number, path)].into_iter().chain(changed).collect();
        }
        let is_it = |transit: &Transit| transit.local_end().is_some_and(|(it, _)| it == number);
        let found = self.transits.iter_mut().find(|(_, transit)| is_it(transit));
        let Some((key, transit)) = found else { return vec![] };
        let before = transit.installed(*key);
        let Some(path_end) = transit.local_end_mut() else { return vec![] };
        path_end.node = Some(node.ip());
        let saved =
            EngineAction::Keep(persisted::transit_name(*key), persisted::encode_transit(transit));
        [saved].into_iter().chain(difference(before, transit.installed(*key))).collect()
    }

    /// Ends all paths to a revoked node, and all paths from it that end here.
    pub fn revoke_node(&mut self, node: NodeAddress) -> Vec<EngineAction> {
        let is_its = |transit: &Transit| {
            transit.local_end().is_some_and(|(_, path_end)| path_end.node == Some(node.ip()))
        };
        let ends = self.transits.iter().filter(|(_, transit)| is_its(transit));
        let ends: Vec<_> = ends.map(|(key, _)| *key).collect();
        let own = self.paths.iter().filter(|(_, path)| path.hops.last() == Some(&node));
        let own: Vec<_> = own.map(|(number, _)| *number).collect();
        let ended: Vec<_> = ends.into_iter().flat_map(|key| self.remove_transit(key)).collect();
        let dropped = own.into_iter().flat_map(|number| self.drop_path(number));
        ended.into_iter().chain(dropped).collect()
    }

    /// The local end of a path.
    pub fn path_end(&self, number: PathNumber) -> Option<&PathEnd> {
        let ends = self.transits.values().filter_map(Transit::local_end);
        let own = self.paths.iter().map(|(number, path)| (*number, &path.end));
        ends.chain(own).find(|(it, _)| *it == number).map(|(_, path_end)| path_end)
    }

    /// The link that a path with a local end uses.
    pub fn link_of(&self, number: PathNumber) -> Option<LinkNumber> {
        let is_it = |transit: &Transit| transit.local_end().is_some_and(|(it, _)| it == number);
        let ends = self.transits.iter().find(|(_, transit)| is_it(transit));
        let own = self.paths.get(&number).map(|path| path.link);
        own.or_else(|| ends.map(|((link, _), _)| *link))
    }

    /// A path of this node.
    pub fn path(&self, number: PathNumber) -> Option<&SourcePath> {
        self.paths.get(&number)
    }

    /// The node that a path of this node was requested to.
    pub fn destination(&self, number: PathNumber) -> Option<NodeAddress> {
        self.paths.get(&number)?.hops.last().copied()
    }

    /// The paths of this node whose other end is unauthenticated.
    pub fn unauthenticated(&self) -> Vec<PathNumber> {
        let stands = |path: &SourcePath| path.state == PathState::Up && path.end.node.is_none();
        self.paths.iter().filter(|(_, path)| stands(path)).map(|(number, _)| *number).collect()
    }

    /// The number of paths through this node or to it.
    pub fn transit_count(&self) -> usize {
        self.transits.len()
    }

    /// The number of refused set-ups since the start, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (SetupRefusal, u64)> {
        self.refusals.counts()
    }

    pub fn tick(&mut self, now: u64) -> Vec<EngineAction> {
        self.replays.expire(now);
        let late = self.transits.iter().filter(|(_, it)| it.expires <= now);
        let late: Vec<_> = late.map(|(key, _)| *key).collect();
        let mut actions: Vec<_> =
            late.into_iter().flat_map(|key| self.abort(key, Reason::Silent)).collect();
        let is_strange = |transit: &Transit| {
            let is_unknown = transit.local_end().is_some_and(|(_, it)| it.node.is_none());
            is_unknown && transit.since + AUTHENTICATION_TIMEOUT <= now
        };
        let strange = self.transits.iter().filter(|(_, it)| is_strange(it));
        let strange: Vec<_> = strange.map(|(key, _)| *key).collect();
        actions.extend(strange.into_iter().flat_map(|key| self.remove_transit(key)));
        actions.extend(self.expire_pending(now));
        actions.extend(self.refresh(now));
        actions
    }
}
