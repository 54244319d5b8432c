//! Paths that begin here.

use super::end::PathEnd;
use super::kept;
use super::rate;
use super::relay::id;
use super::{Engine, EngineAction, LinkNumber, PathNumber, Rng, TIMEOUT};
use crate::control::{Id, LinkMessage};
use crate::exchange;
use crate::label::Label;
use crate::onion::{
    HopChange, HopChanges, HopRecord, HopRole, InvalidHops, PathFailure, Pending, PlannedHop,
    SetUp, Terms, build,
};
use octet_node::address::NodeAddress;

/// For how long hops are asked to keep a path, in seconds, and after how many it is refreshed.
pub(super) const LIFETIME: u16 = 600;
const REFRESH: u64 = 200;

/// A path that is wanted: its hops in order, the last one being its end, each with its key for set-ups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedPath {
    /// At least one, the first of them a neighbour.
    pub hops: Vec<(NodeAddress, [u8; 32])>,
    /// How much it is to carry at most each way, in kbit/s; 0 is no bound.
    pub rate: u32,
}

/// A path cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// Its first hop is no neighbour.
    #[error("its first hop is no neighbour of this node")]
    NoNeighbour,
    /// Its hops are no path.
    #[error(transparent)]
    Hops(#[from] InvalidHops),
    /// There are too many paths.
    #[error("too many paths begin and end here")]
    TooMany,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathState {
    Asked,
    Stands,
    Failed(PathFailure),
    /// The first one cannot read its part.
    Unreadable,
    /// The first one has not answered in time.
    Silent,
}

/// What the source has of the hops.
#[derive(Debug)]
pub enum SourceState {
    /// What it takes to read their answers.
    Asked(Box<Pending>),
    /// What it takes to change the path; and the label that the first one gave.
    Stands { changes: HopChanges, there: Label },
}

/// A path of this node's own.
#[derive(Debug)]
pub struct SourcePath {
    pub link: LinkNumber,
    /// Its hops, the last being its end.
    pub hops: Vec<NodeAddress>,
    pub state: PathState,
    /// What it has in common with its end.
    pub stretch: PathEnd,
    /// What the first hop calls it.
    pub id: Id,
    /// What comes back has this label.
    pub back: Label,
    /// What there is of the hops.
    pub way: SourceState,
    /// How much it is to carry at most each way, in kbit/s; 0 is no bound.
    pub rate: u32,
    /// What all hops have granted of that.
    pub granted: u32,
    /// Since when it stands, in seconds since 1970, if it does.
    pub since: u64,
    /// When it is given up, or refreshed.
    pub next: u64,
}

impl SourcePath {
    /// The label that the first hop has given for it, if it stands.
    pub fn label(&self) -> Option<Label> {
        match &self.way {
            SourceState::Asked(_) => None,
            SourceState::Stands { there, .. } => Some(*there),
        }
    }

    /// Whether its time is over.
    pub fn is_late(&self, now: u64) -> bool {
        self.state != PathState::Stands && self.next <= now
    }
}

impl Engine {
    pub fn ask(
        &mut self,
        asked: &RequestedPath,
        now: u64,
        chance: Rng<'_>,
    ) -> Result<(PathNumber, Vec<EngineAction>), NotAsked> {
        let hops: Vec<_> = asked.hops.iter().map(|(hop, _)| *hop).collect();
        let first = *hops.first().ok_or(InvalidHops::Length(0))?;
        let link = self.link_to(first).ok_or(NotAsked::NoNeighbour)?;
        // Its port may be another's by chance: a few tries do.
        let numbers = std::array::from_fn::<u32, 8, _>(|_| number(chance));
        let taken = numbers.into_iter().find_map(|it| Some((it, self.ends.take(it)?)));
        let (number, path) = taken.ok_or(NotAsked::TooMany)?;
        let secret = chance();
        let end = HopRole::End { inner_key: exchange::public(&secret), path: number };
        let roles = hops.iter().skip(1).map(|next| HopRole::Relay { next: *next }).chain([end]);
        let rate = rate::granted(asked.rate);
        let terms = Terms { issued: now, lifetime: LIFETIME, rate, flags: 0 };
        let hop = |((_, onion_key), role): (&(NodeAddress, [u8; 32]), HopRole)| PlannedHop {
            onion_key: *onion_key,
            record: HopRecord { terms, role },
        };
        let request: Vec<_> = asked.hops.iter().zip(roles).map(hop).collect();
        let (onion, pending) = match build(&request, chance()) {
            Ok(built) => built,
            Err(invalid) => {
                self.ends.give_back(path);
                return Err(invalid.into());
            }
        };
        let (id, back) = (id(chance), self.labels.take(chance));
        let stretch = PathEnd { number, is_source: true, secret, key: [0; 32], node: None };
        let (state, next) = (PathState::Asked, now + 2 * TIMEOUT);
        let way = SourceState::Asked(Box::new(pending));
        let (granted, since) = (0, now);
        let new =
            SourcePath { link, hops, state, stretch, id, back, way, rate, granted, since, next };
        self.paths.insert(path, new);
        let onion = Box::new(onion);
        let actions = vec![
            self.keep_last_number(),
            EngineAction::Let(link, back),
            EngineAction::Pop(back),
            EngineAction::Send(link, LinkMessage::SetUp { id, back, onion }),
        ];
        Ok((path, actions))
    }

    /// The first hop has answered for all.
    pub(super) fn own_answered(
        &mut self,
        (link, id): (LinkNumber, Id),
        there: Option<Label>,
        onion: &SetUp,
        now: u64,
    ) -> Vec<EngineAction> {
        let found = self.paths.iter_mut().find(|(_, it)| (it.link, it.id) == (link, id));
        let Some((number, path)) = found.filter(|(_, it)| it.state == PathState::Asked) else {
            return vec![];
        };
        let number = *number;
        let SourceState::Asked(pending) = &path.way else { return vec![] };
        let granted = match pending.finish(onion) {
            Ok(granted) => granted,
            Err(why) => {
                path.state = PathState::Failed(why);
                return vec![];
            }
        };
        // All have granted it, and yet the first one gives no label, or one that is another path's.
        let Some(with) = there.filter(|label| self.given.insert((link, *label))) else {
            path.state = PathState::Failed(PathFailure::Broken(0));
            return vec![];
        };
        path.stretch.key = granted.inner_key;
        path.granted = rate::least(&granted.hops);
        path.state = PathState::Stands;
        path.way = SourceState::Stands { changes: pending.changes(), there: with };
        (path.since, path.next) = (now, now + REFRESH);
        let (between, ttl) = (path.stretch.outer(), path.stretch.ttl());
        let end = EngineAction::End(number, path.stretch.clone());
        let keep = keep(number, path);
        vec![
            keep,
            end,
            EngineAction::Push { between, with, ttl, by: link },
            EngineAction::Introduce(number),
        ]
    }

    /// The paths that begin here.
    pub fn paths(&self) -> impl Iterator<Item = (PathNumber, &SourcePath)> {
        self.paths.iter().map(|(number, path)| (*number, path))
    }

    /// Ends a path of this node's own: its hops are told.
    pub fn drop_path(&mut self, number: PathNumber) -> Vec<EngineAction> {
        let Some(path) = self.paths.get_mut(&number) else { return vec![] };
        let mut actions = vec![];
        if let SourceState::Stands { changes, .. } = &mut path.way {
            let sealed = Box::new(changes.change(HopChange::TearDown));
            actions
                .push(EngineAction::Send(path.link, LinkMessage::Change { id: path.id, sealed }));
        }
        actions.extend(self.remove_path(number));
        actions
    }

    /// Has the hops keep the paths whose time has come.
    pub(super) fn refresh(&mut self, now: u64) -> Vec<EngineAction> {
        let mut actions = vec![];
        for (number, path) in self.paths.iter_mut().filter(|(_, path)| path.next <= now) {
            let refreshed = path.refreshed();
            let SourceState::Stands { changes, .. } = &mut path.way else { continue };
            path.next = now + REFRESH;
            let sealed = Box::new(changes.change(refreshed));
            // The counter is never to be used twice.
            actions.push(keep(*number, path));
            actions
                .push(EngineAction::Send(path.link, LinkMessage::Change { id: path.id, sealed }));
        }
        actions
    }

    /// Time is up for paths that do not stand: one that was asked for has failed, and whoever wants to know why can see
    /// that for a while; then it is forgotten.
    pub(super) fn time_out(&mut self, now: u64) -> Vec<EngineAction> {
        let late = self.paths.iter_mut().filter(|(_, it)| it.is_late(now));
        let mut forgotten = vec![];
        for (number, path) in late {
            match path.state {
                PathState::Asked => (path.state, path.next) = (PathState::Silent, now + TIMEOUT),
                _ => forgotten.push(*number),
            }
        }
        forgotten.into_iter().flat_map(|number| self.remove_path(number)).collect()
    }

    /// The first hop cannot read its part.
    pub(super) fn own_unreadable(&mut self, (link, id): (LinkNumber, Id)) -> Vec<EngineAction> {
        let found = self.paths.values_mut().find(|it| (it.link, it.id) == (link, id));
        if let Some(path) = found.filter(|it| it.state == PathState::Asked) {
            path.state = PathState::Unreadable;
        }
        vec![]
    }

    /// Nothing goes that way any more.
    pub(super) fn remove_path(&mut self, number: PathNumber) -> Vec<EngineAction> {
        let Some(path) = self.paths.remove(&number) else { return vec![] };
        self.labels.give_back(path.back);
        self.ends.give_back(number);
        let mut actions = vec![EngineAction::Forget(kept::path_name(number))];
        actions.extend(self.path_carried(&path).map(EngineAction::Ended));
        actions.push(EngineAction::Forbid(path.link, path.back));
        actions.push(EngineAction::NoEnd(number, path.stretch.outer()));
        if let SourceState::Stands { there, .. } = path.way {
            actions.push(self.uncount(path.link, there));
        }
        actions
    }
}

/// Has a path kept as it is now, or forgotten if it does not stand.
pub(super) fn keep(number: PathNumber, path: &SourcePath) -> EngineAction {
    let name = kept::path_name(number);
    match kept::path(path) {
        Some(bytes) => EngineAction::Keep(name, bytes),
        None => EngineAction::Forget(name),
    }
}

fn number(chance: Rng<'_>) -> u32 {
    let bytes = chance();
    bytes.first_chunk().copied().map_or(0, u32::from_be_bytes)
}
