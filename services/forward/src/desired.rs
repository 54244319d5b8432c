//! The wanted routes: at most one per node, with or without a path. A `path-add` is a request until its path is
//! up, and then becomes the route to the node; until then the previous route carries packets. Pure: paths are
//! requested and ended elsewhere.

use std::collections::BTreeMap;
use std::time::Instant;

use octet_node::address::NodeAddress;
use octet_node::bytes::Fields;

use crate::constraints;
use crate::engine::PathNumber;
use crate::graph::PathConstraints;
use crate::routes::NodeRoute;
use crate::status::{RouteStatus, SetupPhase};

/// The requirements on a route's paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec {
    /// The relays that the request names, in their order; they apply to the first path.
    pub via: Vec<NodeAddress>,
    /// The constraints of all paths.
    pub limits: PathConstraints,
    /// The rate limit of each path in each direction, in kbit/s; 0 means unlimited.
    pub rate: u32,
}

/// The route to a node.
#[derive(Debug, Default)]
pub struct DesiredRoute {
    pub route: NodeRoute,
    /// The requirements on the paths.
    pub spec: Spec,
    /// When an on-demand route was last wanted or used; `None` for an explicitly requested route.
    pub last_use: Option<Instant>,
    /// Why the last path has failed.
    pub failure: Option<String>,
    /// Why no path can be requested now.
    pub request_failure: Option<String>,
}

/// A `path-add` whose path is not up yet. `W` identifies the requester.
#[derive(Debug)]
pub struct PendingPath<W> {
    /// The destination.
    pub to: NodeAddress,
    pub spec: Spec,
    /// Whether the path stays independent, beside the route to the node.
    pub is_independent: bool,
    /// Whether the path replaces the node's existing route.
    pub replaces: bool,
    /// Whether the path is private. It is independent, and no other path starts, waits or ends because of it: its
    /// end would see that.
    pub is_private: bool,
    /// Receives the result.
    pub requester: W,
}

#[derive(Debug)]
pub struct Desired<W> {
    /// The routes. Explicit routes stay until they are dropped, on-demand routes until they are unused.
    pub routes: BTreeMap<NodeAddress, DesiredRoute>,
    requests: BTreeMap<PathNumber, PendingPath<W>>,
}

impl DesiredRoute {
    /// An on-demand route.
    pub fn on_demand(now: Instant) -> Self {
        Self {
            route: NodeRoute::restored(true, None, None),
            last_use: Some(now),
            ..Self::default()
        }
    }

    /// The state of a route without a path.
    pub fn status_without_path(&self) -> RouteStatus {
        let reasons: Vec<_> =
            [&self.failure, &self.request_failure].into_iter().flatten().collect();
        match reasons[..] {
            [] => RouteStatus { phase: SetupPhase::Pending, reason: None },
            [only] => RouteStatus::failed(only),
            [first, second, ..] => RouteStatus::failed(format!("{first}; {second}")),
        }
    }

    /// The persisted encoding: flags (1), its two paths (2 each), the rate (4), the number of requested relays
    /// (1) and their addresses (16 each), and the constraints. Numbers are big-endian. The last failure is not
    /// persisted, because the next daemon tries again.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { route, spec: Spec { via, limits, rate }, last_use, .. } = self;
        let number = |path: Option<PathNumber>| path.map_or(0, |it| it.0).to_be_bytes();
        let spare = route.paths().find(|path| !route.is_active(*path));
        let mut bytes = vec![u8::from(route.wants_backup) | u8::from(last_use.is_some()) << 1];
        bytes.extend(number(route.active()));
        bytes.extend(number(spare));
        bytes.extend(rate.to_be_bytes());
        bytes.push(via.len() as u8);
        bytes.extend(via.iter().flat_map(|node| node.octets()));
        bytes.extend(constraints::to_bytes(limits));
        bytes
    }

    /// Decodes a route; `now` becomes the last use of an on-demand route. `None` if the bytes are malformed.
    pub fn from_bytes(bytes: &[u8], now: Instant) -> Option<Self> {
        let mut fields = Fields(bytes);
        let flags = fields.u8()?;
        let mut path = || Some(Some(fields.u16()?).filter(|it| *it > 0).map(PathNumber));
        let (active, spare) = (path()?, path()?);
        let (rate, count) = (fields.u32()?, fields.u8()?);
        let via = (0..count).map(|_| NodeAddress::try_from(fields.array::<16>()?).ok());
        let via = via.collect::<Option<_>>()?;
        let limits = constraints::from_bytes(fields.0)?;
        let route = NodeRoute::restored(flags & 1 != 0, active, spare);
        let last_use = (flags & 2 != 0).then_some(now);
        Some(Self { route, spec: Spec { via, limits, rate }, last_use, ..Self::default() })
    }
}

