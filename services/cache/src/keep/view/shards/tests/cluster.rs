//! Eight boards and the router with simulated disks, connections and time. Objects are in 5 + 3 shards.

use std::collections::HashMap;

use super::super::super::{KeepGoal, KeepMember, KeepTimes};
use super::super::*;
use crate::keep::manifest::{ShardLayout, ShardManifest};
use crate::keep::message::{HeldShards, KeepAnswer};
use crate::keep::registry::ManifestRegistry;

pub const BOARDS: u8 = 8;
const ROUTER: u8 = 0;
pub const LAYOUT: ShardLayout = ShardLayout { data: 5, parity: 3, block: 64 };
const SIZE: u64 = 1 << 20;

/// Boards ask each other every ten minutes here: the more often, the longer a test takes.
pub const PAUSE: Duration = Duration::from_secs(10 * 60);
pub const TIMES: KeepTimes = KeepTimes {
    dead: Duration::from_secs(60 * 60),
    recent: Duration::from_secs(15 * 60),
    turn: Duration::from_secs(15 * 60),
};

/// After so many looks a board is dead, and what it had is somewhere else.
pub const REPAIRED: usize = 12;

fn object(number: u64) -> Hash {
    Hash::new(number.to_be_bytes())
}

/// The manifest of an object; the right one has the variant 0.
fn manifest(object: Hash, variant: u8) -> ShardManifest {
    let shard = |index| Hash::new([object.as_bytes(), &[variant, index][..]].concat());
    ShardManifest { object, size: SIZE, layout: LAYOUT, shards: (0..8).map(shard).collect() }
}

/// How a board lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It has all shards of another manifest.
    Manifest,
    /// It has all shards.
    Shards,
    /// It has the object.
    Whole,
}

#[derive(Clone)]
pub struct Node {
    pub member: KeepMember,
    pub view: KeepView,
    pub whole: HashMap<Hash, KeptState>,
    /// The shards that are pinned, of the right manifests.
    pub held: HashMap<Hash, u32>,
    pub manifests: ManifestRegistry,
    pub is_on: bool,
    /// Which part of a split box it is in.
    pub side: u8,
    pub has_room: bool,
    pub lie: Option<Lie>,
}

#[derive(Clone)]
pub struct Cluster {
    pub now: Duration,
    pub nodes: Vec<Node>,
    pub objects: Vec<Hash>,
    /// The right manifest of each object, and the one of a liar.
    pub manifests: HashMap<Hash, ShardManifest>,
    pub hashes: HashMap<Hash, Hash>,
    /// The number of shards that went over the network.
    pub moved: usize,
    /// The number of changes on disks until the power of all nodes fails once.
    pub until_cut: Option<usize>,
}

/// The power has failed.
#[derive(Debug)]
struct PowerCut;

impl Cluster {
    /// Each object is on one of the boards from 1 to `boards`, where an operator has added it.
    pub fn new(objects: u64, boards: u8) -> Self {
        let nodes = (ROUTER..=BOARDS)
            .map(|number| Node { is_on: number <= boards, ..empty(number, number) });
        let mut cluster = Self {
            now: PAUSE,
            nodes: nodes.collect(),
            objects: (0..objects).map(object).collect(),
            manifests: HashMap::new(),
            hashes: HashMap::new(),
            moved: 0,
            until_cut: None,
        };
        for number in 0..objects {
            let (object, board) = (object(number), 1 + number as usize % usize::from(boards));
            cluster.nodes[board].whole.insert(object, KeptState::Loose);
            for variant in 0..2 {
                let manifest = manifest(object, variant);
                if variant == 0 {
                    cluster.hashes.insert(object, manifest.hash());
                }
                cluster.manifests.insert(manifest.hash(), manifest);
            }
        }
        cluster
    }

    /// The same once all shards are made, each on a board of its own, and no whole copy is pinned.
    pub fn settled(objects: u64) -> Self {
        let mut cluster = Self::new(objects, BOARDS);
        cluster.settle(8);
        cluster.evict();
        cluster
    }

