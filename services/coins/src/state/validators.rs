//! Who validates, whose turn it is, and what the owners of validators vote for.

use std::collections::BTreeMap;

use octet_node::control::PublicKey;

use super::draft::Draft;
use super::row::{CastVote, LedgerRow, RowKey, ValidatorRow};
use super::tree::RowGroup;
use super::{ABSENT, Validator};
use crate::action::VotedChange;
use crate::genesis::{MAX_VALIDATORS, MIN_VALIDATORS};
use crate::invalid::InvalidTransaction;

impl Draft<'_> {
    pub(super) fn vote(
        &mut self,
        signer: &PublicKey,
        change: &VotedChange,
    ) -> Result<(), InvalidTransaction> {
        if self.validator(signer).is_none() {
            return Err(InvalidTransaction::NotValidator);
        }
        self.check_change(change)?;
        let heights = self.state.parameters().vote_heights;
        let lapses_at = self.height.checked_add(heights).ok_or(InvalidTransaction::Overflow)?;
        let vote = CastVote { lapses_at, change: *change };
        self.put(RowKey::Vote(*signer), LedgerRow::Vote(vote));
        Ok(())
    }

    /// Whether the change is possible now. Votes change the number of validators only after all transactions of a
    /// block.
    fn check_change(&self, change: &VotedChange) -> Result<(), InvalidTransaction> {
        if let VotedChange::AddMember { .. } | VotedChange::RemoveMember { .. } = change {
            return self.check_member(change);
        }
        let (validator, count) = (self.validator(change.owner()), self.state.validators.len());
        if change.key().is_some_and(|(key, _)| self.was_validator_key(key)) {
            return Err(InvalidTransaction::BoundBefore);
        }
        match (change, validator) {
            (VotedChange::Add { .. }, Some(_)) => Err(InvalidTransaction::IsValidator),
            (VotedChange::Add { .. }, None) if count >= MAX_VALIDATORS => {
                Err(InvalidTransaction::TooManyValidators)
            }
            (VotedChange::Add { .. }, None) => Ok(()),
            (_, None) => Err(InvalidTransaction::NotValidator),
            (VotedChange::Remove { .. }, Some(_)) if count <= MIN_VALIDATORS => {
                Err(InvalidTransaction::TooFewValidators)
            }
            (VotedChange::Remove { .. }, Some(_)) => Ok(()),
            (VotedChange::Replace { epoch, .. }, Some(now)) if *epoch <= now.epoch => {
                Err(InvalidTransaction::LowerEpoch)
            }
            (_, Some(_)) => Ok(()),
        }
    }

    /// Votes do not lapse by it: a validator that is voted out could evade it.
    pub(super) fn rotate(
        &mut self,
        signer: &PublicKey,
        key: &PublicKey,
        epoch: u64,
    ) -> Result<(), InvalidTransaction> {
        let validator = self.validator(signer).ok_or(InvalidTransaction::NotValidator)?;
        if self.was_validator_key(key) {
            return Err(InvalidTransaction::BoundBefore);
        }
        if epoch <= validator.epoch {
            return Err(InvalidTransaction::LowerEpoch);
        }
        self.seat(signer, ValidatorRow { key: *key, epoch, ..validator });
        Ok(())
    }

    fn seat(&mut self, owner: &PublicKey, validator: ValidatorRow) {
        self.put(RowKey::Validator(*owner), LedgerRow::Validator(validator));
        self.put(RowKey::ValidatorKey(validator.key), LedgerRow::ValidatorKey(*owner));
    }

    /// Makes the change for which more than two thirds of the owners have voted. All votes lapse then; of a change of
    /// the members only those for it, because they need the same validators as before.
    pub(super) fn count_votes(&mut self) {
        let owners: Vec<_> = self.state.validators.iter().map(|it| it.owner).collect();
        let mut counts: BTreeMap<VotedChange, usize> = BTreeMap::new();
        for vote in owners.iter().filter_map(|owner| self.cast_vote(owner)) {
            *counts.entry(vote.change).or_default() += 1;
        }
        let passed = counts.into_iter().find(|(_, count)| count * 3 > owners.len() * 2);
        let Some((change, _)) = passed else { return };
        if self.check_change(&change).is_ok() {
            self.make(&change);
        }
        let is_of_members =
            matches!(change, VotedChange::AddMember { .. } | VotedChange::RemoveMember { .. });
        for owner in owners {
            if self.cast_vote(&owner).is_some_and(|it| !is_of_members || it.change == change) {
                self.delete(RowKey::Vote(owner));
            }
        }
    }

    fn make(&mut self, change: &VotedChange) {
        match change {
            VotedChange::Add { owner, key, epoch } | VotedChange::Replace { owner, key, epoch } => {
                let absent_until = self.validator(owner).map_or(0, |it| it.absent_until);
                self.seat(owner, ValidatorRow { key: *key, epoch: *epoch, absent_until });
            }
            VotedChange::Remove { owner } => self.delete(RowKey::Validator(*owner)),
            VotedChange::AddMember { owner, node } => {
                self.put(RowKey::Member(*owner, *node), LedgerRow::Member);
            }
            VotedChange::RemoveMember { owner, node } => {
                self.delete(RowKey::Member(*owner, *node));
            }
        }
    }

    /// Those whose turns were in rounds before `round` missed them, and come last for some heights.
    pub(super) fn take_turns(&mut self, round: u32) {
        let turns = &self.state.validators;
        let missed = (round as usize).min(turns.len());
        for validator in &turns[..missed] {
            self.set_absent(&validator.owner, self.height.saturating_add(ABSENT));
        }
        if let Some(validator) = turns.get(round as usize % turns.len().max(1)) {
            self.set_absent(&validator.owner, 0);
        }
    }

    fn set_absent(&mut self, owner: &PublicKey, absent_until: u64) {
        // One that was removed at this height has no row.
        if let Some(validator) = self.validator(owner)
            && validator.absent_until != absent_until
        {
            let validator = ValidatorRow { absent_until, ..validator };
            self.put(RowKey::Validator(*owner), LedgerRow::Validator(validator));
        }
    }

    /// The validators in the order of their turns at the next height: first those that are present, in the order of
    /// their owners, beginning with another one at each height; then those that are absent, likewise.
    pub(super) fn turns(&self) -> Vec<Validator> {
        let owners = self.state.tree.group(RowGroup::Validators);
        let all = owners.filter_map(|key| match (key, self.state.tree.get(key)) {
            (RowKey::Validator(owner), Some(LedgerRow::Validator(row))) => {
                Some((Validator { owner: *owner, key: row.key }, row.absent_until >= self.height))
            }
            _ => None,
        });
        let (mut absent, mut present): (Vec<_>, Vec<_>) =
            all.partition(|(_, is_absent)| *is_absent);
        for group in [&mut present, &mut absent] {
            if !group.is_empty() {
                let first = self.height % group.len() as u64;
                group.rotate_left(first as usize);
            }
        }
        present.into_iter().chain(absent).map(|(validator, _)| validator).collect()
    }
}
