//! Private paths of this node.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use octet_node::address::NodeAddress;
use octet_node::control::Failure;
use octet_node::say;
use serde_json::{Value, json};

use super::answer::unknown_path;
use super::{Daemon, Waiting, random_bytes, seconds};
use crate::constraints::PathRequest;
use crate::engine::{PathNumber, ShownSource};
use crate::graph::{Graph, PATHS, PathConstraints};
use crate::private_source::{self, MAX};

/// How long a path of another unit is kept that this unit does not renew: it may have been killed. A set-up is over
/// before that.
const LEASE: Duration = Duration::from_secs(60);

/// The private paths of other units, and when they were last renewed.
#[derive(Debug, Default)]
pub(super) struct PrivateLeases(HashMap<PathNumber, Instant>);

impl PrivateLeases {
    fn begin(&mut self, path: PathNumber, now: Instant) {
        self.0.insert(path, now);
    }

    /// Returns whether there is such a path.
    fn renew(&mut self, path: PathNumber, now: Instant) -> bool {
        self.0.get_mut(&path).map(|at| *at = now).is_some()
    }

    fn end(&mut self, path: PathNumber) -> bool {
        self.0.remove(&path).is_some()
    }

    /// Takes those that were not renewed in time.
    fn expire(&mut self, now: Instant) -> Vec<PathNumber> {
        let is_late =
            |_: &PathNumber, at: &mut Instant| now.saturating_duration_since(*at) >= LEASE;
        self.0.extract_if(is_late).map(|(path, _)| path).collect()
    }
}

impl Daemon {
    /// Sets up a private path for another unit.
    pub(super) async fn lend_path(&mut self, request: &PathRequest, requester: Waiting) {
        if let Some(path) = self.add(request, requester).await {
            self.private_leases.begin(path, Instant::now());
        }
    }

    pub(super) fn renew_path(&mut self, path: PathNumber) -> Result<Value, Failure> {
        if !self.engine.is_private(path) || !self.private_leases.renew(path, Instant::now()) {
            return Err(unknown_path(path));
        }
        Ok(json!({ "path": path.0 }))
    }

    pub(super) async fn return_path(&mut self, path: PathNumber) -> Result<Value, Failure> {
        if !self.private_leases.end(path) {
            return Err(unknown_path(path));
        }
        self.end_private(path).await;
        Ok(json!({ "path": path.0 }))
    }

    /// Ends the paths of units that do not renew them any more.
    pub(super) async fn end_unrenewed(&mut self, now: Instant) {
        for path in self.private_leases.expire(now) {
            if self.engine.is_private(path) {
                say!("the private path {path} ends: its unit does not renew it");
                self.end_private(path).await;
            }
        }
    }

    async fn end_private(&mut self, path: PathNumber) {
        // A path of this number may have ended by itself, and the number may be that of another one.
        if self.engine.is_private(path) {
            self.end_request(path).await;
        }
    }

    /// The source of another private path.
    pub(super) fn private_source(&self) -> Result<ShownSource, String> {
        let present = self.engine.paths().filter(|(_, path)| path.source.is_private()).count();
        if present >= MAX {
            return Err(format!("{MAX} private paths begin here already: drop one of them"));
        }
        let source = private_source::throw_away(seconds());
        let source = source.ok_or("the kernel provides no randomness")?;
        Ok(ShownSource::ThrowAway(Box::new(source)))
    }

    /// The hops of a private path to a node within constraints.
    pub(super) fn find_private_hops(
        &self,
        to: NodeAddress,
        limits: &PathConstraints,
    ) -> Result<Vec<NodeAddress>, String> {
        let (Some(topology), Some(node)) = (&self.announcements.topology, self.node()) else {
            return Err("this node has no certified key yet".to_owned());
        };
        let own = NodeAddress::of(&node);
        let members = self.map.iter().flat_map(|map| &map.members);
        let mut members: BTreeSet<_> =
            members.map(|member| NodeAddress::of(&member.node)).collect();
        members.insert(own);
        let graph = Graph::of(topology);
        let [random, ..] = random_bytes();
        let mut outside = limits.clone();
        outside.avoid.extend(&members);
        // Paths outside of the box are searched for first: the shortest ones may all end with its boards.
        let all = [&outside, limits].map(|limits| graph.paths(own, to, limits, PATHS));
        let mut chosen =
            all.into_iter().filter_map(|paths| private_source::choose(paths, &members, random));
        let least = limits.relays;
        chosen.next().ok_or_else(|| {
            let to = self.display_name(to);
            format!("no known path to {to} has {least} relays or more, the last of which is of another box unless {to} is of this one: name relays with `--via`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_as_long_as_it_is_renewed() {
        let (mut leases, start) = (PrivateLeases::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let [one, other] = [1, 2].map(PathNumber);
        assert!(!leases.renew(one, at(0)) && !leases.end(one));
        leases.begin(one, at(0));
        leases.begin(other, at(0));
        assert!(leases.renew(one, at(50)));
        assert_eq!(leases.expire(at(59)), []);
        assert_eq!(leases.expire(at(60)), [other]);
        assert!(!leases.renew(other, at(61)));
        assert_eq!(leases.expire(at(109)), []);
        assert!(leases.end(one) && !leases.end(one));
        assert_eq!(leases.expire(at(1000)), []);
    }
}
