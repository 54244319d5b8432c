//! Which boards are to have which shards of an object.
//!
//! A board keeps the shards that it has as long as no board has more of them than it has to, so few move when a board
//! comes or goes. With fewer boards than shards some boards have several.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use iroh_blobs::Hash;

use super::super::message::{KeptReport, KeptState};
use super::{KeepStep, KeepView, OtherNode, rank};

/// An object that is to be kept in shards: any `data` of `data + parity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardGoal {
    pub data: u8,
    pub parity: u8,
    /// `None` as long as this node knows no manifest of such shards.
    pub manifest: Option<KnownManifest>,
}

/// A manifest that this node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownManifest {
    pub hash: Hash,
    /// This node has made it, or seen that its shards give the object.
    pub is_proved: bool,
    /// Another board has another manifest of the object.
    pub is_disputed: bool,
}

/// Where the shards of an object are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptShards {
    /// The boards that have pinned each shard, by its index.
    pub boards: Vec<Vec<u8>>,
    /// The boards that are to have a shard, and have not pinned it yet.
    pub lacking: Vec<u8>,
    /// The boards that have all of the object.
    pub whole: Vec<u8>,
    /// The boards that have no room for it.
    pub no_room: Vec<u8>,
    /// Whether the shards and copies that are reached give the object.
    pub is_readable: bool,
    /// Whether each shard is pinned at the board that is to have it.
    pub is_placed: bool,
    /// Whether any `parity` boards may be lost then: a board may have several shards.
    pub is_safe: bool,
}

/// A board that may have shards.
struct ShardHolder {
    number: u8,
    held: u32,
    has_room: bool,
}

impl ShardGoal {
    fn count(&self) -> u8 {
        self.data.saturating_add(self.parity)
    }

    fn indices(&self) -> impl Iterator<Item = u8> + use<> {
        0..self.count()
    }

    /// The set of all shards.
    fn all(&self) -> u32 {
        self.indices().fold(0, |set, index| set | bit(index))
    }
}

fn bit(index: u8) -> u32 {
    1u32.checked_shl(index.into()).unwrap_or(0)
}

