//! The routes of this node, and the paths that they use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use octet_node::address::NodeAddress;
use octet_node::say;

use super::{PROBE_INTERVAL, Waiting};
use crate::desired::Desired;
use crate::engine::{Engine, PathNumber, PathState, SourcePath};
use crate::graph::PathConstraints;
use crate::probe::Probes;
use crate::routes::PathHealth;
use crate::state_folder::StateFolder;
use crate::verbs::TIMEOUT;

/// How long the relays of a failed path are avoided if there are alternatives. Announcements eventually show
/// which relay is gone, and an unanswered set-up takes 20 seconds.
const FAILED_RELAY_TIMEOUT: Duration = Duration::from_secs(30);

/// The name of a persisted route.
fn name(node: NodeAddress) -> String {
    format!("r-{:032x}", node.ip().to_bits())
}

#[derive(Default)]
pub(super) struct Routes {
    /// The routes, and the requests that wait for one.
    pub desired: Desired<Waiting>,
    /// When the use of routes was last checked.
    pub usage_checked: Option<Instant>,
    /// The path that packets to each node take.
    pub active_paths: BTreeMap<Ipv6Addr, PathNumber>,
    /// The probes of the paths that begin here.
    pub probes: BTreeMap<PathNumber, Probes>,
    /// When these paths were requested.
    pub requested_at: BTreeMap<PathNumber, Instant>,
    /// Relays of failed paths, with the time of the last failure.
    failed: BTreeMap<NodeAddress, Instant>,
}

impl Routes {
    /// Whether packets to a node take this path.
    pub fn is_active(&self, number: PathNumber) -> bool {
        self.active_paths.values().any(|used| *used == number)
    }

    /// Whether the other end of a path has stopped answering probes.
    pub fn is_silent(&self, number: PathNumber) -> bool {
        self.probes.get(&number).is_some_and(|it| it.is_silent(PROBE_INTERVAL))
    }

    pub fn health(&self, number: PathNumber, engine: &Engine, now: Instant) -> PathHealth {
        let Some(path) = engine.path(number) else { return PathHealth::Dead };
        let silent = self.is_silent(number);
        match path.state {
            PathState::Pending => PathHealth::Pending,
            PathState::Up if path.end.node.is_none() => {
                let since = self.requested_at.get(&number).copied().unwrap_or(now);
                let late = now.saturating_duration_since(since) >= TIMEOUT;
                if late { PathHealth::Dead } else { PathHealth::Pending }
            }
            PathState::Up if !silent => {
                let relays = path.hops.split_last().map_or(vec![], |(_, relays)| relays.to_vec());
                PathHealth::Alive(relays)
            }
            _ => PathHealth::Dead,
        }
    }

    /// The path that packets to a node take, or one that is being set up.
    pub fn path_to(&self, to: NodeAddress, engine: &Engine) -> Option<PathNumber> {
        let is_there = |path: &PathNumber| engine.path(*path).is_some();
        let entry = self.desired.routes.get(&to);
        let of_way = entry.and_then(|entry| entry.route.paths().find(is_there));
        let leads = |(_, path): &(PathNumber, &SourcePath)| {
            path.hops.last() == Some(&to) && !path.source.is_private()
        };
        of_way.or_else(|| engine.paths().find(leads).map(|(number, _)| number))
    }

    /// The constraints of another path for a route: those of the route, without these relays.
    pub fn alternative_to(
        &self,
        to: NodeAddress,
        relays: BTreeSet<NodeAddress>,
        engine: &Engine,
    ) -> PathConstraints {
        let Some(entry) = self.desired.routes.get(&to) else { return PathConstraints::default() };
        let mut limits = entry.spec.limits.clone();
        limits.avoid.extend(relays);
        // A direct link has no relay to avoid, so the link itself is avoided.
        let active = entry.route.active().and_then(|it| engine.path(it));
        let is_direct = active.is_some_and(|it| it.hops.len() == 1);
        limits.relays = limits.relays.max(usize::from(is_direct));
        limits
    }

    /// The same constraints without relays that have just failed, which may still be announced.
    pub fn avoiding_failed(&mut self, limits: &PathConstraints, now: Instant) -> PathConstraints {
        self.failed.retain(|_, at| now.saturating_duration_since(*at) < FAILED_RELAY_TIMEOUT);
        let mut doubtful = limits.clone();
        doubtful.avoid.extend(self.failed.keys());
        doubtful
    }

    /// Remembers the relays of a path that has failed.
    pub fn remember_failed(&mut self, relays: Vec<NodeAddress>) {
        self.failed.extend(relays.into_iter().map(|relay| (relay, Instant::now())));
    }

    /// Forgets a path of this node that has ended.
    pub fn forget(&mut self, number: PathNumber) {
        self.probes.remove(&number);
        self.requested_at.remove(&number);
        self.active_paths.retain(|_, path| *path != number);
    }

    /// Persists a route for the next daemon.
    pub fn persist(&self, node: NodeAddress, state: &StateFolder) {
        let saved = match self.desired.routes.get(&node) {
            None => state.erase(&name(node)),
            Some(entry) => state.persist(&name(node), &entry.to_bytes()),
        };
        if let Err(error) = saved {
            say!("{error}");
        }
    }
}
