//! Which boards are to have a copy of an object, or a shard. Each board decides it for itself, from what the others have
//! said, and all come to the same result if they know the same. Nothing here waits or asks, so tests give it any time.

mod shards;

pub use shards::{KeptShards, KnownManifest, ShardGoal};

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use iroh_blobs::Hash;

use super::message::{KeepAnswer, KeptReport, KeptState};

/// How many other boards have to say that they have reached a board, for it to count as alive: one alone could lie.
const WITNESSES: usize = 2;

/// The times after which something is concluded.
#[derive(Debug, Clone, Copy)]
pub struct KeepTimes {
    /// A board that nobody has reached for so long is dead: its copies are made anew.
    pub dead: Duration,
    /// An answer is believed for so long.
    pub recent: Duration,
    /// A board that has all of an object, and is to make shards of it, has so long before the next one does.
    pub turn: Duration,
}

/// A node of the membership map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepMember {
    pub number: u8,
    /// Its key: a new one is another node.
    pub key: [u8; 32],
    /// Whether other nodes can fetch from it. That of the router has no address.
    pub is_holder: bool,
    /// Whether an operator has drained it: it gets nothing new, and what it has is moved.
    pub is_drained: bool,
}

/// How an object is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepGoal {
    /// By so many copies.
    Copies(u8),
    Shards(ShardGoal),
}

/// What is to be done on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepStep {
    /// Fetch it, and then pin it.
    Fetch(Hash),
    Pin(Hash),
    /// The others have it: unpin it.
    Unpin(Hash),
    /// Compute the manifest of the object from the copy here.
    Prove(Hash),
    /// See whether the shards of the manifest give the object.
    Check(Hash),
    /// Fetch the shard with this index, and then pin it.
    TakeShard(Hash, u8),
    /// Make the shards of this set, of the object or of others, and pin them.
    MakeShards(Hash, u32),
    /// The others have the shards of this set: unpin them.
    DropShards(Hash, u32),
}

impl KeepStep {
    /// The object that it is for.
    pub fn object(&self) -> Hash {
        match self {
            Self::Fetch(hash)
            | Self::Pin(hash)
            | Self::Unpin(hash)
            | Self::Prove(hash)
            | Self::Check(hash)
            | Self::TakeShard(hash, _)
            | Self::MakeShards(hash, _)
            | Self::DropShards(hash, _) => *hash,
        }
    }
}

/// Where the copies of an object are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptCopies {
    /// The boards that keep it.
    pub kept: Vec<u8>,
    /// The boards that have it too, and may evict it.
    pub loose: Vec<u8>,
    /// The boards without room for it.
    pub no_room: Vec<u8>,
    /// The boards that are to keep it, and do not yet.
    pub lacking: Vec<u8>,
}

#[derive(Debug, Clone)]
struct OtherNode {
    member: KeepMember,
    /// When it came into the map.
    added: Duration,
    /// When this node and it last spoke, whoever began.
    reached: Option<Duration>,
    /// When it last said what it has.
    answered: Option<Duration>,
    /// When others say that they have reached it, by their numbers.
    witnesses: BTreeMap<u8, Duration>,
    reports: HashMap<Hash, KeptReport>,
    /// Since when it has all of an object.
    whole_since: HashMap<Hash, Duration>,
}

/// What this node knows of the others. Times are those since any fixed moment.
#[derive(Debug, Clone)]
pub struct KeepView {
    times: KeepTimes,
    own: KeepMember,
    others: BTreeMap<u8, OtherNode>,
    /// When the settings changed.
    changed: Duration,
}

impl KeepView {
    pub fn new(times: KeepTimes, own: KeepMember) -> Self {
        Self { times, own, others: BTreeMap::new(), changed: Duration::ZERO }
    }

    /// The settings have changed: each board gets its turn anew.
    pub fn settings_changed(&mut self, now: Duration) {
        self.changed = now;
    }

    pub fn own(&self) -> u8 {
        self.own.number
    }

    /// Takes over the membership map. A node that is new there counts as reached `now`.
    pub fn set_members(&mut self, members: &[KeepMember], now: Duration) {
        let is_there = |number: u8, key: [u8; 32]| {
            members.iter().any(|member| member.number == number && member.key == key)
        };
        self.others.retain(|number, other| is_there(*number, other.member.key));
        for member in members {
            if member.key == self.own.key {
                self.own = *member;
                continue;
            }
            let new = || OtherNode {
                member: *member,
                added: now,
                reached: None,
                answered: None,
                witnesses: BTreeMap::new(),
                reports: HashMap::new(),
                whole_since: HashMap::new(),
            };
            self.others.entry(member.number).or_insert_with(new).member = *member;
        }
    }