    fn settle(&mut self, looks: usize) {
        self.run(looks);
        for hash in &self.objects {
            assert_eq!(self.boards(hash), [1; 8], "{hash}");
        }
        for node in &self.nodes {
            assert!(node.whole.values().all(|it| *it == KeptState::Loose));
        }
        self.moved = 0;
    }

    /// Room is needed everywhere.
    pub fn evict(&mut self) {
        for node in &mut self.nodes {
            node.whole.retain(|_, state| *state == KeptState::Kept);
        }
    }

    pub fn node(&mut self, number: u8) -> &mut Node {
        &mut self.nodes[usize::from(number)]
    }

    pub fn report(&self, index: usize, hash: &Hash) -> KeptReport {
        let node = &self.nodes[index];
        let none = if node.has_room { KeptState::Absent } else { KeptState::NoRoom };
        let state = node.whole.get(hash).copied().unwrap_or(none);
        let right = self.hashes[hash];
        let lie = |manifest: Hash| HeldShards { manifest: *manifest.as_bytes(), held: 0xff };
        let (state, shards) = match node.lie {
            Some(Lie::Manifest) => (state, Some(lie(manifest(*hash, 1).hash()))),
            Some(Lie::Shards) => (state, Some(lie(right))),
            Some(Lie::Whole) => (KeptState::Kept, None),
            None => {
                let known = node.manifests.best(hash, Some(LAYOUT)).map(|(hash, _)| hash);
                let shards = known.map(|known| {
                    let held = node.held.get(hash).copied().unwrap_or_default();
                    let held = if known == right { held } else { 0 };
                    HeldShards { manifest: *known.as_bytes(), held }
                });
                (state, shards)
            }
        };
        KeptReport { state, size: state.is_here().then_some(SIZE), shards }
    }

    pub fn goals(&self, index: usize) -> Vec<(Hash, KeepGoal)> {
        let node = &self.nodes[index];
        let goal = |hash: &Hash| {
            let size = node.view.reported_size(hash, self.now);
            let manifest = node.manifests.known(hash, LAYOUT, size);
            let goal = ShardGoal { data: LAYOUT.data, parity: LAYOUT.parity, manifest };
            (*hash, KeepGoal::Shards(goal))
        };
        self.objects.iter().map(goal).collect()
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        let [from, to] = [from, to].map(|it| &self.nodes[it]);
        from.is_on && to.is_on && from.side == to.side
    }

    /// The boards with each shard, of those that are on and speak the truth.
    pub fn boards(&self, hash: &Hash) -> [usize; 8] {
        let mut counts = [0; 8];
        for node in self.nodes.iter().filter(|node| node.is_on && node.lie.is_none()) {
            let held = node.held.get(hash).copied().unwrap_or_default();
            (0..8)
                .filter(|index| held & bit(*index) != 0)
                .for_each(|it| counts[usize::from(it)] += 1);
        }
        counts
    }

    fn is_readable(&self, hash: &Hash) -> bool {
        let is_whole = |node: &Node| node.is_on && node.whole.contains_key(hash);
        let shards = self.boards(hash).iter().filter(|count| **count > 0).count();
        shards >= LAYOUT.data.into() || self.nodes.iter().any(is_whole)
    }

    pub fn all_readable(&self) -> bool {
        self.objects.iter().all(|hash| self.is_readable(hash))
    }

    /// All nodes look once.
    pub fn look(&mut self) {
        self.now += PAUSE;
        let members: Vec<_> = self.nodes.iter().map(|node| node.member).collect();
        let (objects, now) = (self.objects.clone(), self.now);
        for from in 0..self.nodes.len() {
            self.nodes[from].view.set_members(&members, now);
            // Nobody asks the router, which has no address in the map.
            for to in (1..self.nodes.len()).filter(|to| *to != from) {
                if !self.reaches(from, to) {
                    continue;
                }
                let reports = objects.iter().map(|hash| self.report(to, hash)).collect();
                self.nodes[to].view.reached(from as u8, now);
                let reached = self.nodes[to].view.reached_nodes(now);
                let answer = KeepAnswer { objects: reports, reached };
                self.nodes[from].view.answered(to as u8, &objects, &answer, now);
            }
        }
        for index in 0..self.nodes.len() {
            if self.nodes[index].is_on && self.act(index).is_err() {
                for node in &mut self.nodes {
                    node.view = KeepView::new(TIMES, node.member);
                    // What was proved is not on the disk.
                    let known: Vec<_> = node.manifests.all().map(|(_, it)| it.clone()).collect();
                    node.manifests = ManifestRegistry::default();
                    known.into_iter().for_each(|it| node.manifests.adopt(it, false));
                }
                return;
            }
        }
    }