impl<W> Default for Desired<W> {
    fn default() -> Self {
        Self { routes: BTreeMap::new(), requests: BTreeMap::new() }
    }
}

impl<W> Desired<W> {
    /// The explicitly requested route to `to`: the pending path, or the state of the route.
    pub fn requested(&self, to: NodeAddress) -> Option<Result<PathNumber, &DesiredRoute>> {
        let request = self.requests.iter().find(|(_, it)| it.to == to && !it.is_independent);
        let entry = || self.routes.get(&to).filter(|entry| entry.last_use.is_none());
        request.map(|(path, _)| Ok(*path)).or_else(|| entry().map(Err))
    }

    /// Whether a path to `to` is pending; a packet starts no route then.
    pub fn is_requested(&self, to: NodeAddress) -> bool {
        self.requests.values().any(|it| it.to == to && !it.is_private)
    }

    /// Adds a pending path. Returns the pending request that it replaces, with its path.
    pub fn request(
        &mut self,
        path: PathNumber,
        request: PendingPath<W>,
    ) -> Option<(PathNumber, PendingPath<W>)> {
        let is_before = |it: &PendingPath<W>| it.to == request.to && !it.is_independent;
        let before = self.requests.iter().find(|(_, it)| is_before(it)).map(|(path, _)| *path);
        let before = before.filter(|_| request.replaces || !request.is_independent);
        let before = before.and_then(|path| Some((path, self.requests.remove(&path)?)));
        self.requests.insert(path, request);
        before
    }

    /// The pending paths.
    pub fn requests(&self) -> impl Iterator<Item = (PathNumber, &PendingPath<W>)> {
        self.requests.iter().map(|(path, request)| (*path, request))
    }

    /// Removes a pending path.
    pub fn cancel(&mut self, path: PathNumber) -> Option<PendingPath<W>> {
        self.requests.remove(&path)
    }

    /// Handles a path that is up: a pending path becomes the route to its node, unless it is independent.
    /// Returns the request, and the paths of the previous route, which must end.
    pub fn up(&mut self, path: PathNumber) -> Option<(PendingPath<W>, Vec<PathNumber>)> {
        let request = self.requests.remove(&path)?;
        let is_on_demand = |entry: &DesiredRoute| entry.last_use.is_some();
        let ends = |entry: &DesiredRoute| {
            !request.is_independent || request.replaces || is_on_demand(entry)
        };
        let before = match self.routes.get(&request.to) {
            Some(entry) if ends(entry) && !request.is_private => self.end(request.to),
            _ => vec![],
        };
        if !request.is_independent {
            let (route, spec) = (NodeRoute::restored(true, Some(path), None), request.spec.clone());
            self.routes.insert(request.to, DesiredRoute { route, spec, ..DesiredRoute::default() });
        }
        Some((request, before))
    }

    /// The node whose route a path belongs to.
    pub fn route_of(&self, path: PathNumber) -> Option<NodeAddress> {
        let has = |entry: &DesiredRoute| entry.route.paths().any(|it| it == path);
        self.routes.iter().find(|(_, entry)| has(entry)).map(|(node, _)| *node)
    }

    /// Sets the rate limit of the route that a path belongs to or will become. Returns the route's paths.
    pub fn set_rate(&mut self, path: PathNumber, rate: u32) -> Vec<PathNumber> {
        if let Some(request) = self.requests.get_mut(&path) {
            request.spec.rate = rate;
        }
        let Some(entry) = self.route_of(path).and_then(|node| self.routes.get_mut(&node)) else {
            return vec![path];
        };
        entry.spec.rate = rate;
        entry.route.paths().collect()
    }

    /// Removes the route to `to`. Returns its paths, which must end.
    pub fn end(&mut self, to: NodeAddress) -> Vec<PathNumber> {
        self.routes.remove(&to).map_or(vec![], |entry| entry.route.paths().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::control::PublicKey;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn board(number: u8) -> NodeAddress {
        NodeAddress::of(&PublicKey::new([number; 32]))
    }

    fn request(to: u8, via: &[u8]) -> PendingPath<&'static str> {
        let spec = Spec { via: via.iter().copied().map(board).collect(), ..Spec::default() };
        PendingPath {
            to: board(to),
            spec,
            is_independent: false,
            replaces: false,
            is_private: false,
            requester: "somebody",
        }
    }

    fn replacing(to: u8, via: &[u8]) -> PendingPath<&'static str> {
        PendingPath { replaces: true, ..request(to, via) }
    }

