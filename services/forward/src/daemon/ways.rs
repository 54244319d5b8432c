//! Ways to nodes: paths are watched, and packets take another one where the first is dead.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use octet_node::control::Failure;
use octet_node::say;
use serde_json::json;

use super::answer::no_path;
use super::{Daemon, WATCH, Waiting, chance, seconds};
use crate::constraints;
use crate::engine::{Asked, PathNumber, State};
use crate::graph::{Graph, Limits};
use crate::introduction::Inner;
use crate::routes::{Health, Route, Said, Step, taken};
use crate::verbs::PATIENCE;
use octet_node::address::Address;

/// For how long relays of a path that has failed are taken only where there are no others: announcements tell sooner
/// or later which of them is gone, and an answer that does not come takes 20 seconds.
const DOUBT: Duration = Duration::from_secs(30);

/// The way to a node.
#[derive(Default)]
pub(super) struct Way {
    pub route: Route,
    /// What all of its paths are to be like.
    pub limits: Limits,
    /// How much each is to carry at most each way, in kbit/s; 0 is no bound.
    pub rate: u32,
    /// Who waits until there is one.
    pub waiting: Option<Waiting>,
    /// When it was wanted last, or seen to be used, if nobody has asked for it but a packet.
    pub wanted: Option<Instant>,
}

/// The name of what is kept of the way to a node.
fn name(node: Address) -> String {
    format!("r-{:032x}", node.ip().to_bits())
}

impl Daemon {
    /// Looks after all paths of this node's own, and all ways.
    pub(super) async fn watch(&mut self) {
        let now = Instant::now();
        let paths = self.ways.values().flat_map(|way| way.route.paths());
        let stands = |number: PathNumber| {
            let path = self.engine.path(number).filter(|path| path.state == State::Stands)?;
            path.stretch.node.map(|_| number)
        };
        let standing: Vec<_> = paths.filter_map(stands).collect();
        for number in standing {
            let probe = self.watched.entry(number).or_default().next(now);
            self.probe(number, probe.into()).await;
        }
        let nodes: Vec<_> = self.ways.keys().copied().collect();
        for node in nodes {
            let Some(way) = self.ways.get_mut(&node) else { continue };
            let mut route = std::mem::take(&mut way.route);
            let steps = route.step(seconds(), |path| self.health(path, now));
            if let Some(way) = self.ways.get_mut(&node) {
                way.route = route;
            }
            for step in steps {
                self.take(node, step).await;
            }
        }
    }

    /// Asks the other end of a path whether it is there, and says whether packets to it take this path.
    pub(super) async fn probe(&self, number: PathNumber, token: u64) {
        let in_use = self.uses.values().any(|used| *used == number);
        let said = if in_use { Inner::Use(token) } else { Inner::Ping(token) };
        if let Some(to) = self.inner_end(number) {
            let _ = self.ends.send_to(&said.to_bytes(), to).await;
        }
    }

    fn health(&self, number: PathNumber, now: Instant) -> Health {
        let Some(path) = self.engine.path(number) else { return Health::Dead };
        let silent = self.watched.get(&number).is_some_and(|it| it.is_silent(WATCH));
        match path.state {
            State::Asked => Health::Asked,
            State::Stands if path.stretch.node.is_none() => {
                let since = self.begun.get(&number).copied().unwrap_or(now);
                let late = now.saturating_duration_since(since) >= PATIENCE;
                if late { Health::Dead } else { Health::Asked }
            }
            State::Stands if !silent => {
                let relays = path.hops.split_last().map_or(vec![], |(_, relays)| relays.to_vec());
                Health::Alive(relays)
            }
            _ => Health::Dead,
        }
    }

