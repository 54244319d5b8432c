//! The rules about validators, and about votes, a second time.

use octet_coins::{LedgerState, VotedChange};
use octet_node::control::PublicKey;

use crate::evaluator::Evaluator;

impl Evaluator {
    fn is_possible(&self, change: &VotedChange) -> bool {
        let (is_one, count) = (|owner| self.validators.contains_key(owner), self.validators.len());
        match change {
            VotedChange::Add { owner, key, .. } => {
                !is_one(owner) && count < 64 && !self.validator_keys.contains(key)
            }
            VotedChange::Remove { owner } => is_one(owner) && count > 4,
            VotedChange::Replace { owner, key, epoch } => {
                is_one(owner)
                    && !self.validator_keys.contains(key)
                    && i128::from(*epoch) > self.validators[owner].1
            }
            VotedChange::AddMember { owner, node } => {
                let has_pool = self.parameters.pool.is_some();
                has_pool && self.members.len() < 1024 && !self.members.contains(&(*owner, *node))
            }
            VotedChange::RemoveMember { owner, node } => self.members.contains(&(*owner, *node)),
        }
    }

    pub fn voted(&mut self, signer: PublicKey, change: VotedChange) -> Option<()> {
        if !self.validators.contains_key(&signer) || !self.is_possible(&change) {
            return None;
        }
        self.votes.insert(signer, (change, self.height));
        Some(())
    }

    pub fn rotated(&mut self, signer: PublicKey, key: PublicKey, epoch: u64) -> Option<()> {
        let epoch = i128::from(epoch);
        if self.validators.get(&signer)?.1 >= epoch || !self.validator_keys.insert(key) {
            return None;
        }
        self.validators.insert(signer, (key, epoch));
        Some(())
    }

    pub fn count(&mut self) {
        let all = self.votes.values().map(|vote| vote.0);
        let passed = all.into_iter().find(|change| {
            let votes = self.votes.values().filter(|vote| vote.0 == *change).count();
            3 * votes > 2 * self.validators.len()
        });
        if let Some(change) = passed {
            let is_possible = self.is_possible(&change);
            let validators = self.validators.clone();
            match change {
                _ if !is_possible => {}
                VotedChange::AddMember { owner, node } => {
                    self.members.insert((owner, node));
                }
                VotedChange::RemoveMember { owner, node } => {
                    self.members.remove(&(owner, node));
                }
                VotedChange::Remove { owner } => {
                    self.validators.remove(&owner);
                }
                VotedChange::Add { owner, key, epoch }
                | VotedChange::Replace { owner, key, epoch } => {
                    self.validators.insert(owner, (key, epoch.into()));
                    self.validator_keys.insert(key);
                }
            }
            self.votes.retain(|_, (other, _)| self.validators == validators && *other != change);
        }
        let (heights, now) = (i128::from(self.parameters.vote_heights), self.height);
        self.votes.retain(|_, (_, cast_at)| *cast_at + heights > now);
    }

    pub fn compare_validators(&self, state: &LedgerState) {
        let mut found: Vec<_> = state.validators().iter().map(|it| (it.owner, it.key)).collect();
        found.sort_unstable();
        let expected: Vec<_> = self.validators.iter().map(|(owner, it)| (*owner, it.0)).collect();
        assert_eq!(found, expected);
        assert!(found.len() >= 4);
        for round in [0, 1, 7] {
            let proposer = state.proposer(round);
            assert!(expected.iter().any(|(_, key)| *key == proposer));
        }
    }
}
