//! The part of random worlds that is about the pool.

use std::collections::BTreeSet;

use fastrand::Rng;
use octet_coins::{Action, KeyState, VotedChange};
use octet_node::control::PublicKey;

use crate::chain::sub_key;
use crate::worlds::World;

/// The usual values are frequent.
pub fn pool(rng: &mut Rng) -> [u64; 5] {
    [(1, 2000, 1000), (0, 3, 0), (0, 100, 50), (1, 100, 10), (0, 100, 10)].map(
        |(min, max, usual)| match rng.u8(0..3) {
            0 => usual,
            _ => rng.u64(min..=max),
        },
    )
}

impl World {
    pub fn has_pool(&self) -> bool {
        self.chain.state.period().is_some()
    }

    /// Admits a node that is no member, or removes one that is; or the other way round, which is refused.
    pub fn about_member(&self, owner: PublicKey, node: PublicKey, is_wrong: bool) -> VotedChange {
        let is_member = self.chain.state.members().any(|it| it == (owner, node));
        match is_member != is_wrong {
            true => VotedChange::RemoveMember { owner, node },
            false => VotedChange::AddMember { owner, node },
        }
    }

    /// What some people agree on: a change of the validators; in a world with a pool also that a node becomes a member,
    /// or is none any more, or that a member gets a lock.
    pub fn plan(&mut self) -> Vec<(usize, Action)> {
        if self.rng.u8(0..8) == 0 {
            let vote = self.vote();
            return (0..6).map(|by| (by, vote)).collect();
        }
        if !self.has_pool() {
            return vec![];
        }
        let members: BTreeSet<_> = self.chain.state.members().collect();
        if self.rng.usize(0..6) < 3usize.saturating_sub(members.len()) || self.rarely() {
            let known: Vec<_> = (0..self.owners_of.len())
                .filter_map(|number| self.chain.state.key(&sub_key(number).public()))
                .map(|it| (it.owner, it.node))
                .collect();
            let Some((owner, node)) = self.rng.choice(known) else { return vec![] };
            let change = self.about_member(owner, node, false);
            return (0..6).map(|by| (by, Action::Vote { change, consent: None })).collect();
        }
        let is_members = |number: &usize| {
            let key = self.chain.state.key(&sub_key(*number).public());
            key.is_some_and(|it| {
                it.state == KeyState::Open && members.contains(&(it.owner, it.node))
            })
        };
        let of_members: Vec<_> = (0..self.owners_of.len()).filter(is_members).collect();
        let (Some(from), Some(to)) = (self.any_key(), self.rng.choice(of_members)) else {
            return vec![];
        };
        let (by, payer, payee) =
            (self.owners_of[from], sub_key(from).public(), sub_key(to).public());
        self.pairs.push((from, to));
        vec![(by, Action::Lock { payer, payee, amount: self.amount(by) })]
    }
}