    async fn take(&mut self, node: Address, step: Step) {
        match step {
            Step::Ask(avoid) => {
                let limits = self.other_than(node, avoid);
                let rate = self.ways.get(&node).map_or(0, |way| way.rate);
                // Who has just let one down may be dead for longer than it is announced.
                let now = Instant::now();
                self.failed.retain(|_, at| now.saturating_duration_since(*at) < DOUBT);
                let mut doubtful = limits.clone();
                doubtful.avoid.extend(self.failed.keys());
                let hops = self.free_hops(node, &doubtful);
                let hops = hops.or_else(|_| self.free_hops(node, &limits));
                let asked = hops.and_then(|hops| self.with_keys(&hops, rate));
                let path = match asked {
                    Ok(asked) => self.ask(&asked).await.ok(),
                    Err(_) => None,
                };
                if let Some(way) = self.ways.get_mut(&node) {
                    way.route.asked(path, seconds());
                }
            }
            Step::Use(path) => {
                self.turn(node.ip(), path).await;
                say!("packets to {node} take path {path} now: {}", self.hops(path));
                let Some(way) = self.ways.get_mut(&node) else { return };
                if let Some(waiting) = way.waiting.take() {
                    let answer = json!({ "path": path.0, "to": node.to_string() });
                    let _ = waiting.answer.send(Ok(answer));
                }
            }
            Step::Drop(path) => {
                let why = self.engine.why_not(path).unwrap_or_else(|| "nobody answers".to_owned());
                say!("path {path} to {node} is given up: {why}");
                let hops = self.engine.path(path).and_then(|path| path.hops.split_last());
                let relays = hops.map_or(vec![], |(_, relays)| relays.to_vec());
                self.failed.extend(relays.into_iter().map(|relay| (relay, Instant::now())));
                let refused = self.ways.get_mut(&node).and_then(|way| way.waiting.take());
                self.end_path(path).await;
                // Who asks for a path is told why there is none, and asks for another.
                if let Some(waiting) = refused {
                    let _ = waiting.answer.send(Err(no_path(&why)));
                    self.ways.remove(&node);
                }
            }
        }
        self.keep_way(node);
    }

    /// Has packets to nodes take the paths that are due: those that took one of the other end's may have none any more.
    pub(super) async fn take_all_due(&mut self) {
        for node in self.ways.keys().copied().collect::<Vec<_>>() {
            self.take_due(node, None).await;
        }
    }

    /// Has packets to a node take the path that is due, of which the other end may just have said something. Of two nodes
    /// that would wait for each other the one with the lower address goes back.
    pub(super) async fn take_due(&mut self, node: Address, said: Option<Said>) {
        let own = |way: &Way| way.route.active().map(|path| (path, way.wanted.is_none()));
        let own = self.ways.get(&node).and_then(own);
        let used = self.uses.get(&node.ip()).copied();
        let goes_back = self.node().is_some_and(|it| Address::of(&it).ip() < node.ip());
        match taken(own, used, said, goes_back) {
            Some(due) if used != Some(due) => self.turn(node.ip(), due).await,
            _ => {}
        }
    }

    /// Has packets to a node take a path of this node's own, or one that ends here.
    pub(super) async fn turn(&mut self, other: Ipv6Addr, path: PathNumber) {
        let Some(node) = self.node() else { return };
        match self.kernel.node(&path.device(), Address::of(&node).ip(), other).await {
            Ok(()) => drop(self.uses.insert(other, path)),
            Err(error) => say!("{error}"),
        }
    }

    /// A path by its hops, for people.
    fn hops(&self, path: PathNumber) -> String {
        let hops = self.engine.path(path).map(|path| path.hops.clone()).unwrap_or_default();
        hops.iter().map(|hop| self.called(*hop)).collect::<Vec<_>>().join(", ")
    }

    /// What another path of the way to a node is to be like: as the way says, and without these relays.
    fn other_than(&self, to: Address, relays: BTreeSet<Address>) -> Limits {
        let Some(way) = self.ways.get(&to) else { return Limits::default() };
        let mut limits = way.limits.clone();
        limits.avoid.extend(relays);
        // A direct link has no relay that could be avoided: then it is the link that is.
        let active = way.route.active().and_then(|it| self.engine.path(it));
        let is_direct = active.is_some_and(|it| it.hops.len() == 1);
        limits.relays = limits.relays.max(usize::from(is_direct));
        limits
    }