    fn act(&mut self, index: usize) -> Result<(), PowerCut> {
        if self.nodes[index].lie.is_some() {
            return Ok(());
        }
        for hash in self.objects.clone() {
            let reported = self.nodes[index].view.reported_manifests(&hash, self.now);
            let next = self.nodes[index].manifests.next(&hash, Some(LAYOUT), &reported);
            if let Some(manifest) = next.map(|next| self.manifests[&next].clone()) {
                self.nodes[index].manifests.adopt(manifest, false);
                self.change()?;
            }
        }
        let goals = self.goals(index);
        let steps = self.nodes[index].view.steps(&goals, |it| self.report(index, it), self.now);
        for step in steps {
            let hash = step.object();
            match step {
                KeepStep::Pin(_) => self.set_whole(index, hash, KeptState::Kept)?,
                KeepStep::Unpin(_) => {
                    self.assert_spread(&hash);
                    self.set_whole(index, hash, KeptState::Loose)?;
                }
                // Nobody but a liar has it.
                KeepStep::Fetch(_) => {}
                KeepStep::Prove(_) => {
                    assert!(self.nodes[index].whole.contains_key(&hash));
                    self.nodes[index].manifests.adopt(manifest(hash, 0), true);
                    self.change()?;
                }
                KeepStep::Check(_) => self.check(index, hash),
                KeepStep::TakeShard(_, shard) => {
                    let found = self.reached_held(index, &hash) & bit(shard) != 0;
                    match found {
                        true => {
                            self.moved += 1;
                            self.add_shards(index, hash, bit(shard))?;
                        }
                        false => self.make(index, hash, bit(shard))?,
                    }
                }
                KeepStep::MakeShards(_, set) => self.make(index, hash, set)?,
                KeepStep::DropShards(_, set) => {
                    let left = self.boards(&hash);
                    let dropped = (0..8).filter(|shard| set & bit(*shard) != 0);
                    let is_last = |shard: u8| left[usize::from(shard)] < 2;
                    let liars = self.nodes.iter().any(|node| node.lie == Some(Lie::Shards));
                    assert!(liars || !dropped.clone().any(is_last), "the last one is dropped");
                    *self.nodes[index].held.entry(hash).or_default() &= !set;
                    self.change()?;
                }
            }
        }
        Ok(())
    }

    /// No board alone has more shards than its share, so that others are not lost with it.
    fn assert_spread(&self, hash: &Hash) {
        let counts = self.boards(hash);
        let liars = self.nodes.iter().filter(|node| node.lie.is_some()).count();
        let missing = counts.iter().filter(|count| **count == 0).count();
        assert!(missing <= liars, "{hash}: {counts:?}");
        let boards = self.nodes[1..].iter().filter(|node| node.is_on && node.has_room).count();
        for node in self.nodes.iter().filter(|node| node.is_on) {
            let held = node.held.get(hash).copied().unwrap_or_default();
            let only_here =
                (0..8).filter(|it| held & bit(*it) != 0 && counts[usize::from(*it)] == 1);
            assert!(only_here.count() <= counts.len().div_ceil(boards), "{hash}: {counts:?}");
        }
    }

    /// The shards of other boards that really are there.
    fn reached_held(&self, index: usize, hash: &Hash) -> u32 {
        let boards = (0..self.nodes.len()).filter(|to| *to != index && self.reaches(index, *to));
        let boards = boards.map(|to| &self.nodes[to]).filter(|node| node.lie.is_none());
        boards.fold(0, |all, node| all | node.held.get(hash).copied().unwrap_or_default())
    }