    /// A route whose only path has failed stays, reports the reason, and can be replaced or dropped by its
    /// node.
    #[test]
    fn a_route_without_a_path_is_not_stuck() {
        let mut desired = Desired::default();
        assert!(desired.request(PathNumber(1), request(4, &[2, 3])).is_none());
        assert!(matches!(desired.requested(board(4)), Some(Ok(PathNumber(1)))));
        let (_, before) = desired.up(PathNumber(1)).unwrap();
        assert_eq!((before, desired.route_of(PathNumber(1))), (vec![], Some(board(4))));

        let entry = desired.routes.get_mut(&board(4)).unwrap();
        entry.route = NodeRoute::restored(true, None, None);
        assert_eq!(entry.status_without_path().to_string(), "pending");
        entry.failure = Some("the link to board-2 is down".to_owned());
        entry.request_failure = Some("no known links lead there".to_owned());
        let stuck = desired.requested(board(4)).unwrap().unwrap_err();
        let status = stuck.status_without_path().to_string();
        assert_eq!(status, "failed: the link to board-2 is down; no known links lead there");

        assert!(desired.request(PathNumber(2), replacing(4, &[3])).is_none());
        let (request, before) = desired.up(PathNumber(2)).unwrap();
        assert_eq!((request.requester, before), ("somebody", vec![]));
        assert_eq!(desired.routes[&board(4)].spec.via, [board(3)]);
        assert_eq!(desired.routes[&board(4)].status_without_path().to_string(), "pending");
        assert_eq!(desired.set_rate(PathNumber(2), 64), [PathNumber(2)]);
        assert_eq!(desired.routes[&board(4)].spec.rate, 64);
        assert_eq!(desired.end(board(4)), [PathNumber(2)]);
        assert!(desired.requested(board(4)).is_none());
    }

    /// The previous path carries packets until the new one is up, and still does if the new one fails.
    #[test]
    fn the_route_of_before_stays_until_the_other_is_up() {
        let mut desired = Desired::default();
        desired.request(PathNumber(1), request(4, &[2]));
        desired.up(PathNumber(1)).unwrap();
        desired.routes.get_mut(&board(4)).unwrap().route =
            NodeRoute::restored(true, Some(PathNumber(1)), Some(PathNumber(2)));

        desired.request(PathNumber(3), replacing(4, &[3]));
        assert_eq!(desired.routes[&board(4)].route.active(), Some(PathNumber(1)));
        assert!(desired.cancel(PathNumber(3)).is_some());
        assert_eq!(desired.routes[&board(4)].spec.via, [board(2)]);

        // The later of two replacements wins.
        desired.request(PathNumber(4), replacing(4, &[3]));
        let (before, _) = desired.request(PathNumber(5), replacing(4, &[5])).unwrap();
        assert_eq!((before, desired.up(PathNumber(4)).is_none()), (PathNumber(4), true));
        let (_, before) = desired.up(PathNumber(5)).unwrap();
        assert_eq!(before, [PathNumber(1), PathNumber(2)]);
        assert_eq!(desired.routes[&board(4)].route.active(), Some(PathNumber(5)));
    }

    /// Any explicit request replaces an on-demand route; an explicit route stays beside an independent path.
    #[test]
    fn alone_is_beside_what_was_asked_for() {
        let alone = || PendingPath { is_independent: true, ..request(4, &[2]) };
        let on_demand = || DesiredRoute {
            route: NodeRoute::restored(true, Some(PathNumber(1)), None),
            ..DesiredRoute::on_demand(Instant::now())
        };
        for (asked, stays) in [(alone(), false), (request(4, &[2]), true)] {
            let mut desired = Desired::default();
            desired.routes.insert(board(4), on_demand());
            assert!(desired.requested(board(4)).is_none(), "nobody has asked for it");
            desired.request(PathNumber(2), asked);
            assert!(desired.is_requested(board(4)) && !desired.is_requested(board(5)));
            assert_eq!(desired.up(PathNumber(2)).unwrap().1, [PathNumber(1)]);
            assert_eq!(desired.routes.contains_key(&board(4)), stays);
        }
        let mut desired = Desired::default();
        desired.routes.insert(board(4), DesiredRoute { last_use: None, ..on_demand() });
        desired.request(PathNumber(2), alone());
        assert_eq!(desired.up(PathNumber(2)).unwrap().1, []);
        assert!(desired.routes.contains_key(&board(4)));
        desired.request(PathNumber(3), PendingPath { replaces: true, ..alone() });
        assert_eq!(desired.up(PathNumber(3)).unwrap().1, [PathNumber(1)]);
        assert!(desired.routes.is_empty());
    }

