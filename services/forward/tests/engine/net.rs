//! Simulated nodes, and the links between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use octet_forward::control::LinkMessage;
use octet_forward::engine::{
    Engine, EngineAction, KernelEntry, LAST_NUMBER, LinkNumber, NotAsked, PathCounters, PathEnd,
    PathNumber, PathState, RequestedPath, ShownSource, install,
};
use octet_forward::label::Label;
use octet_forward::onion::OnionSecret;
use octet_node::address::NodeAddress;
use octet_node::control::PublicKey;

/// What happens to a message in transit.
pub enum Fate {
    Passes,
    Lost,
    Twice,
    Is(LinkMessage),
}

/// The kernel's action for a label.
enum Then {
    Swap(Label, LinkNumber),
    Pop,
}

#[derive(Default)]
struct Kernel {
    lets: BTreeSet<(LinkNumber, Label)>,
    counted: BTreeSet<(LinkNumber, Label)>,
    labels: BTreeMap<Label, Then>,
    pushes: BTreeMap<Ipv4Addr, (Label, LinkNumber)>,
    ends: BTreeMap<PathNumber, PathEnd>,
    /// The rate limit of each incoming label.
    bounds: BTreeMap<(LinkNumber, Label), u32>,
}

impl Kernel {
    /// That of the node `number`.
    fn install(&mut self, number: usize, entry: KernelEntry) {
        match entry {
            KernelEntry::Accept(link, label) => {
                self.lets.insert((link, label));
            }
            KernelEntry::RateLimit(link, label, rate) => {
                assert!(self.lets.contains(&(link, label)), "{link} {label} of {number}");
                self.bounds.insert((link, label), rate);
            }
            KernelEntry::Swap { from, to, link } => {
                self.labels.insert(from, Then::Swap(to, link));
                self.counted.insert((link, to));
            }
            KernelEntry::Pop(label) => {
                self.labels.insert(label, Then::Pop);
            }
            KernelEntry::Push { addresses: (_, far), label, link, .. } => {
                self.pushes.insert(far, (label, link));
                self.counted.insert((link, label));
            }
            KernelEntry::End(path, path_end) => {
                self.ends.insert(path, path_end);
            }
        }
    }

    fn remove(&mut self, number: usize, entry: KernelEntry) {
        match entry {
            KernelEntry::Accept(link, label) => {
                assert!(self.lets.remove(&(link, label)), "{link} {label} of {number}");
                self.labels.remove(&label);
            }
            KernelEntry::RateLimit(link, label, _) => {
                self.bounds.remove(&(link, label));
            }
            KernelEntry::Swap { to: label, link, .. } | KernelEntry::Push { label, link, .. } => {
                assert!(self.counted.remove(&(link, label)), "{link} {label} of {number}");
            }
            // It goes with its label.
            KernelEntry::Pop(_) => {}
            // What goes with a path's device is its route, too.
            KernelEntry::End(path, _) => {
                let path_end = self.ends.remove(&path).expect("what is removed is there");
                self.pushes.remove(&path_end.outer().1);
            }
        }
    }
}

struct Node {
    address: NodeAddress,
    onion: OnionSecret,
    engine: Engine,
    links: BTreeMap<LinkNumber, usize>,
    kernel: Kernel,
    kept: BTreeMap<String, Vec<u8>>,
    ended: Vec<PathCounters>,
}

/// Decides what happens to a message.
pub type Judge = dyn FnMut(usize, usize, &LinkMessage) -> Fate;

/// All nodes. `fate` takes the sender, the receiver and the message.
pub struct Net {
    nodes: Vec<Node>,
    wires: VecDeque<(usize, usize, LinkMessage)>,
    pub now: u64,
    rate: u32,
    /// Who sources are for the ends of their paths.
    pub source: ShownSource,
    rng: fastrand::Rng,
    /// Whether the two ends of a path introduce themselves.
    pub introduces: bool,
    /// Sources whose introduction is pending.
    strangers: Vec<(usize, PathNumber)>,
    pub fate: Box<Judge>,
    pub sent: Vec<(usize, usize, LinkMessage)>,
}

fn secret(node: usize) -> OnionSecret {
    OnionSecret::new(&[node as u8 + 1; 32]).unwrap()
}

impl Net {
    pub fn new(nodes: usize, seed: u64) -> Self {
        let node = |number: usize| Node {
            address: NodeAddress::of(&PublicKey::new([number as u8; 32])),
            onion: secret(number),
            engine: Engine::default(),
            links: BTreeMap::new(),
            kernel: Kernel::default(),
            kept: BTreeMap::new(),
            ended: vec![],
        };
        Self {
            nodes: (0..nodes).map(node).collect(),
            wires: VecDeque::new(),
            now: 1_800_000_000,
            rate: 0,
            source: ShownSource::Node,
            rng: fastrand::Rng::with_seed(seed),
            introduces: true,
            strangers: vec![],
            fate: Box::new(|_, _, _| Fate::Passes),
            sent: vec![],
        }
    }