    /// A node has asked this one.
    pub fn reached(&mut self, number: u8, now: Duration) {
        if let Some(other) = self.others.get_mut(&number) {
            other.reached = Some(now);
        }
    }

    /// A node has answered what it has of `objects`.
    pub fn answered(&mut self, number: u8, objects: &[Hash], answer: &KeepAnswer, now: Duration) {
        let Some(other) = self.others.get_mut(&number) else { return };
        (other.reached, other.answered) = (Some(now), Some(now));
        other.reports = objects.iter().copied().zip(answer.objects.iter().copied()).collect();
        // Whoever says that it lacks the object, and has it again, gets no other turn.
        other.whole_since.retain(|hash, _| other.reports.contains_key(hash));
        for (hash, _) in other.reports.iter().filter(|(_, report)| report.state.is_here()) {
            other.whole_since.entry(*hash).or_insert(now);
        }
        for (of, seconds) in &answer.reached {
            if let Some(it) = self.others.get_mut(of).filter(|_| *of != number) {
                it.witnesses
                    .insert(number, now.saturating_sub(Duration::from_secs((*seconds).into())));
            }
        }
    }

    /// The nodes that this one has reached, and how many seconds ago.
    pub fn reached_nodes(&self, now: Duration) -> Vec<(u8, u32)> {
        let age = |at| now.saturating_sub(at).as_secs().try_into().unwrap_or(u32::MAX);
        let all = self.others.iter();
        all.filter_map(|(number, other)| Some((*number, age(other.reached?)))).collect()
    }

    /// Whether this node reaches more than half of the map, itself included: the other half of a box that is split
    /// repairs nothing.
    pub fn has_majority(&self, now: Duration) -> bool {
        let reached = self.others.values().filter(|it| self.is_recent(it.reached, now)).count();
        2 * (reached + 1) > self.others.len() + 1
    }

    /// The nodes that count as dead: nobody whom this node reaches has reached them for long.
    pub fn dead(&self, now: Duration) -> Vec<u8> {
        let dead = self.others.values().filter(|other| self.is_dead(other, now));
        dead.map(|other| other.member.number).collect()
    }

    fn is_recent(&self, at: Option<Duration>, now: Duration) -> bool {
        at.is_some_and(|at| now.saturating_sub(at) < self.times.recent)
    }

    fn is_dead(&self, other: &OtherNode, now: Duration) -> bool {
        let is_old = |at: Duration| now.saturating_sub(at) >= self.times.dead;
        let witnesses = other.witnesses.iter().filter(|(by, at)| {
            let is_reached = self.others.get(*by).is_some_and(|by| self.is_recent(by.reached, now));
            is_reached && !is_old(**at)
        });
        is_old(other.reached.unwrap_or(other.added))
            && witnesses.count() < WITNESSES
            && self.has_majority(now)
    }

    fn copy_at(&self, board: u8, hash: &Hash, own: KeptState) -> KeptState {
        if board == self.own.number {
            return own;
        }
        let other = self.others.get(&board);
        other.and_then(|other| other.reports.get(hash)).map_or(KeptState::Absent, |it| it.state)
    }

    /// The boards that are to have a copy: the first `copies` in an order that depends on the object and the numbers only
    /// (rendezvous hashing), so that few objects move when a board comes or goes.
    fn wanted(&self, hash: &Hash, copies: u8, own: KeptState, now: Duration) -> Vec<u8> {
        let is_alive = |other: &&OtherNode| !self.is_dead(other, now);
        let others = self.others.values().filter(is_alive).map(|other| other.member);
        let mut boards: Vec<u8> = others
            .chain([self.own])
            .filter(|member| member.is_holder && !member.is_drained)
            .map(|member| member.number)
            .filter(|board| self.copy_at(*board, hash, own) != KeptState::NoRoom)
            .collect();
        boards.sort_by_key(|board| Reverse(rank(hash, *board)));
        boards.truncate(copies.into());
        boards
    }

    /// What is to be done here for the objects of `kept`, the object that is lost with the fewest boards first.
    pub fn steps(
        &self,
        kept: &[(Hash, KeepGoal)],
        own: impl Fn(&Hash) -> KeptReport,
        now: Duration,
    ) -> Vec<KeepStep> {
        let mut steps = vec![];
        for (hash, goal) in kept {
            let own = own(hash);
            match goal {
                KeepGoal::Copies(copies) => {
                    steps.extend(self.copy_step(hash, *copies, own.state, now));
                }
                KeepGoal::Shards(goal) => steps.extend(self.shard_steps(hash, goal, &own, now)),
            }
        }
        steps.sort_by_key(|(spare, _)| *spare);
        steps.into_iter().map(|(_, step)| step).collect()
    }