impl KeepView {
    /// The shards of `manifest` that other boards have pinned, by their numbers.
    fn held_by_others<'a>(
        &'a self,
        hash: &'a Hash,
        manifest: &'a Hash,
        is_wanted: impl Fn(&OtherNode) -> bool + 'a,
    ) -> impl Iterator<Item = (u8, u32)> + 'a {
        let others = self.others.values().filter(move |it| is_wanted(it));
        others.filter_map(move |other| {
            let held = other.reports.get(hash)?.held(manifest);
            Some((other.member.number, held))
        })
    }

    /// The shards that other boards have pinned, of those that have answered lately.
    pub fn reached_shards(&self, hash: &Hash, manifest: &Hash, now: Duration) -> u32 {
        let is_recent = |other: &OtherNode| self.is_recent(other.answered, now);
        let reached = self.held_by_others(hash, manifest, is_recent);
        reached.fold(0, |all, (_, held)| all | held)
    }

    /// The boards that are to have the shards, by their indices; none if no board can have any.
    ///
    /// What a board has stays there, up to its share. The other shards go to the boards with the fewest, of these to the
    /// one with the highest rank for the object and the shard.
    fn assigned(&self, hash: &Hash, goal: &ShardGoal, own: &KeptReport, now: Duration) -> Vec<u8> {
        let Some(manifest) = goal.manifest else { return vec![] };
        let is_alive = |other: &&OtherNode| !self.is_dead(other, now);
        let others = self
            .others
            .values()
            .filter(is_alive)
            .map(|other| (other.member, other.reports.get(hash).copied().unwrap_or_default()));
        let boards = others.chain([(self.own, *own)]);
        let boards = boards.filter(|(member, _)| member.is_holder && !member.is_drained);
        let boards = boards.map(|(member, report)| ShardHolder {
            number: member.number,
            held: report.held(&manifest.hash) & goal.all(),
            has_room: report.state != KeptState::NoRoom,
        });
        // A board without room keeps what it has.
        let boards: Vec<ShardHolder> = boards.filter(|it| it.has_room || it.held != 0).collect();
        if !boards.iter().any(|board| board.has_room) {
            return vec![];
        }
        let share = usize::from(goal.count()) / boards.len();
        // So many boards have one more.
        let mut more = usize::from(goal.count()) % boards.len();
        let mut counts: BTreeMap<u8, usize> = boards.iter().map(|it| (it.number, 0)).collect();
        let mut assigned: BTreeMap<u8, u8> = BTreeMap::new();
        let holders = |index: u8| boards.iter().filter(move |it| it.held & bit(index) != 0);
        // A shard that one board has must stay there; one that several have can stay at any of them.
        let mut rare_first: Vec<u8> = goal.indices().collect();
        rare_first.sort_by_key(|index| holders(*index).count());
        for is_extra in [false, true] {
            for index in &rare_first {
                if assigned.contains_key(index) || (is_extra && more == 0) {
                    continue;
                }
                let has_place =
                    |it: &&ShardHolder| counts[&it.number] < share + usize::from(is_extra);
                let by = |it: &&ShardHolder| {
                    (Reverse(counts[&it.number]), shard_rank(hash, *index, it.number))
                };
                let best = holders(*index).filter(has_place).max_by_key(by).map(|it| it.number);
                if let Some(board) = best {
                    assigned.insert(*index, board);
                    *counts.entry(board).or_default() += 1;
                    more -= usize::from(is_extra);
                }
            }
        }
        for index in
            goal.indices().filter(|index| !assigned.contains_key(index)).collect::<Vec<_>>()
        {
            let by = |it: &&ShardHolder| {
                (Reverse(counts[&it.number]), shard_rank(hash, index, it.number))
            };
            let with_room = boards.iter().filter(|it| it.has_room);
            if let Some(board) = with_room.max_by_key(by).map(|it| it.number) {
                assigned.insert(index, board);
                *counts.entry(board).or_default() += 1;
            }
        }
        assigned.into_values().collect()
    }

    /// What is to be done here for an object in shards, with the number of boards that may be lost, and one.
    pub(super) fn shard_steps(
        &self,
        hash: &Hash,
        goal: &ShardGoal,
        own: &KeptReport,
        now: Duration,
    ) -> Vec<(usize, KeepStep)> {
        let is_whole = own.state.is_here();
        let Some(manifest) = goal.manifest else {
            return self.begin(hash, own, now).into_iter().map(|step| (1, step)).collect();
        };
        let is_recent = |other: &OtherNode| self.is_recent(other.answered, now);
        let held = own.held(&manifest.hash) & goal.all();
        let reached: BTreeMap<u8, u32> = self
            .held_by_others(hash, &manifest.hash, is_recent)
            .chain([(self.own.number, held)])
            .collect();
        let here = reached.values().fold(0, |set, held| set | held) & goal.all();
        let spare = (here.count_ones() as usize + 1).saturating_sub(goal.data.into());
        if manifest.is_disputed && !manifest.is_proved {
            let step = if is_whole { KeepStep::Prove(*hash) } else { KeepStep::Check(*hash) };
            let pin = (own.state == KeptState::Loose).then_some(KeepStep::Pin(*hash));
            return pin.into_iter().chain([step]).map(|step| (spare, step)).collect();
        }
        let (mut steps, is_turn) = (vec![], is_whole && self.has_turn(hash, now));
        // The copy here is the only proof that the shards are those of the object.
        if is_whole && !manifest.is_proved && (is_turn || own.state == KeptState::Kept) {
            steps.push(KeepStep::Prove(*hash));
        }
        let assigned = self.assigned(hash, goal, own, now);
        let at = |index: u8| assigned.get(usize::from(index)).copied();
        let is_mine = |index: &u8| at(*index) == Some(self.own.number);
        let has = |board: u8, index: u8| reached.get(&board).is_some_and(|it| it & bit(index) != 0);
        let set = |wanted: &dyn Fn(&u8) -> bool| {
            goal.indices().filter(wanted).fold(0, |set, index| set | bit(index))
        };
        // A board that does not answer for a while has its shards nevertheless.
        let is_alive = |other: &OtherNode| !self.is_dead(other, now);
        let existing = self
            .held_by_others(hash, &manifest.hash, is_alive)
            .fold(held, |all, (_, held)| all | held);
        let lost = goal.all() & !existing;
        if is_turn && manifest.is_proved && here.count_ones() < goal.data.into() && lost != 0 {
            // Nobody else can make them.
            steps.push(KeepStep::MakeShards(*hash, lost));
        } else {
            let lacking = goal.indices().filter(|index| is_mine(index) && held & bit(*index) == 0);
            let taken = lacking.filter(|index| here & bit(*index) != 0);
            steps.extend(taken.map(|index| KeepStep::TakeShard(*hash, index)));
            let made = lost & set(&is_mine);
            let is_possible = is_whole || here.count_ones() >= goal.data.into();
            // A board that was never asked may have it.
            if made != 0 && is_possible && self.have_all_answered(now) {
                steps.push(KeepStep::MakeShards(*hash, made));
            }
        }
        let dropped = set(&|index| {
            let is_others = at(*index).is_some_and(|it| it != self.own.number && has(it, *index));
            held & bit(*index) != 0 && is_others
        });
        if dropped != 0 {
            steps.push(KeepStep::DropShards(*hash, dropped));
        }
        let is_placed = !assigned.is_empty()
            && goal.indices().all(|index| at(index).is_some_and(|board| has(board, index)));
        match own.state {
            KeptState::Kept if manifest.is_proved && is_placed => {
                steps.push(KeepStep::Unpin(*hash));
            }
            // It must not be evicted before there are shards.
            KeptState::Loose if here != goal.all() || !manifest.is_proved => {
                steps.insert(0, KeepStep::Pin(*hash));
            }
            _ => {}
        }
        steps.into_iter().map(|step| (spare, step)).collect()
    }

    /// What is to be done here as long as there is no manifest.
    fn begin(&self, hash: &Hash, own: &KeptReport, now: Duration) -> Vec<KeepStep> {
        match own.state {
            KeptState::Kept if self.has_turn(hash, now) => vec![KeepStep::Prove(*hash)],
            // Whoever has the turn may not be there, or lie: meanwhile it must not be evicted here.
            KeptState::Loose if !self.has_turn(hash, now) => vec![KeepStep::Pin(*hash)],
            KeptState::Loose => vec![KeepStep::Pin(*hash), KeepStep::Prove(*hash)],
            KeptState::Absent if !self.is_somewhere(hash, now) && self.is_first(hash, now) => {
                // There may be shards of before the settings changed, or a neighbour that has it.
                vec![KeepStep::Fetch(*hash)]
            }
            _ => vec![],
        }
    }

    /// Whether this node, which has all of the object, is the one to make shards of it: the first one of those that have
    /// it, or the others before it had their turns. So a board that makes none keeps it from nobody for long.
    fn has_turn(&self, hash: &Hash, now: Duration) -> bool {
        let others = self.others.values().filter(|it| self.is_recent(it.answered, now));
        let mut before = others.filter(|other| {
            let is_here = other.reports.get(hash).is_some_and(|it| it.state.is_here());
            is_here && rank(hash, other.member.number) > rank(hash, self.own.number)
        });
        before.all(|other| {
            let since = other.whole_since.get(hash).copied().unwrap_or_default().max(self.changed);
            now.saturating_sub(since) >= self.times.turn
        })
    }

    /// Whether this node is the first one of those that can have copies.
    fn is_first(&self, hash: &Hash, now: Duration) -> bool {
        self.wanted(hash, 1, KeptState::Absent, now) == [self.own.number]
    }

    /// Whether each board that counts as alive has said what it has, at some time.
    fn have_all_answered(&self, now: Duration) -> bool {
        let mut boards = self
            .others
            .values()
            .filter(|other| other.member.is_holder && !self.is_dead(other, now));
        boards.all(|other| other.answered.is_some())
    }

    /// Where the shards of an object are. Boards that have not answered lately do not count.
    pub fn shards(
        &self,
        hash: &Hash,
        goal: &ShardGoal,
        own: &KeptReport,
        now: Duration,
    ) -> KeptShards {
        let [kept, loose, no_room] = [KeptState::Kept, KeptState::Loose, KeptState::NoRoom]
            .map(|state| self.boards_with(hash, state, own.state, now));
        let mut whole = [kept, loose].concat();
        whole.sort_unstable();
        let is_readable = !whole.is_empty();
        let mut found = KeptShards { whole, no_room, is_readable, ..KeptShards::default() };
        let Some(manifest) = goal.manifest else { return found };
        let is_recent = |other: &OtherNode| self.is_recent(other.answered, now);
        let mut held: Vec<(u8, u32)> = self
            .held_by_others(hash, &manifest.hash, is_recent)
            .chain([(self.own.number, own.held(&manifest.hash))])
            .collect();
        held.sort_unstable();
        let with = |index: u8| {
            let with = held.iter().filter(|(_, held)| held & bit(index) != 0);
            with.map(|(board, _)| *board).collect::<Vec<u8>>()
        };
        found.boards = goal.indices().map(with).collect();
        let reached = found.boards.iter().filter(|boards| !boards.is_empty()).count();
        found.is_readable |= reached >= usize::from(goal.data);
        let assigned = self.assigned(hash, goal, own, now);
        let places = assigned.iter().zip(&found.boards);
        let lacking = places.filter(|(board, with)| !with.contains(board)).map(|(board, _)| *board);
        found.lacking = lacking.collect();
        found.lacking.sort_unstable();
        found.lacking.dedup();
        let mut counts: BTreeMap<u8, usize> = BTreeMap::new();
        for board in &assigned {
            *counts.entry(*board).or_default() += 1;
        }
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable_by_key(|count| Reverse(*count));
        let left: usize = counts.iter().skip(goal.parity.into()).sum();
        found.is_safe = left >= usize::from(goal.data);
        // Without a board that has room nothing is.
        found.is_placed = found.lacking.is_empty() && !assigned.is_empty();
        found
    }
}

/// The place of a board in the order for a shard.
fn shard_rank(hash: &Hash, index: u8, board: u8) -> u64 {
    rank(hash, board).rotate_left(u32::from(index) * 2 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests;