    /// The shortest hops to a node within limits.
    pub(super) fn free_hops(&self, to: Address, limits: &Limits) -> Result<Vec<Address>, Failure> {
        let (Some(topology), Some(node)) = (&self.topology, self.node()) else {
            return Err(no_path("this node has no certified key yet"));
        };
        let graph = Graph::of(topology);
        let first = |limits| graph.paths(Address::of(&node), to, limits, 1).pop();
        if let Some(path) = first(limits) {
            return Ok(path.hops);
        }
        let why = match first(&Limits::default()) {
            Some(_) => "those that are known are not as they are asked for",
            None => "no known links lead there",
        };
        Err(no_path(&format!("to {}: {why}", self.called(to))))
    }

    /// A path of this rate over these hops, each with its key for set-ups.
    pub(super) fn with_keys(&self, hops: &[Address], rate: u32) -> Result<Asked, Failure> {
        let hops = hops.iter().map(|hop| {
            let known = self.topology.as_ref().and_then(|it| it.get(*hop));
            let silent = || no_path(&format!("{} has not told of itself yet", self.called(*hop)));
            known.map(|it| (*hop, it.announcement().onion_key)).ok_or_else(silent)
        });
        Ok(Asked { hops: hops.collect::<Result<_, _>>()?, rate })
    }

    /// Asks for a path.
    pub(super) async fn ask(&mut self, asked: &Asked) -> Result<PathNumber, Failure> {
        let asked = self.engine.ask(asked, seconds(), &mut chance);
        let (number, actions) = asked.map_err(|why| no_path(&why.to_string()))?;
        self.begun.insert(number, Instant::now());
        self.act(actions).await;
        Ok(number)
    }

    /// Ends a path of this node's own.
    pub(super) async fn end_path(&mut self, number: PathNumber) {
        let actions = self.engine.drop_path(number);
        self.act(actions).await;
        self.watched.remove(&number);
        self.begun.remove(&number);
        self.uses.retain(|_, path| *path != number);
    }

    /// Has the way to a node known to the daemon after this one.
    pub(super) fn keep_way(&self, node: Address) {
        let number = |path: Option<PathNumber>| path.map_or(0, |it| it.0).to_be_bytes();
        let kept = match self.ways.get(&node) {
            None => self.unlearn(&name(node)),
            Some(Way { route, limits, rate, wanted, .. }) => {
                let spare = route.paths().find(|path| !route.is_active(*path));
                let mut bytes = vec![u8::from(route.has_spare) | u8::from(wanted.is_some()) << 1];
                bytes.extend(number(route.active()));
                bytes.extend(number(spare));
                bytes.extend(rate.to_be_bytes());
                bytes.extend(constraints::to_bytes(limits));
                self.remember(&name(node), &bytes)
            }
        };
        if let Err(error) = kept {
            say!("{error}");
        }
    }

    /// Takes up the ways of the daemon before.
    pub(super) fn take_up_ways(&mut self) {
        for kept in self.memory.names().unwrap_or_default() {
            let node = kept.strip_prefix("r-").and_then(|it| u128::from_str_radix(it, 16).ok());
            let node = node.and_then(|it| Address::try_from(Ipv6Addr::from_bits(it)).ok());
            let bytes = self.memory.get(&kept).unwrap_or_default();
            let Some((node, (&[flags, a, b, c, d], rest))) = node.zip(bytes.split_first_chunk())
            else {
                continue;
            };
            let Some((rate, limits)) = rest.split_first_chunk() else { continue };
            let rate = u32::from_be_bytes(*rate);
            let Some(limits) = constraints::from_bytes(limits) else { continue };
            let stands = |bytes| {
                let number = PathNumber(u16::from_be_bytes(bytes));
                self.engine.path(number).is_some().then_some(number)
            };
            let (active, spare) = (stands([a, b]), stands([c, d]));
            let route = Route::of(flags & 1 != 0, active, spare);
            self.uses.extend(active.map(|path| (node.ip(), path)));
            let wanted = (flags & 2 != 0).then(Instant::now);
            self.ways.insert(node, Way { route, limits, rate, wanted, waiting: None });
        }
    }

    /// Ends the way to a node, and all of its paths.
    pub(super) async fn end_way(&mut self, node: Address) {
        let Some(way) = self.ways.remove(&node) else { return };
        for path in way.route.paths() {
            self.end_path(path).await;
        }
        self.keep_way(node);
    }
}
