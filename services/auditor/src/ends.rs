//! What happens by itself after the transactions of a block.

use std::collections::BTreeMap;

use crate::Bytes32;
use crate::books::Books;
use crate::encoding::{Change, ChangeKind};

impl Books {
    /// `turns` are those of this height, with the validators of before the block; `round` is that of the block.
    pub fn end(&mut self, turns: &[(Bytes32, Bytes32)], round: u32) {
        self.count_votes();
        self.return_locks();
        self.void_keys();
        let (height, lapse) = (self.height, self.counting.vote_heights);
        self.votes.retain(|_, (since, _)| *since + lapse > height);
        self.settle();
        self.note_turns(turns, round);
    }

    /// A change is made if more than two thirds of the owners of validators want it. Then all votes lapse, also if it
    /// has become impossible; but a change of members ends only the votes for it.
    fn count_votes(&mut self) {
        let mut counts: BTreeMap<Change, usize> = BTreeMap::new();
        for (owner, (_, change)) in &self.votes {
            if self.seats.contains_key(owner) {
                *counts.entry(*change).or_default() += 1;
            }
        }
        let seats = self.seats.len();
        let Some((change, _)) = counts.into_iter().find(|(_, count)| count * 3 > seats * 2) else {
            return;
        };
        let is_possible = self.check_change(&change).is_ok();
        match (change.kind, change.node) {
            (ChangeKind::AddMember | ChangeKind::RemoveMember, Some(node)) => {
                let member = (change.owner, node);
                match change.kind {
                    _ if !is_possible => false,
                    ChangeKind::AddMember => self.members.insert(member),
                    _ => self.members.remove(&member),
                };
                self.votes.retain(|_, (_, voted)| *voted != change);
            }
            _ => {
                if is_possible {
                    self.seat(&change);
                }
                self.votes.clear();
            }
        }
    }

    fn return_locks(&mut self) {
        let (height, wait) = (self.height, self.counting.withdrawal_heights);
        let over =
            self.locks.iter().filter(|(_, it)| it.notice.is_some_and(|at| at + wait <= height));
        let over: Vec<_> = over.map(|(pair, _)| *pair).collect();
        for pair in over {
            self.return_lock(pair);
        }
    }

    fn return_lock(&mut self, pair: (Bytes32, Bytes32)) {
        let owner = self.keys.get(&pair.0).map(|payer| payer.owner);
        if let (Some(owner), Some(lock)) = (owner, self.locks.remove(&pair)) {
            self.give(&owner, lock.left());
        }
    }

    /// With a void key nothing is paid: its locks return, and its claims are forgotten.
    fn void_keys(&mut self) {
        let (height, wait) = (self.height, self.counting.claim_heights);
        let mut over = vec![];
        for (key, it) in &mut self.keys {
            if !it.is_void && it.closed_at.is_some_and(|at| at + wait <= height) {
                it.is_void = true;
                over.push(*key);
            }
        }
        for key in over {
            let locks: Vec<_> =
                self.locks.keys().filter(|(payer, _)| *payer == key).copied().collect();
            for pair in locks {
                self.return_lock(pair);
            }
            self.claims.retain(|(payer, ..), _| *payer != key);
        }
    }

    /// Those who had turns in rounds before that of the block missed them; the one of the block did not.
    fn note_turns(&mut self, turns: &[(Bytes32, Bytes32)], round: u32) {
        let count = turns.len() as u64;
        let mut note = |number: u64, missed| {
            let owner = usize::try_from(number).ok().and_then(|number| turns.get(number));
            // One that was removed by this block has no seat.
            if let Some(seat) = owner.and_then(|(owner, _)| self.seats.get_mut(owner)) {
                seat.missed = missed;
            }
        };
        let height = self.height;
        (0..count.min(round.into())).for_each(|number| note(number, Some(height)));
        note(u64::from(round) % count.max(1), None);
    }
}
