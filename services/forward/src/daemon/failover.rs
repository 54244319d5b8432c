//! Routes: watches their paths, and fails over to the backup path.

use std::net::Ipv6Addr;
use std::time::Instant;

use octet_node::say;
use serde_json::json;

use super::{Daemon, random_bytes, seconds};
use crate::desired::DesiredRoute;
use crate::engine::{PathNumber, PathState, RequestedPath, ShownSource};
use crate::graph::{Graph, PathConstraints};
use crate::introduction::Inner;
use crate::routes::{PeerReport, RouteStep, select_path};
use crate::status::{PathStatus, RouteStatus, SetupPhase};
use octet_node::address::NodeAddress;

impl Daemon {
    /// Watches all paths of this node, and all routes.
    pub(super) async fn probe_routes(&mut self) {
        let now = Instant::now();
        let paths = self.routes.desired.routes.values().flat_map(|entry| entry.route.paths());
        let stands = |number: PathNumber| {
            let path = self.engine.path(number).filter(|path| path.state == PathState::Up)?;
            path.end.node.map(|_| number)
        };
        let standing: Vec<_> = paths.filter_map(stands).collect();
        for number in standing {
            let probe = self.routes.probes.entry(number).or_default().next(now);
            self.probe(number, probe.into()).await;
        }
        let nodes: Vec<_> = self.routes.desired.routes.keys().copied().collect();
        for node in nodes {
            let Some(entry) = self.routes.desired.routes.get_mut(&node) else { continue };
            let mut route = std::mem::take(&mut entry.route);
            let steps = route.step(seconds(), |path| self.routes.health(path, &self.engine, now));
            if let Some(entry) = self.routes.desired.routes.get_mut(&node) {
                entry.route = route;
            }
            for step in steps {
                self.apply_step(node, step).await;
            }
        }
    }

    /// Pings the other end of a path. The ping also says whether packets to it take this path.
    pub(super) async fn probe(&self, number: PathNumber, token: u64) {
        let said =
            if self.routes.is_active(number) { Inner::Use(token) } else { Inner::Ping(token) };
        if let Some(to) = self.path_ends.address(number, &self.engine) {
            self.path_ends.send(&said, to).await;
        }
    }

    /// The state of a path of this node; during set-up, why the previous path failed.
    pub(super) fn status_of(&self, number: PathNumber) -> RouteStatus {
        let Some(path) = self.engine.path(number) else {
            return RouteStatus::failed(
                "it ended with its first link, or with a restart of forward",
            );
        };
        let seen = PathStatus {
            state: &path.state,
            hops: &path.hops,
            is_introduced: path.end.node.is_some(),
            is_outdated: self.path_ends.outdated.contains(&number),
            is_silent: self.routes.is_silent(number),
            is_linked: self.links.open.get(&path.link).is_some_and(|it| it.is_up),
        };
        let mut status = seen.status(|node| self.display_name(node));
        if status == (RouteStatus { phase: SetupPhase::Pending, reason: None }) {
            let entry = self
                .routes
                .desired
                .route_of(number)
                .and_then(|node| self.routes.desired.routes.get(&node));
            let failure = entry.and_then(|entry| entry.failure.as_ref());
            status.reason = failure.map(|failure| format!("the one before has failed: {failure}"));
        }
        status
    }

    async fn apply_step(&mut self, node: NodeAddress, step: RouteStep) {
        match step {
            RouteStep::Request(avoid) => {
                let limits = self.routes.alternative_to(node, avoid, &self.engine);
                let rate = self.routes.desired.routes.get(&node).map_or(0, |entry| entry.spec.rate);
                let doubtful = self.routes.avoiding_failed(&limits, Instant::now());
                let hops = self.find_hops(node, &doubtful);
                let hops = hops.or_else(|_| self.find_hops(node, &limits));
                let path = match hops.and_then(|hops| self.with_keys(&hops, rate)) {
                    Ok(asked) => self.request_path(&asked).await,
                    Err(why) => Err(why),
                };
                if let Some(entry) = self.routes.desired.routes.get_mut(&node) {
                    entry.request_failure = path.as_ref().err().cloned();
                    entry.route.set_pending(path.ok(), seconds());
                }
            }
            RouteStep::Use(path) => {
                self.route_over(node.ip(), path).await;
                say!("packets to {node} take path {path} now: {}", self.hops(path));
            }
            RouteStep::Drop(path) => {
                let why = self.end_failed(node, path).await;
                if let Some(entry) = self.routes.desired.routes.get_mut(&node) {
                    entry.failure = Some(why);
                }
            }
        }
        self.routes.persist(node, &self.state);
    }

    /// Ends a failed path and remembers its relays. Logs the reason.
    pub(super) async fn end_failed(&mut self, node: NodeAddress, path: PathNumber) -> String {
        let silent = || format!("{} has not answered", self.display_name(node));
        let why = self.status_of(path).reason.unwrap_or_else(silent);
        say!("path {path} to {node} is given up: {why}");
        let hops = self.engine.path(path).and_then(|path| path.hops.split_last());
        let relays = hops.map_or(vec![], |(_, relays)| relays.to_vec());
        self.routes.remember_failed(relays);
        self.end_path(path).await;
        why
    }

    /// Switches packets to the due paths; a path that ended may have carried some.
    pub(super) async fn reroute_all(&mut self) {
        for node in self.routes.desired.routes.keys().copied().collect::<Vec<_>>() {
            self.reroute(node, None).await;
        }
    }

