//! What must hold for one payer and one payee. It knows the true counts and what went over the link.

use std::collections::BTreeMap;

use octet_receipts::AccountRow;

use crate::wire::{OfferSeen, PaySeen};

#[derive(Debug, Default)]
pub struct Evaluator {
    pub bought: u64,
    pub served: u64,
    /// What the payer's book has observed, what of it was on the disk, and what power cuts took.
    pub observed_bought: u64,
    pub stored_bought: u64,
    pub lost_bought: u64,
    pub observed_served: u64,
    pub stored_served: u64,
    pub lost_served: u64,
    /// What the book has observed and not stored of counters that began again since: a killed unit loses it.
    pub unsafe_bought: u64,
    pub unsafe_served: u64,
    /// What had been bought when the payer first accepted terms.
    pub accepted_at: Option<u64>,
    pub is_acceptance_stored: bool,
    /// For each key and epoch of the payer, the receipt with the most bytes that went over the link.
    pub sent: BTreeMap<([u8; 32], u64), PaySeen>,
    /// For each epoch, the most bytes that an offer has confirmed.
    pub confirmed: BTreeMap<u64, u64>,
    /// Of the payee's book on the disk.
    pub received: u64,
    /// What had been served when the first receipt came, and how much of it was signed.
    pub first: Option<(u64, u64)>,
    pub is_first_stored: bool,
    pub starts: u64,
    pub hours: u64,
    pub key_changes: u64,
    pub max_window: u64,
    pub max_price: u64,
    pub max_loss: u64,
    /// What owners have told the payee's book of payments.
    pub settled: u64,
    /// Whether bytes were uncharged or written off for a time.
    pub was_free: bool,
}

impl Evaluator {
    /// A payment has left the payer.
    pub fn pays(&mut self, seen: PaySeen) {
        assert!(seen.price <= self.max_price, "{seen:?}");
        let exact = (u128::from(seen.bytes) * u128::from(seen.price)) >> 30;
        assert_eq!(u128::from(seen.amount), exact, "{seen:?}");
        let last = self.sent.entry((seen.payer, seen.epoch)).or_insert(seen);
        assert!(seen.bytes >= last.bytes && seen.amount >= last.amount, "{seen:?} after {last:?}");
        assert_eq!(seen.price, last.price);
        *last = seen;
        let all: u64 = self.sent.values().map(|it| it.bytes).sum();
        assert!(all <= self.bought, "{all} bytes signed, {} bought", self.bought);
    }

    /// An offer has left the payee.
    pub fn offers(&mut self, seen: OfferSeen) {
        let last = self.confirmed.entry(seen.epoch).or_default();
        assert!(seen.received >= *last, "{seen:?} after {last}");
        *last = seen.received;
        assert!(seen.settled <= self.settled, "{seen:?}: {} settled", self.settled);
    }

    /// The payer's book begins with what was on the disk.
    pub fn payer_starts(&self, row: &AccountRow) {
        let all: u64 = self.sent.values().map(|it| it.bytes).sum();
        assert!(row.signed >= all, "{} signed, {all} sent", row.signed);
    }

    pub fn payee_starts(&self, row: &AccountRow) {
        let all: u64 = self.confirmed.values().sum();
        assert!(row.received >= all, "{} received, {all} confirmed", row.received);
    }

    /// The payer has accepted terms, as far as its book in memory says.
    pub fn payer_is(&mut self, row: &AccountRow) {
        match row.paid_price {
            None => self.accepted_at = None,
            Some(_) if self.accepted_at.is_none() => {
                self.accepted_at = Some(self.observed_bought);
                (self.is_acceptance_stored, self.lost_bought) = (false, 0);
            }
            Some(_) => {}
        }
    }

    /// The payee has taken the first receipt, as far as its book in memory says.
    pub fn payee_is(&mut self, row: &AccountRow) {
        if self.first.is_none() && !row.taken_receipts.is_empty() {
            // More may be signed than was served: what the payer sends in vain is its own.
            let received = row.received.min(self.served);
            (self.first, self.is_first_stored) = (Some((self.served, received)), false);
        }
    }

    /// The payee has served: what is unpaid is bounded.
    pub fn served(&self) {
        if self.was_free {
            return;
        }
        let free = self.max_window * (self.starts + self.hours + 1);
        let Some((served, received)) = self.first else {
            assert!(self.served <= free, "{} served, {free} free", self.served);
            return;
        };
        assert!(served <= free, "{served} served before the first receipt, {free} free");
        let unpaid = self.served.saturating_sub(served + self.received.saturating_sub(received));
        let loss = u128::from(self.received) * u128::from(self.max_loss) / 1000;
        let bound = self.max_window * (1 + self.key_changes)
            + u64::try_from(loss).unwrap()
            + self.lost_served;
        assert!(unpaid <= bound, "{unpaid} unpaid of {}, bound {bound}: {self:?}", self.served);
    }

    /// After quiet without lies, both ends agree, and all that the payer has counted is paid.
    pub fn quiet(&self, payer: &AccountRow, payee: &AccountRow) {
        assert_eq!(payer.owe, payee.owed, "{payer:?}\n{payee:?}");
        let signed: u64 = self.sent.values().map(|it| it.bytes).sum();
        let amount: u64 = self.sent.values().map(|it| it.amount).sum();
        assert_eq!(payee.received, signed);
        assert_eq!(payer.signed, signed);
        assert_eq!(payee.owed, amount - self.settled);
        let Some(accepted_at) = self.accepted_at else {
            assert_eq!(signed, 0);
            return;
        };
        assert_eq!(signed, self.bought - accepted_at - self.lost_bought, "{self:?}\n{payer:?}");
    }

    pub fn sent_bytes(&self) -> u64 {
        self.sent.values().map(|it| it.bytes).sum()
    }
}
