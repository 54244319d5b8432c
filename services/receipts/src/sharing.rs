//! What bounds an account; and how accounts of both kinds share what is locked between two keys.

use std::collections::BTreeMap;

use crate::account::{Account, AccountId};
use crate::agreement::Agreement;
use crate::book::AccountBook;
use crate::locks::Locks;
use crate::receipt::Receipt;
use crate::terms::{ServiceKind, cost_rounded_up};

/// What bounds one side of an account.
#[derive(Debug)]
pub(crate) struct Bounds<'a> {
    pub agreement: &'a Agreement,
    pub locks: &'a Locks,
    pub other: OtherKind,
}

/// What the account of the other kind with the same node takes of the same lock. Amounts are in millionths of a coin.
#[derive(Debug, Default)]
pub(crate) struct OtherKind {
    /// Its receipts for a ledger.
    pub receipts: Vec<Receipt>,
    /// What was served and is not signed.
    pub unsigned: u64,
    /// What its unit may serve beyond that with the limit that it has now.
    pub in_force: u64,
    /// What may be served beyond that within its window.
    pub wanted: u64,
}

impl OtherKind {
    /// How much of `rest`, which is neither signed nor served yet, is left to the other kind. If both want more than there is,
    /// each has a half of it. A limit that is in force is taken back before anybody else has it.
    pub fn share(&self, rest: u64, own: ServiceKind) -> u64 {
        let half = match own {
            ServiceKind::Carriage => rest / 2,
            ServiceKind::Objects => rest - rest / 2,
        };
        self.wanted.min(half).max(self.in_force)
    }
}

impl AccountBook {
    /// What the account of the other kind has signed.
    pub(crate) fn other_payer(&self, id: &AccountId) -> OtherKind {
        let account = self.accounts.get(&id.other());
        let receipts = account.into_iter().flat_map(|it| it.payer.ledger_receipts());
        OtherKind { receipts: receipts.copied().collect(), ..OtherKind::default() }
    }

    /// What is served to the account of the other kind, by what `accounts` has of receipts.
    pub(crate) fn other_payee(
        &self,
        accounts: &BTreeMap<AccountId, Account>,
        id: &AccountId,
    ) -> OtherKind {
        let other = id.other();
        let Some(account) = accounts.get(&other) else { return OtherKind::default() };
        let receipts = account.payee.ledger_receipts().copied().collect();
        let mut found = OtherKind { receipts, ..OtherKind::default() };
        let (Some(session), Some(live)) = (self.sessions.get(&other), self.accounts.get(&other))
        else {
            return found;
        };
        let agreement = &session.agreement;
        // What is served before the first receipt is free.
        let is_within = agreement.is_on_ledger() && account.payee.signer.is_some();
        if let Some(price) = agreement.price.filter(|_| is_within) {
            let served = live.totals.served;
            let wanted = account.payee.within_window(&session.payee, agreement, served);
            found.unsigned = cost_rounded_up(account.payee.unsigned(served), price);
            found.in_force = cost_rounded_up(session.payee.in_force, price);
            found.wanted = cost_rounded_up(wanted, price);
        }
        found
    }

    /// How many bytes may be served to the node of an account beyond the last observed ones. `None`: it is not
    /// limited.
    pub fn remaining(&self, id: &AccountId) -> Option<u64> {
        let session = self.sessions.get(id)?;
        session.agreement.price?;
        let served = self.accounts.get(id)?.totals.served;
        let nothing = Account::default();
        let durable = self.durable.get(id).unwrap_or(&nothing);
        let (agreement, locks) = (&session.agreement, &self.locks);
        let bounds = Bounds { agreement, locks, other: self.other_payee(&self.durable, id) };
        Some(durable.payee.remaining(&session.payee, &bounds, served))
    }

    /// The same for its caller, who sets a limit of so many bytes: until the limit is observed again, the account of the other kind
    /// has nothing of them.
    pub fn grant(&mut self, id: &AccountId) -> Option<u64> {
        let remaining = self.remaining(id);
        if let (Some(bytes), Some(session)) = (remaining, self.sessions.get_mut(id)) {
            session.payee.in_force = session.payee.in_force.max(bytes);
        }
        remaining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What both kinds may have beyond what is served is never more than there is, whichever of the new limits are
    /// in force.
    #[test]
    fn shares_are_within_the_rest() {
        let amounts = [0u64, 1, 2, 3, 7, 50, 99, 100, 101, 1000];
        for rest in amounts {
            for (carriage, objects) in
                amounts.into_iter().flat_map(|it| amounts.map(|other| (it, other)))
            {
                for (old_carriage, old_objects) in [(0, 0), (rest, 0), (rest / 2, rest - rest / 2)]
                {
                    let grant = |wanted: u64, other: u64, in_force: u64, own: ServiceKind| {
                        let other = OtherKind { wanted: other, in_force, ..OtherKind::default() };
                        wanted.min(rest.saturating_sub(other.share(rest, own)))
                    };
                    let new_carriage = grant(carriage, objects, old_objects, ServiceKind::Carriage);
                    let new_objects = grant(objects, carriage, old_carriage, ServiceKind::Objects);
                    let what =
                        format!("{rest}: {carriage} {objects}, {old_carriage} {old_objects}");
                    assert!(new_carriage + new_objects <= rest, "{what}");
                    assert!(new_carriage + old_objects <= rest.max(old_objects), "{what}");
                    assert!(old_carriage + new_objects <= rest.max(old_carriage), "{what}");
                    // Nothing is kept for a kind that wants less.
                    if (old_carriage, old_objects) == (0, 0) {
                        assert_eq!(
                            new_carriage + new_objects,
                            rest.min(carriage + objects),
                            "{what}"
                        );
                    }
                }
            }
        }
    }
}