    /// What packets of this node start, and what carries them, is the same with and without a private path.
    #[test]
    fn a_private_path_is_beside_all_others() {
        let mut desired = Desired::default();
        let on_demand = DesiredRoute {
            route: NodeRoute::restored(true, Some(PathNumber(1)), None),
            ..DesiredRoute::on_demand(Instant::now())
        };
        desired.routes.insert(board(4), on_demand);
        for (path, to) in [(2, 4), (3, 5)] {
            let private =
                PendingPath { is_independent: true, is_private: true, ..request(to, &[2, 3]) };
            assert!(desired.request(PathNumber(path), private).is_none());
            assert!(!desired.is_requested(board(to)) && desired.requested(board(to)).is_none());
            assert_eq!(desired.up(PathNumber(path)).unwrap().1, []);
        }
        assert_eq!(desired.routes.len(), 1);
        assert_eq!(desired.routes[&board(4)].route.active(), Some(PathNumber(1)));
    }

    proptest! {
        /// In any sequence of events, each path belongs to at most one node, and a path that is lost is
        /// reported as ended.
        #[test]
        fn no_path_is_lost(steps in prop::collection::vec((0u8..5, 0u8..3, any::<bool>(), any::<bool>()), 1..60)) {
            let mut desired = Desired::default();
            let mut paths = BTreeSet::new();
            let mut alone = BTreeSet::new();
            for (number, (what, to, is_independent, replaces)) in (1..).zip(steps) {
                let first = desired.requests().map(|(path, _)| path).next();
                match (what, first) {
                    (0 | 1, _) => {
                        let request = PendingPath { is_independent, replaces, ..request(to, &[]) };
                        let before = desired.request(PathNumber(number), request);
                        prop_assert!(before.is_none_or(|(path, _)| paths.remove(&path)));
                        paths.insert(PathNumber(number));
                    }
                    (2, Some(path)) => {
                        let (request, before) = desired.up(path).unwrap();
                        alone.extend(request.is_independent.then_some(path));
                        prop_assert!(before.iter().all(|path| paths.remove(path)));
                    }
                    (3, Some(path)) => prop_assert!(desired.cancel(path).is_some() && paths.remove(&path)),
                    _ => prop_assert!(desired.end(board(to)).iter().all(|path| paths.remove(path))),
                }
                let of_ways = desired.routes.values().flat_map(|entry| entry.route.paths());
                let known = desired.requests().map(|(path, _)| path).chain(of_ways);
                let known: BTreeSet<_> = known.chain(alone.iter().copied()).collect();
                prop_assert_eq!(&known, &paths);
                for to in 0..3 {
                    let asked = desired.requests().filter(|(_, it)| it.to == board(to) && !it.is_independent);
                    prop_assert!(asked.count() <= 1);
                }
            }
        }

        #[test]
        fn what_is_kept_is_read(
            via in prop::collection::vec(any::<u8>(), 0..6),
            active: Option<u16>,
            spare: Option<u16>,
            rate: u32,
            avoid: Vec<u8>,
            is_on_demand: bool,
            has_spare: bool,
        ) {
            let path = |it: Option<u16>| it.filter(|it| *it > 0).map(PathNumber);
            let via = via.into_iter().map(board).collect();
            let avoid = avoid.into_iter().map(board).collect();
            let now = Instant::now();
            let entry = DesiredRoute {
                route: NodeRoute::restored(has_spare, path(active), path(spare).filter(|it| path(active) != Some(*it))),
                spec: Spec { via, limits: PathConstraints { avoid, ..PathConstraints::default() }, rate },
                last_use: is_on_demand.then_some(now),
                ..DesiredRoute::default()
            };
            let bytes = entry.to_bytes();
            let read = DesiredRoute::from_bytes(&bytes, now).unwrap();
            prop_assert_eq!((&read.route, &read.spec), (&entry.route, &entry.spec));
            prop_assert_eq!(read.last_use, entry.last_use);
            for length in 0..bytes.len() {
                if let Some(read) = DesiredRoute::from_bytes(&bytes[..length], now) {
                    prop_assert!(read.spec.limits.avoid.len() < entry.spec.limits.avoid.len());
                }
            }
        }
    }
}