    /// Gives a node that has no link yet this address.
    pub fn set_address(&mut self, node: usize, address: NodeAddress) {
        self.nodes[node].address = address;
    }

    pub fn engine(&self, node: usize) -> &Engine {
        &self.nodes[node].engine
    }

    /// Ends the private paths of the previous daemon of a node.
    pub fn drop_lost(&mut self, node: usize) {
        let actions = self.nodes[node].engine.drop_lost();
        self.apply(node, actions);
    }

    /// Creates a row of nodes, each linked to the previous and to the next one.
    pub fn chain(nodes: usize) -> Self {
        let mut net = Self::new(nodes, 7);
        for node in 1..nodes {
            net.link(node - 1, node);
        }
        net
    }

    pub fn link(&mut self, one: usize, other: usize) {
        for (here, there) in [(one, other), (other, one)] {
            let (link, address) = (LinkNumber(there as u16), self.nodes[there].address);
            self.nodes[here].links.insert(link, there);
            self.nodes[here].engine.add_link(link, address);
        }
    }

    /// Removes the link between two nodes, at both ends.
    pub fn remove_link(&mut self, one: usize, other: usize) {
        for (here, there) in [(one, other), (other, one)] {
            let actions = self.nodes[here].engine.remove_link(LinkNumber(there as u16));
            self.nodes[here].links.remove(&LinkNumber(there as u16));
            self.apply(here, actions);
        }
    }

    pub fn request_path(&mut self, node: usize, hops: &[usize]) -> Result<PathNumber, NotAsked> {
        self.request_path_with(node, hops, |hop| *secret(hop).public())
    }

    /// Requests a path with a rate.
    pub fn request_path_at(&mut self, node: usize, hops: &[usize], rate: u32) -> PathNumber {
        self.rate = rate;
        let path = self.request_path(node, hops).unwrap();
        self.rate = 0;
        path
    }

    /// Changes the rate limit at all hops of a path.
    pub fn set_rate(&mut self, node: usize, path: PathNumber, rate: u32) {
        let actions = self.nodes[node].engine.set_rate(path, rate, self.now);
        self.apply(node, actions);
    }

    /// The rate limits at a node, by neighbour.
    pub fn bounds(&self, node: usize) -> Vec<(usize, u32)> {
        let bounds = &self.nodes[node].kernel.bounds;
        bounds.iter().map(|((LinkNumber(from), _), rate)| (usize::from(*from), *rate)).collect()
    }

    /// The granted rate of one of this node's own paths.
    pub fn rate(&self, node: usize, path: PathNumber) -> Option<u32> {
        self.nodes[node].engine.rate(path)
    }

    /// Requests a path with onion keys that may differ from the nodes' own.
    pub fn request_path_with(
        &mut self,
        node: usize,
        hops: &[usize],
        key: impl Fn(usize) -> [u8; 32],
    ) -> Result<PathNumber, NotAsked> {
        let hops = hops.iter().map(|hop| (self.nodes[*hop].address, key(*hop))).collect();
        let (now, rng) = (self.now, &mut self.rng);
        let mut bytes = || std::array::from_fn(|_| rng.u8(..));
        let asked = RequestedPath { hops, rate: self.rate, source: self.source.clone() };
        let (path, actions) = self.nodes[node].engine.request_path(&asked, now, &mut bytes)?;
        self.apply(node, actions);
        Ok(path)
    }

    pub fn state(&self, node: usize, path: PathNumber) -> Option<PathState> {
        let mut paths = self.nodes[node].engine.paths();
        paths.find(|(number, _)| *number == path).map(|(_, path)| path.state.clone())
    }

    pub fn drop_path(&mut self, node: usize, path: PathNumber) {
        let actions = self.nodes[node].engine.drop_path(path);
        self.apply(node, actions);
    }

    /// Delivers messages until none is left.
    pub fn run(&mut self) {
        while let Some((from, to, message)) = self.wires.pop_front() {
            self.sent.push((from, to, message.clone()));
            match (self.fate)(from, to, &message) {
                Fate::Passes => self.handle_message(from, to, message),
                Fate::Lost => {}
                Fate::Twice => {
                    self.handle_message(from, to, message.clone());
                    self.handle_message(from, to, message);
                }
                Fate::Is(other) => self.handle_message(from, to, other),
            }
        }
        for (source, path) in std::mem::take(&mut self.strangers) {
            self.introduce(source, path);
        }
    }