    /// A step, and the number of copies.
    fn copy_step(
        &self,
        hash: &Hash,
        copies: u8,
        own: KeptState,
        now: Duration,
    ) -> Option<(usize, KeepStep)> {
        let wanted = self.wanted(hash, copies, own, now);
        let step = match (wanted.contains(&self.own.number), own) {
            (true, KeptState::Absent) => KeepStep::Fetch(*hash),
            (true, KeptState::Loose) => KeepStep::Pin(*hash),
            // Others keep it for sure, and as many as are to keep it.
            (false, KeptState::Kept) if self.has_copies(hash, copies, own, now) => {
                KeepStep::Unpin(*hash)
            }
            _ => return None,
        };
        let [kept, loose] = [KeptState::Kept, KeptState::Loose]
            .map(|state| self.boards_with(hash, state, own, now).len());
        Some((kept + loose, step))
    }

    /// Whether as many boards as are to keep it do.
    fn has_copies(&self, hash: &Hash, copies: u8, own: KeptState, now: Duration) -> bool {
        let wanted = self.wanted(hash, copies, own, now);
        let kept = self.boards_with(hash, KeptState::Kept, own, now);
        wanted.len() == usize::from(copies) && wanted.iter().all(|board| kept.contains(board))
    }

    /// Whether all is where it is to be.
    pub fn is_complete(
        &self,
        hash: &Hash,
        goal: &KeepGoal,
        own: &KeptReport,
        now: Duration,
    ) -> bool {
        match goal {
            KeepGoal::Copies(copies) => self.has_copies(hash, *copies, own.state, now),
            KeepGoal::Shards(goal) => self.shards(hash, goal, own, now).is_placed,
        }
    }

    /// The number of nodes that can have a copy.
    pub fn holders(&self) -> usize {
        let others = self.others.values().map(|other| &other.member);
        others.chain([&self.own]).filter(|member| member.is_holder).count()
    }

    /// The size that another board says that the object has: the smallest, if they do not agree.
    pub fn reported_size(&self, hash: &Hash, now: Duration) -> Option<u64> {
        let others = self.others.values().filter(|it| self.is_recent(it.answered, now));
        others.filter_map(|it| it.reports.get(hash)?.size).min()
    }

    /// The manifests that others have of the object, that of most boards first.
    pub fn reported_manifests(&self, hash: &Hash, now: Duration) -> Vec<Hash> {
        let mut counts: BTreeMap<Hash, usize> = BTreeMap::new();
        for other in self.others.values().filter(|it| self.is_recent(it.answered, now)) {
            if let Some(shards) = other.reports.get(hash).and_then(|report| report.shards) {
                *counts.entry(Hash::from_bytes(shards.manifest)).or_default() += 1;
            }
        }
        let mut found: Vec<_> = counts.into_iter().collect();
        found.sort_by_key(|(_, count)| Reverse(*count));
        found.into_iter().map(|(manifest, _)| manifest).collect()
    }

    /// Whether another board has all of it.
    pub fn is_somewhere(&self, hash: &Hash, now: Duration) -> bool {
        let others = self.others.values().filter(|it| self.is_recent(it.answered, now));
        others.into_iter().any(|it| it.reports.get(hash).is_some_and(|it| it.state.is_here()))
    }

    /// The boards that have said so lately, this one included, in the order of their numbers.
    fn boards_with(&self, hash: &Hash, state: KeptState, own: KeptState, now: Duration) -> Vec<u8> {
        let others = self.others.values().filter(|it| self.is_recent(it.answered, now));
        let others = others.map(|other| other.member.number);
        let with = others.chain([self.own.number]);
        let mut with: Vec<u8> = with.filter(|it| self.copy_at(*it, hash, own) == state).collect();
        with.sort_unstable();
        with
    }

    /// Where the copies of an object are. Boards that have not answered lately do not count.
    pub fn copies(&self, hash: &Hash, copies: u8, own: KeptState, now: Duration) -> KeptCopies {
        let [kept, loose, no_room] = [KeptState::Kept, KeptState::Loose, KeptState::NoRoom]
            .map(|state| self.boards_with(hash, state, own, now));
        let mut lacking = self.wanted(hash, copies, own, now);
        lacking.retain(|board| !kept.contains(board));
        lacking.sort_unstable();
        KeptCopies { kept, loose, no_room, lacking }
    }
}

/// The place of a board in the order for an object: the highest is the first. A hash is as good as random, so its first
/// bytes and the board's number only have to be mixed (the finalizer of SplitMix64).
fn rank(hash: &Hash, board: u8) -> u64 {
    let [first, ..] = hash.as_bytes().as_chunks().0 else { return 0 };
    let mut mixed =
        u64::from_be_bytes(*first) ^ u64::from(board).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