    /// Makes shards of the object or of others, as [`ObjectKeeper`](crate::keep::ObjectKeeper) does.
    fn make(&mut self, index: usize, hash: Hash, set: u32) -> Result<(), PowerCut> {
        let node = &self.nodes[index];
        let is_right =
            node.manifests.best(&hash, Some(LAYOUT)).map(|it| it.0) == Some(self.hashes[&hash]);
        let own = node.held.get(&hash).copied().unwrap_or_default();
        if !node.whole.contains_key(&hash) {
            let others = self.reached_held(index, &hash) & !own;
            let is_whole =
                |to: usize| self.reaches(index, to) && self.nodes[to].whole.contains_key(&hash);
            if (own | others).count_ones() < LAYOUT.data.into() && !(1..=8).any(is_whole) {
                return Ok(());
            }
            self.moved += usize::from(LAYOUT.data).saturating_sub(own.count_ones() as usize);
        }
        if is_right { self.add_shards(index, hash, set) } else { Ok(()) }
    }

    fn check(&mut self, index: usize, hash: Hash) {
        let (used, _) = self.nodes[index].manifests.best(&hash, Some(LAYOUT)).unwrap();
        let own = self.nodes[index].held.get(&hash).copied().unwrap_or_default();
        let here = (self.reached_held(index, &hash) | own).count_ones();
        let manifests = &mut self.nodes[index].manifests;
        match used == self.hashes[&hash] {
            true if here >= LAYOUT.data.into() => manifests.adopt(manifest(hash, 0), true),
            true => manifests.put_last(&hash, used),
            false => manifests.refuse(&hash, used),
        }
    }

    fn add_shards(&mut self, index: usize, hash: Hash, set: u32) -> Result<(), PowerCut> {
        for shard in (0..8).filter(|shard| set & bit(*shard) != 0) {
            *self.nodes[index].held.entry(hash).or_default() |= bit(shard);
            self.change()?;
        }
        Ok(())
    }

    fn set_whole(&mut self, index: usize, hash: Hash, next: KeptState) -> Result<(), PowerCut> {
        self.nodes[index].whole.insert(hash, next);
        self.change()
    }

    /// A disk has changed.
    fn change(&mut self) -> Result<(), PowerCut> {
        self.until_cut = self.until_cut.map(|left| left.saturating_sub(1));
        if self.until_cut == Some(0) {
            self.until_cut = None;
            return Err(PowerCut);
        }
        Ok(())
    }

    pub fn run(&mut self, looks: usize) {
        for _ in 0..looks {
            self.look();
        }
    }

    /// What a repair has to move at least: `data` shards for each board that makes one.
    pub fn optimum(&self) -> usize {
        let lost = |hash: &Hash| self.boards(hash).iter().filter(|count| **count == 0).count();
        self.objects.iter().map(|hash| usize::from(LAYOUT.data) * lost(hash)).sum()
    }

    /// What a board that speaks the truth shows of the object.
    pub fn shown(&self, index: usize, hash: &Hash) -> KeptShards {
        let goals = self.goals(index);
        let goal = goals.iter().find(|(of, _)| of == hash);
        let Some((_, KeepGoal::Shards(goal))) = goal else { panic!("{hash}") };
        self.nodes[index].view.shards(hash, goal, &self.report(index, hash), self.now)
    }
}

pub fn empty(number: u8, key: u8) -> Node {
    let is_holder = number != ROUTER;
    let member = KeepMember { number, key: [key; 32], is_holder, is_drained: false };
    Node {
        member,
        view: KeepView::new(TIMES, member),
        whole: HashMap::new(),
        held: HashMap::new(),
        manifests: ManifestRegistry::default(),
        is_on: true,
        side: 0,
        has_room: true,
        lie: None,
    }
}

pub fn triples() -> Vec<[u8; 3]> {
    let mut triples = vec![];
    for first in 1..=BOARDS {
        for second in first + 1..=BOARDS {
            triples.extend((second + 1..=BOARDS).map(|third| [first, second, third]));
        }
    }
    assert_eq!(triples.len(), 56);
    triples
}

pub fn without(cluster: &Cluster, boards: &[u8]) -> Cluster {
    let mut cluster = cluster.clone();
    for board in boards {
        cluster.node(*board).is_on = false;
    }
    cluster
}