    /// Introduces both ends of a path to each other, if it is up at both.
    fn introduce(&mut self, source: usize, path: PathNumber) {
        let Some(path_end) = self.nodes[source].kernel.ends.get(&path) else { return };
        let number = path_end.number;
        let is_end = |path_end: &PathEnd| path_end.number == number && !path_end.is_source;
        let mut ends = self.nodes.iter().enumerate().filter_map(|(node, it)| {
            let (path, _) = it.kernel.ends.iter().find(|(_, path_end)| is_end(path_end))?;
            Some((node, *path))
        });
        let Some((end, there)) = ends.next() else { return };
        drop(ends);
        self.set_peer(end, there, source);
        self.set_peer(source, path, end);
    }

    pub fn handle_message(&mut self, from: usize, to: usize, message: LinkMessage) {
        let (now, rng, node) = (self.now, &mut self.rng, &mut self.nodes[to]);
        let mut bytes = || std::array::from_fn(|_| rng.u8(..));
        let keys = std::slice::from_ref(&node.onion);
        let actions =
            node.engine.handle_message(LinkNumber(from as u16), message, keys, now, &mut bytes);
        self.apply(to, actions);
    }

    /// Restarts the daemon of a node; its kernel keeps its state. Before the daemon changes
    /// anything, its stored state must agree with the kernel's, for all paths that are up.
    pub fn restart(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        node.engine = Engine::default();
        for (link, other) in node.links.clone() {
            let address = self.nodes[other].address;
            self.nodes[number].engine.add_link(link, address);
        }
        let node = &mut self.nodes[number];
        for (name, bytes) in node.kept.clone() {
            assert!(node.engine.restore(&name, &bytes), "{name} of {number}");
        }
        let standing = node.engine.installed();
        let lets: BTreeSet<_> = standing
            .iter()
            .filter_map(|entry| match entry {
                KernelEntry::Accept(link, label) => Some((*link, *label)),
                _ => None,
            })
            .collect();
        assert!(lets.is_subset(&node.kernel.lets));
        let bounds: BTreeMap<_, _> = standing
            .iter()
            .filter_map(|entry| match entry {
                KernelEntry::RateLimit(link, label, rate) => Some(((*link, *label), *rate)),
                _ => None,
            })
            .collect();
        assert!(bounds.iter().all(|(at, rate)| node.kernel.bounds.get(at) == Some(rate)));
        node.kernel.bounds = bounds;
        // The state of paths that never came up is removed.
        node.kernel.lets.retain(|it| lets.contains(it));
        node.kernel.labels.retain(|label, _| lets.iter().any(|(_, it)| it == label));
        self.apply(number, install(standing).collect());
    }

    /// Lets this many seconds pass on all nodes.
    pub fn tick(&mut self, seconds: u64) {
        self.now += seconds;
        for node in 0..self.nodes.len() {
            let actions = self.nodes[node].engine.tick(self.now);
            self.apply(node, actions);
        }
        self.run();
    }

    fn apply(&mut self, number: usize, actions: Vec<EngineAction>) {
        let Node { kernel, links, kept, ended, .. } = &mut self.nodes[number];
        for action in actions {
            match action {
                EngineAction::Send(link, message) => {
                    self.wires.extend(links.get(&link).map(|to| (number, *to, message)));
                }
                EngineAction::Install(entry) => kernel.install(number, entry),
                EngineAction::Remove(entry) => kernel.remove(number, entry),
                EngineAction::Keep(name, bytes) => {
                    kept.insert(name, bytes);
                }
                EngineAction::Forget(name) => {
                    kept.remove(&name);
                }
                EngineAction::Ended(carried) => ended.push(carried),
                EngineAction::Introduce(path) if self.introduces => {
                    self.strangers.push((number, path));
                }
                EngineAction::Introduce(_) => {}
            }
        }
    }

    /// The counters of a node's active paths, and of those that have ended.
    pub fn path_counters(&self, node: usize) -> (Vec<PathCounters>, Vec<PathCounters>) {
        (self.nodes[node].engine.path_counters(), self.nodes[node].ended.clone())
    }

    pub fn address(&self, node: usize) -> NodeAddress {
        self.nodes[node].address
    }

    /// A set-up that `node` could send to its first hop. It has no other effect.
    pub fn craft(
        &mut self,
        node: usize,
        hops: &[usize],
        key: impl Fn(usize) -> [u8; 32],
    ) -> LinkMessage {
        let path = self.request_path_with(node, hops, key).unwrap();
        let (_, _, message) = self.wires.pop_back().unwrap();
        self.drop_path(node, path);
        message
    }

