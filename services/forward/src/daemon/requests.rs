//! The verbs that add, show and drop routes.

use data_encoding::BASE64;
use octet_node::address::NodeAddress;
use octet_node::control::{Failure, FailureCode};
use serde_json::{Value, json};

use super::answer::{no_path, unknown_path};
use super::{Daemon, Waiting};
use crate::constraints::{self, PathRequest};
use crate::desired::{PendingPath, Spec};
use crate::engine::{PathEnd, PathNumber, SourcePath};
use crate::exchange;
use crate::graph::HOPS;
use crate::status::{RouteStatus, SetupPhase};
use crate::verbs::PathTarget;

/// The failure if `of`, a path or a route, is not up.
fn not_up(of: &str, status: &RouteStatus) -> Failure {
    let how = if status.phase == SetupPhase::Pending { "is being set up" } else { "has failed" };
    let reason = status.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    let help =
        "wait until `forward paths` shows it as up, or ask for others with `path-add --replace`";
    Failure::new(FailureCode::Failed, format!("{of} {how}{reason}"), help)
}

/// The failure if the node already has a route.
fn occupied(node: &str, status: &RouteStatus) -> Failure {
    let help =
        format!("replace it with `path-add --replace`, or remove it with `drop --to {node}`");
    Failure::new(FailureCode::Failed, format!("{node} already has a route ({status})"), help)
}

/// The WireGuard public keys of a path, local and remote, as `wg` prints them.
fn keys(path_end: &PathEnd) -> [String; 2] {
    [exchange::public(&path_end.secret), path_end.key].map(|key| BASE64.encode(&key))
}

impl Daemon {
    pub(super) fn paths_json(&self) -> Value {
        let called = |node: &NodeAddress| self.display_name(*node);
        let names = |nodes: &[NodeAddress]| nodes.iter().map(called).collect::<Vec<_>>().join(", ");
        let path = |(number, path): (PathNumber, &SourcePath)| {
            let status = self.status_of(number);
            json!({
                "path": number.0,
                "to": path.hops.last().map(called),
                "via": path.hops.split_last().map(|(_, via)| names(via)),
                "state": status.phase.name(),
                "reason": status.reason,
                "active": path.end.node.is_some_and(|it| self.routes.active_paths.get(&it) == Some(&number)),
                "mtu": path.end.node.map(|_| self.path_ends.mtu_of(number)),
                "kilobits": self.engine.rate(number),
                "keys": keys(&path.end),
                "from": self.path_ends.private.get(&number).map(|private| private.own),
            })
        };
        let none = Value::Null;
        let is_there = |path| self.engine.path(path).is_some();
        let without = self
            .routes
            .desired
            .routes
            .iter()
            .filter(|(_, entry)| !entry.route.paths().any(is_there));
        let routes = without.map(|(to, entry)| {
            let status = entry.status_without_path();
            json!({
                "path": none,
                "to": called(to),
                "via": names(&entry.spec.via),
                "state": status.phase.name(),
                "reason": status.reason,
                "active": false,
                "mtu": none,
                "kilobits": none,
                "keys": none,
                "from": none,
            })
        });
        self.engine.paths().map(path).chain(routes).collect()
    }

    /// Requests a path, and returns its number; the requester is answered when it is up.
    pub(super) async fn add(
        &mut self,
        request: &PathRequest,
        requester: Waiting,
    ) -> Option<PathNumber> {
        let (number, to, spec) = match self.request_first_path(request).await {
            Ok(asked) => asked,
            Err(failure) => {
                let _ = requester.answer.send(Err(failure));
                return None;
            }
        };
        let (is_private, replaces) = (request.private, request.replace);
        let is_independent = request.alone || is_private;
        let request = PendingPath { to, spec, is_independent, replaces, is_private, requester };
        if let Some((before, request)) = self.routes.desired.request(number, request) {
            self.end_path(before).await;
            let help = "`forward paths` shows the one that was asked for instead";
            let message = "another `path-add --replace` has taken its place";
            let replaced = Failure::new(FailureCode::Failed, message, help);
            let _ = request.requester.answer.send(Err(replaced));
        }
        Some(number)
    }

    /// Requests the first path to a node. Returns the node and the constraints of its paths.
    async fn request_first_path(
        &mut self,
        request: &PathRequest,
    ) -> Result<(PathNumber, NodeAddress, Spec), Failure> {
        let to = self.resolve_node(&request.to)?;
        if !request.alone
            && !request.private
            && !request.replace
            && let Some(status) = self.route_status(to)
        {
            return Err(occupied(&self.display_name(to), &status));
        }
        let via = request.via.as_deref().unwrap_or_default();
        let between = via.split(',').map(str::trim).filter(|it| !it.is_empty());
        let between: Vec<_> =
            between.map(|hop| self.resolve_node(hop)).collect::<Result<_, _>>()?;
        let mut limits = constraints::parse(request, to, |node| self.resolve_node(node))?;
        let hops = if between.is_empty() && request.private {
            self.find_private_hops(to, &limits).map_err(|why| no_path(&why))?
        } else if between.is_empty() {
            self.find_hops(to, &limits).map_err(|why| no_path(&why))?
        } else {
            // Later paths have at least as many relays as the requested one.
            limits.relays = between.len().min(HOPS - 1);
            between.iter().copied().chain([to]).collect()
        };
        let mut asked = self.with_keys(&hops, request.rate).map_err(|why| no_path(&why))?;
        if request.private {
            asked.source = self.private_source().map_err(|why| no_path(&why))?;
        }
        let number = self.request_path(&asked).await.map_err(|why| no_path(&why))?;
        Ok((number, to, Spec { via: between, limits, rate: request.rate }))
    }

