//! Paths that begin here.

use super::end::PathEnd;
use super::installed::{difference, install, remove};
use super::persisted;
use super::rate;
use super::relay::random_id;
use super::{Engine, EngineAction, LinkNumber, PathNumber, Rng, TIMEOUT};
use crate::control::{Id, LinkMessage};
use crate::exchange;
use crate::label::Label;
use crate::onion::{
    HopChange, HopChanges, HopRecord, HopRole, InvalidHops, PathFailure, Pending, PlannedHop,
    SetUp, Terms, build,
};
use octet_node::address::NodeAddress;
use octet_node::sub_key::Certified;

/// The requested lifetime in seconds, and the interval of refreshes.
pub(super) const LIFETIME: u16 = 600;
const REFRESH: u64 = 200;

/// Who the source of a path is for the node at its end.
#[derive(Debug, Clone)]
pub enum ShownSource {
    /// This node.
    Node,
    /// A key for this path alone: the path is private.
    ThrowAway(Box<Certified>),
    /// The path is private, and its key is gone with a previous daemon.
    Lost,
}

impl ShownSource {
    pub fn is_private(&self) -> bool {
        !matches!(self, Self::Node)
    }
}

/// A path to request: its hops in order, the last one being the end, each with its onion key.
#[derive(Debug, Clone)]
pub struct RequestedPath {
    /// At least one hop; the first is a neighbour.
    pub hops: Vec<(NodeAddress, [u8; 32])>,
    /// The rate limit in each direction, in kbit/s; 0 means unlimited.
    pub rate: u32,
    pub source: ShownSource,
}