    /// Whether packets of a neighbour with this label are forwarded.
    pub fn admits(&self, node: usize, from: usize, label: Label) -> bool {
        self.nodes[node].kernel.lets.contains(&(LinkNumber(from as u16), label))
    }

    /// The permitted labels, as the engine itself would install them anew.
    pub fn standing(&self, node: usize) -> BTreeSet<(usize, Label)> {
        let standing = self.nodes[node].engine.installed().into_iter();
        let lets = standing.filter_map(|entry| match entry {
            KernelEntry::Accept(LinkNumber(from), label) => Some((usize::from(from), label)),
            _ => None,
        });
        lets.collect()
    }

    /// Records at `node` that the other end of a path has proved its identity.
    pub fn set_peer(&mut self, node: usize, path: PathNumber, other: usize) {
        self.set_peer_address(node, path, self.nodes[other].address);
    }

    pub fn set_peer_address(&mut self, node: usize, path: PathNumber, other: NodeAddress) {
        let actions = self.nodes[node].engine.set_peer(path, other);
        self.apply(node, actions);
    }

    /// Revokes `other` at `node`.
    pub fn revoke_node(&mut self, node: usize, other: usize) {
        let other = self.nodes[other].address;
        let actions = self.nodes[node].engine.revoke_node(other);
        self.apply(node, actions);
    }

    /// The number of paths that pass through a node or end there.
    pub fn relayed(&self, node: usize) -> usize {
        self.nodes[node].engine.transit_count()
    }

    pub fn persisted(&self, node: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.nodes[node].kept.clone().into_iter()
    }

    /// An engine with the node's links and no other state.
    pub fn fresh(&self, node: usize) -> Engine {
        let mut engine = Engine::default();
        for (link, other) in &self.nodes[node].links {
            engine.add_link(*link, self.nodes[*other].address);
        }
        engine
    }

    /// The only path end at this node, if there is exactly one.
    pub fn end_at(&self, node: usize) -> Option<PathNumber> {
        let mut ends = self.nodes[node].kernel.ends.keys();
        ends.next().copied().filter(|_| ends.next().is_none())
    }

    /// Sends a packet from the end `path` at `node`. Returns the end where it arrives, or the node
    /// that drops it.
    pub fn carry(&self, node: usize, path: PathNumber) -> Result<(usize, PathNumber), usize> {
        let far = self.nodes[node].kernel.ends.get(&path).ok_or(node)?.outer().1;
        let (label, link) = *self.nodes[node].kernel.pushes.get(&far).ok_or(node)?;
        let (mut from, mut at) = (node, *self.nodes[node].links.get(&link).ok_or(node)?);
        let mut label = label;
        for _ in 0..64 {
            let kernel = &self.nodes[at].kernel;
            if !kernel.lets.contains(&(LinkNumber(from as u16), label)) {
                return Err(at);
            }
            match kernel.labels.get(&label).ok_or(at)? {
                Then::Swap(to, by) => {
                    label = *to;
                    (from, at) = (at, *self.nodes[at].links.get(by).ok_or(at)?);
                }
                Then::Pop => {
                    let mut ends = kernel.ends.iter();
                    let end = ends.find(|(_, path_end)| path_end.outer().0 == far).ok_or(at)?;
                    return Ok((at, *end.0));
                }
            }
        }
        panic!("it goes round and round");
    }

    /// Whether no state of any path is left, except the last assigned number.
    pub fn is_clean(&self, node: usize) -> bool {
        let Node { kernel, engine, kept, .. } = &self.nodes[node];
        kernel.lets.is_empty()
            && kernel.counted.is_empty()
            && kernel.bounds.is_empty()
            && kept.keys().all(|name| name == LAST_NUMBER)
            && kernel.labels.is_empty()
            && kernel.ends.is_empty()
            && engine.transit_count() == 0
    }
}

/// The onion key of a node.
pub fn key(node: usize) -> [u8; 32] {
    *secret(node).public()
}

/// The message with one flipped bit in a part that the source or the hops have sealed. Labels of
/// the neighbour itself are not altered: a wrong one only breaks the neighbour's own path.
pub fn altered(message: &LinkMessage, seed: u64) -> LinkMessage {
    let mut bytes = message.to_bytes();
    let plain = 14 * 8;
    let bit = plain + seed as usize % (bytes.len() * 8).saturating_sub(plain).max(1);
    if bit / 8 >= bytes.len() {
        return message.clone();
    }
    bytes[bit / 8] ^= 1 << (bit % 8);
    LinkMessage::from_bytes(&bytes).unwrap_or_else(|| message.clone())
}