    /// Switches packets to the due path of a node, after its last report. If two nodes would wait for each
    /// other, the one with the lower address yields.
    pub(super) async fn reroute(&mut self, node: NodeAddress, report: Option<PeerReport>) {
        let own = |entry: &DesiredRoute| {
            entry.route.active().map(|path| (path, entry.last_use.is_none()))
        };
        let own = self.routes.desired.routes.get(&node).and_then(own);
        let used = self.routes.active_paths.get(&node.ip()).copied();
        let goes_back = self.node().is_some_and(|it| NodeAddress::of(&it).ip() < node.ip());
        match select_path(own, used, report, goes_back) {
            Some(due) if used != Some(due) => self.route_over(node.ip(), due).await,
            _ => {}
        }
    }

    /// Routes packets to a node over a path, of this node or one that ends here.
    pub(super) async fn route_over(&mut self, other: Ipv6Addr, path: PathNumber) {
        let Some(node) = self.node() else { return };
        let (own, mtu) = (NodeAddress::of(&node).ip(), self.path_ends.mtu_of(path));
        match self.kernel.route_node(&path.device(), own, other, mtu).await {
            Ok(()) => {
                self.routes.active_paths.insert(other, path);
                self.fit_tunnels(other).await;
            }
            Err(error) => say!("{error}"),
        }
    }

    /// A path's hops, for display.
    fn hops(&self, path: PathNumber) -> String {
        let hops = self.engine.path(path).map(|path| path.hops.clone()).unwrap_or_default();
        hops.iter().map(|hop| self.display_name(*hop)).collect::<Vec<_>>().join(", ")
    }

    /// The shortest hops to a node within constraints.
    pub(super) fn find_hops(
        &self,
        to: NodeAddress,
        limits: &PathConstraints,
    ) -> Result<Vec<NodeAddress>, String> {
        let (Some(topology), Some(node)) = (&self.announcements.topology, self.node()) else {
            return Err("this node has no certified key yet".to_owned());
        };
        let graph = Graph::of(topology);
        let first = |limits| graph.paths(NodeAddress::of(&node), to, limits, 1).pop();
        if let Some(path) = first(limits) {
            return Ok(path.hops);
        }
        let to = self.display_name(to);
        Err(match first(&PathConstraints::default()) {
            Some(_) => format!("no known path to {to} is as it was asked for"),
            None => format!("no known links lead to {to}"),
        })
    }

    /// A path request with this rate over these hops, with their onion keys.
    pub(super) fn with_keys(
        &self,
        hops: &[NodeAddress],
        rate: u32,
    ) -> Result<RequestedPath, String> {
        let hops = hops.iter().map(|hop| {
            let known = self.announcements.topology.as_ref().and_then(|it| it.get(*hop));
            let silent = || format!("{} has not told of itself yet", self.display_name(*hop));
            known.map(|it| (*hop, it.announcement().onion_key)).ok_or_else(silent)
        });
        let source = ShownSource::Node;
        Ok(RequestedPath { hops: hops.collect::<Result<_, _>>()?, rate, source })
    }

    pub(super) async fn request_path(
        &mut self,
        asked: &RequestedPath,
    ) -> Result<PathNumber, String> {
        let asked = self.engine.request_path(asked, seconds(), &mut random_bytes);
        let (number, actions) = asked.map_err(|why| why.to_string())?;
        self.routes.requested_at.insert(number, Instant::now());
        self.apply(actions).await;
        Ok(number)
    }

    /// Ends a path of this node.
    pub(super) async fn end_path(&mut self, number: PathNumber) {
        let actions = self.engine.drop_path(number);
        self.apply(actions).await;
        self.routes.forget(number);
    }

    /// Resumes the previous daemon's routes.
    pub(super) fn restore_routes(&mut self) {
        for saved in self.state.names().unwrap_or_default() {
            let node = saved.strip_prefix("r-").and_then(|it| u128::from_str_radix(it, 16).ok());
            let node = node.and_then(|it| NodeAddress::try_from(Ipv6Addr::from_bits(it)).ok());
            let bytes = self.state.get(&saved).unwrap_or_default();
            let entry = DesiredRoute::from_bytes(&bytes, Instant::now());
            let Some((node, entry)) = node.zip(entry) else { continue };
            // A path that is gone counts as dead, and another one is requested.
            let stands = |path: &PathNumber| self.engine.path(*path).is_some();
            let active = entry.route.active().filter(stands);
            self.routes.active_paths.extend(active.map(|path| (node.ip(), path)));
            self.routes.desired.routes.insert(node, entry);
        }
    }

    /// Drops a route and returns its paths, all of which have ended.
    pub(super) async fn end_route(&mut self, node: NodeAddress) -> Vec<PathNumber> {
        let paths = self.routes.desired.end(node);
        for path in &paths {
            self.end_path(*path).await;
        }
        self.routes.persist(node, &self.state);
        paths
    }

    /// Handles a path that is up: a requested path becomes the route to its end, and the previous one ends
    /// after packets have moved, so that none is lost.
    pub(super) async fn handle_up(&mut self, path: PathNumber) {
        let Some((request, before)) = self.routes.desired.up(path) else { return };
        let to = request.to;
        if !request.is_independent || !before.is_empty() {
            self.route_over(to.ip(), path).await;
        }
        self.routes.persist(to, &self.state);
        for path in before {
            self.end_path(path).await;
        }
        let answer = match self.path_ends.private.get(&path) {
            Some(private) => json!({ "path": path.0, "to": to.to_string(), "from": private.own }),
            None => json!({ "path": path.0, "to": to.to_string() }),
        };
        let _ = request.requester.answer.send(Ok(answer));
    }
}