    /// The state of the explicitly requested route to a node, if there is one.
    fn route_status(&self, to: NodeAddress) -> Option<RouteStatus> {
        Some(match self.routes.desired.requested(to)? {
            Ok(request) => self.status_of(request),
            Err(entry) => match entry.route.paths().next() {
                Some(path) => self.status_of(path),
                None => entry.status_without_path(),
            },
        })
    }

    /// The path to ping. A path that was up and whose end is silent can be pinged, too.
    pub(super) fn ping_path(&self, target: &PathTarget) -> Result<PathNumber, Failure> {
        let number = match target {
            PathTarget::Path(number) => *number,
            PathTarget::To(node) => {
                let to = self.resolve_node(node)?;
                match self.routes.path_to(to, &self.engine) {
                    Some(number) => number,
                    None => return Err(self.no_path_failure(to)),
                }
            }
        };
        match self.engine.path(number) {
            Some(path) if path.end.node.is_some() => Ok(number),
            Some(_) => Err(not_up(&format!("path {number}"), &self.status_of(number))),
            // The number may be that of a path that ends here.
            None if self.path_ends.address(number, &self.engine).is_some() => Ok(number),
            None => Err(unknown_path(number)),
        }
    }

    /// The failure if no path leads to a node.
    fn no_path_failure(&self, to: NodeAddress) -> Failure {
        let of = format!("the route to {}", self.display_name(to));
        let entry = self.routes.desired.routes.get(&to);
        entry.map_or_else(|| self.no_route(to), |entry| not_up(&of, &entry.status_without_path()))
    }

    fn no_route(&self, to: NodeAddress) -> Failure {
        let message = format!("there is no route to {}", self.display_name(to));
        Failure::new(FailureCode::NotFound, message, "`forward paths` lists those that there are")
    }

    /// Drops a path, and the route that it belongs to.
    pub(super) async fn drop_path(&mut self, number: PathNumber) -> Result<Value, Failure> {
        let to = self.engine.destination(number).ok_or_else(|| unknown_path(number))?;
        let dropped = match self.routes.desired.route_of(number) {
            Some(node) => self.end_route(node).await,
            None => {
                self.end_request(number).await;
                vec![number]
            }
        };
        Ok(self.dropped_json(to, dropped))
    }

    /// Drops the route to a node and every path that leads there.
    pub(super) async fn drop_to(&mut self, node: &str) -> Result<Value, Failure> {
        let to = self.resolve_node(node)?;
        let is_wanted = self.routes.desired.routes.contains_key(&to);
        let mut dropped = self.end_route(to).await;
        let others = self.engine.paths().filter(|(_, path)| path.hops.last() == Some(&to));
        for number in others.map(|(number, _)| number).collect::<Vec<_>>() {
            self.end_request(number).await;
            dropped.push(number);
        }
        if !is_wanted && dropped.is_empty() {
            return Err(self.no_route(to));
        }
        Ok(self.dropped_json(to, dropped))
    }

    /// Cancels a path that belongs to no route, and answers its requester.
    pub(super) async fn end_request(&mut self, number: PathNumber) {
        self.end_path(number).await;
        if let Some(request) = self.routes.desired.cancel(number) {
            let message = "the path was dropped while it was set up";
            let dropped = Failure::new(FailureCode::Failed, message, "ask for it once more");
            let _ = request.requester.answer.send(Err(dropped));
        }
    }

    fn dropped_json(&self, to: NodeAddress, paths: Vec<PathNumber>) -> Value {
        let paths: Vec<_> = paths.into_iter().map(|path| path.0).collect();
        json!({ "to": self.display_name(to), "paths": paths })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refusals name the state of the route and what to do.
    #[test]
    fn a_refusal_says_how_the_route_is() {
        let failed = RouteStatus::failed("the link to board-2 is down");
        let refused = occupied("board-4", &failed);
        let message = "board-4 already has a route (failed: the link to board-2 is down)";
        assert_eq!(refused.message, message);
        assert!(refused.help.contains("`path-add --replace`"), "{refused:?}");
        assert!(refused.help.contains("`drop --to board-4`"), "{refused:?}");

        let message = |of: &str, status: &RouteStatus| not_up(of, status).message;
        let expected = "the route to board-4 has failed: the link to board-2 is down";
        assert_eq!(message("the route to board-4", &failed), expected);
        let mut pending = RouteStatus { phase: SetupPhase::Pending, reason: None };
        assert_eq!(message("path 7", &pending), "path 7 is being set up");
        pending.reason = Some("board-4 has not answered yet".to_owned());
        let expected = "path 7 is being set up: board-4 has not answered yet";
        assert_eq!(message("path 7", &pending), expected);
    }
}