/// Why a path cannot be requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// The first hop is not a neighbour.
    #[error("its first hop is no neighbour of this node")]
    NoNeighbour,
    /// The hops form no valid path.
    #[error(transparent)]
    Hops(#[from] InvalidHops),
    #[error("too many paths begin and end here")]
    TooMany,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathState {
    Pending,
    Up,
    Failed(PathFailure),
    /// The first hop cannot decrypt its slot.
    Unreadable,
    /// The first hop has not answered in time.
    Silent,
}

/// The state of the path at its hops.
#[derive(Debug)]
pub enum SourceState {
    /// Pending: the keys for the answers.
    Pending(Box<Pending>),
    /// Established: the keys for changes, and the first hop's label.
    Up { changes: HopChanges, out_label: Label },
}

/// A path of this node.
#[derive(Debug)]
pub struct SourcePath {
    pub source: ShownSource,
    pub link: LinkNumber,
    /// The hops, the last being the end.
    pub hops: Vec<NodeAddress>,
    pub state: PathState,
    /// The parameters that this end shares with the other end.
    pub end: PathEnd,
    /// The path's identifier on the first link.
    pub id: Id,
    /// The label of received packets.
    pub reverse_label: Label,
    pub setup: SourceState,
    /// The requested rate limit in each direction, in kbit/s; 0 means unlimited.
    pub rate: u32,
    /// The rate that all hops have granted.
    pub granted_rate: u32,
    /// When the path came up, in seconds since 1970; 0 if it is pending.
    pub since: u64,
    /// When the path times out, or is refreshed.
    pub deadline: u64,
}

impl SourcePath {
    /// The first hop's label, if the path is up.
    pub fn label(&self) -> Option<Label> {
        match &self.setup {
            SourceState::Pending(_) => None,
            SourceState::Up { out_label, .. } => Some(*out_label),
        }
    }

    /// Whether the path's deadline has passed.
    pub fn is_overdue(&self, now: u64) -> bool {
        self.state != PathState::Up && self.deadline <= now
    }
}

impl Engine {
    pub fn request_path(
        &mut self,
        requested: &RequestedPath,
        now: u64,
        rng: Rng<'_>,
    ) -> Result<(PathNumber, Vec<EngineAction>), NotAsked> {
        let hops: Vec<_> = requested.hops.iter().map(|(hop, _)| *hop).collect();
        let first = *hops.first().ok_or(InvalidHops::Length(0))?;
        let link = self.link_to(first).ok_or(NotAsked::NoNeighbour)?;
        // The port may be in use by chance; a few tries suffice.
        let numbers = std::array::from_fn::<u32, 8, _>(|_| random_number(rng));
        let taken = numbers.into_iter().find_map(|it| Some((it, self.end_numbers.allocate(it)?)));
        let (number, path) = taken.ok_or(NotAsked::TooMany)?;
        let secret = rng();
        let end = HopRole::End { inner_key: exchange::public(&secret), path: number };
        let roles =
            hops.iter().skip(1).map(|deadline| HopRole::Relay { next: *deadline }).chain([end]);
        let rate = rate::grant(requested.rate);
        let terms = Terms { issued: now, lifetime: LIFETIME, rate, flags: 0 };
        let hop = |((_, onion_key), role): (&(NodeAddress, [u8; 32]), HopRole)| PlannedHop {
            onion_key: *onion_key,
            record: HopRecord { terms, role },
        };
        let request: Vec<_> = requested.hops.iter().zip(roles).map(hop).collect();
        let (onion, pending) = match build(&request, rng()) {
            Ok(built) => built,
            Err(invalid) => {
                self.end_numbers.free(path);
                return Err(invalid.into());
            }
        };
        let (id, reverse_label) = (random_id(rng), self.labels.allocate(rng));
        let end = PathEnd { number, is_source: true, secret, key: [0; 32], node: None };
        let (state, deadline) = (PathState::Pending, now + 2 * TIMEOUT);
        let setup = SourceState::Pending(Box::new(pending));
        let (granted_rate, since) = (0, now);
        let source = requested.source.clone();
        let new = SourcePath {
            source,
            link,
            hops,
            state,
            end,
            id,
            reverse_label,
            setup,
            rate,
            granted_rate,
            since,
            deadline,
        };
        let installed = install(new.installed(path));
        self.paths.insert(path, new);
        let onion = Box::new(onion);
        let mut actions = vec![self.persist_last_number()];
        actions.extend(installed);
        actions.push(EngineAction::Send(link, LinkMessage::SetUp { id, reverse_label, onion }));
        Ok((path, actions))
    }

    /// Handles the first hop's answer, which carries those of all hops.
    pub(super) fn handle_own_answer(
        &mut self,
        (link, id): (LinkNumber, Id),
        next_label: Option<Label>,
        onion: &SetUp,
        now: u64,
    ) -> Vec<EngineAction> {
        let found = self.paths.iter_mut().find(|(_, it)| (it.link, it.id) == (link, id));
        let Some((number, path)) = found.filter(|(_, it)| it.state == PathState::Pending) else {
            return vec![];
        };
        let number = *number;
        let SourceState::Pending(pending) = &path.setup else { return vec![] };
        let granted = match pending.finish(onion) {
            Ok(granted) => granted,
            Err(why) => {
                path.state = PathState::Failed(why);
                return vec![];
            }
        };
        // All hops have accepted, but the first hop's label is missing or in use.
        let Some(with) = next_label.filter(|label| self.used_labels.insert((link, *label))) else {
            path.state = PathState::Failed(PathFailure::Broken(0));
            return vec![];
        };
        let before = path.installed(number);
        path.end.key = granted.inner_key;
        path.granted_rate = rate::min_rate(&granted.hops);
        path.state = PathState::Up;
        path.setup = SourceState::Up { changes: pending.changes(), out_label: with };
        (path.since, path.deadline) = (now, now + REFRESH);
        let mut actions = vec![persist(number, path)];
        actions.extend(difference(before, path.installed(number)));
        actions.push(EngineAction::Introduce(number));
        actions
    }

    pub fn paths(&self) -> impl Iterator<Item = (PathNumber, &SourcePath)> {
        self.paths.iter().map(|(number, path)| (*number, path))
    }

    /// Whether a path begins here and shows its end another key than this node's.
    pub fn is_private(&self, number: PathNumber) -> bool {
        self.paths.get(&number).is_some_and(|path| path.source.is_private())
    }

    /// Whom this node introduces itself as on a path: as `node`, which is itself, unless the path is private.
    pub fn shown_as<'a>(
        &'a self,
        number: PathNumber,
        node: Option<&'a Certified>,
    ) -> Option<&'a Certified> {
        match self.paths.get(&number).map(|path| &path.source) {
            None | Some(ShownSource::Node) => node,
            Some(ShownSource::ThrowAway(own)) => Some(own),
            Some(ShownSource::Lost) => None,
        }
    }

    /// Ends the private paths of a previous daemon, whose keys are gone, and notifies their hops.
    pub fn drop_lost(&mut self) -> Vec<EngineAction> {
        let is_lost = |path: &SourcePath| matches!(path.source, ShownSource::Lost);
        let lost = self.paths.iter().filter(|(_, path)| is_lost(path));
        let lost: Vec<_> = lost.map(|(number, _)| *number).collect();
        lost.into_iter().flat_map(|number| self.drop_path(number)).collect()
    }

    /// Ends a path of this node and notifies its hops.
    pub fn drop_path(&mut self, number: PathNumber) -> Vec<EngineAction> {
        let Some(path) = self.paths.get_mut(&number) else { return vec![] };
        let mut actions = vec![];
        if let SourceState::Up { changes, .. } = &mut path.setup {
            let sealed = Box::new(changes.change(HopChange::TearDown));
            actions
                .push(EngineAction::Send(path.link, LinkMessage::Change { id: path.id, sealed }));
        }
        actions.extend(self.remove_path(number));
        actions
    }

    /// Refreshes the paths that are due.
    pub(super) fn refresh(&mut self, now: u64) -> Vec<EngineAction> {
        let mut actions = vec![];
        for (number, path) in self.paths.iter_mut().filter(|(_, path)| path.deadline <= now) {
            let refreshed = path.refresh_change();
            let SourceState::Up { changes, .. } = &mut path.setup else { continue };
            path.deadline = now + REFRESH;
            let sealed = Box::new(changes.change(refreshed));
            // A counter must never be reused.
            actions.push(persist(*number, path));
            actions
                .push(EngineAction::Send(path.link, LinkMessage::Change { id: path.id, sealed }));
        }
        actions
    }

    /// Times out pending paths. A failed path is kept for a while, so that the reason can be read, and then
    /// forgotten.
    pub(super) fn expire_pending(&mut self, now: u64) -> Vec<EngineAction> {
        let late = self.paths.iter_mut().filter(|(_, it)| it.is_overdue(now));
        let mut forgotten = vec![];
        for (number, path) in late {
            match path.state {
                PathState::Pending => {
                    (path.state, path.deadline) = (PathState::Silent, now + TIMEOUT);
                }
                _ => forgotten.push(*number),
            }
        }
        forgotten.into_iter().flat_map(|number| self.remove_path(number)).collect()
    }

    /// The first hop cannot decrypt its slot.
    pub(super) fn handle_own_unreadable(
        &mut self,
        (link, id): (LinkNumber, Id),
    ) -> Vec<EngineAction> {
        let found = self.paths.values_mut().find(|it| (it.link, it.id) == (link, id));
        if let Some(path) = found.filter(|it| it.state == PathState::Pending) {
            path.state = PathState::Unreadable;
        }
        vec![]
    }

    /// Removes a path of this node.
    pub(super) fn remove_path(&mut self, number: PathNumber) -> Vec<EngineAction> {
        let Some(path) = self.paths.remove(&number) else { return vec![] };
        self.labels.free(path.reverse_label);
        self.end_numbers.free(number);
        let mut actions = vec![EngineAction::Forget(persisted::path_name(number, &path.source))];
        actions.extend(self.source_counters(&path).map(EngineAction::Ended));
        actions.extend(remove(path.installed(number)));
        if let SourceState::Up { out_label, .. } = path.setup {
            self.used_labels.remove(&(path.link, out_label));
        }
        actions
    }
}

/// Persists an established path; forgets a pending one.
pub(super) fn persist(number: PathNumber, path: &SourcePath) -> EngineAction {
    let name = persisted::path_name(number, &path.source);
    match persisted::encode_path(path) {
        Some(bytes) => EngineAction::Keep(name, bytes),
        None => EngineAction::Forget(name),
    }
}

fn random_number(rng: Rng<'_>) -> u32 {
    let bytes = rng();
    bytes.first_chunk().copied().map_or(0, u32::from_be_bytes)
}
