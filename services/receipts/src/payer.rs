//! The side of an account that pays the neighbour.

use std::time::Duration;

use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;

use crate::agreement::Agreement;
use crate::locks::{KeyPair, Locks};
use crate::message::Offer;
use crate::payee::MAX_CLOSED;
use crate::receipt::{Receipt, SignedReceipt};
use crate::refused::Refused;
use crate::row::PayerState;
use crate::settlement::Settlement;
use crate::sharing::Bounds;
use crate::terms::{AccountTerms, affordable, cost};

/// After this time, a receipt is due for anything that is unsigned, and an unconfirmed one is sent again.
const RECEIPT_INTERVAL: Duration = Duration::from_secs(5);

const HELLO_INTERVAL: Duration = Duration::from_secs(10);

/// A payee that has been silent for so long may have lost its book, and with it the payer's key.
const SILENCE: Duration = Duration::from_secs(30);

/// Accepted terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PaidEpoch {
    pub epoch: u64,
    pub payee: PublicKey,
    pub payer: PublicKey,
    pub terms: AccountTerms,
}

/// What is stored of the paying side.
///
/// On a new offer, the accepted epoch is closed first: its last receipt is sent until the payee confirms it. Only
/// then the next epoch begins, because the payee takes no receipt of an earlier one any more as soon as it has one
/// of a later. What is bought meanwhile is signed in the next epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PayerSide {
    pub accepted: Option<PaidEpoch>,
    /// Begins when the payee has confirmed the last receipt of `accepted`.
    pub next: Option<PaidEpoch>,
    /// The newest one of `accepted`.
    pub receipt: Option<SignedReceipt>,
    /// All bytes that were ever signed.
    pub signed: u64,
    /// Bytes that were bought while nothing was agreed. They are never signed.
    pub skipped: u64,
    /// The sum of the last receipts of earlier epochs without a ledger.
    pub closed_amount: u64,
    /// The last receipts of earlier epochs on a ledger that it has not paid, the oldest first. The payee keeps no more
    /// of them, either.
    pub closed: Vec<SignedReceipt>,
    /// What the payee has confirmed as paid.
    pub settled: u64,
    /// The newest cumulative settlement of the payee's. It differs from `settled` if either has lost its book.
    pub settled_seen: u64,
}

/// What is not stored of the paying side.
#[derive(Debug, Default)]
pub(crate) struct PayerSession {
    /// Epoch and bytes of the receipt that was sent last.
    pub sent: Option<(u64, u64)>,
    pub sent_at: Option<Duration>,
    pub is_resend_due: bool,
    /// Epoch and bytes of the receipt that the payee has confirmed last.
    pub confirmed: Option<(u64, u64)>,
    signed_at: Option<Duration>,
    offer_at: Option<Duration>,
    pub hello_at: Option<Duration>,
    pub is_hello_due: bool,
    pub their_count: u64,
    refused_price: Option<u64>,
}

impl PayerSide {
    fn amount(&self) -> u64 {
        self.receipt.map_or(0, |signed| signed.receipt().amount)
    }

    /// The bytes of the newest receipt of the epoch.
    pub fn bytes(&self) -> u64 {
        self.receipt.map_or(0, |signed| signed.receipt().bytes)
    }

    fn is_on_ledger(&self) -> bool {
        self.accepted.is_some_and(|epoch| epoch.terms.is_on_ledger())
    }

    /// What was signed in all epochs without a ledger and is not settled.
    pub fn owe(&self) -> u64 {
        let amount = if self.is_on_ledger() { 0 } else { self.amount() };
        self.closed_amount.saturating_add(amount).saturating_sub(self.settled)
    }

    /// The last receipts of all epochs that are for a ledger, the oldest first.
    pub fn ledger_receipts(&self) -> impl Iterator<Item = &Receipt> {
        let current = self.receipt.as_ref().filter(|_| self.is_on_ledger());
        self.closed.iter().chain(current).map(SignedReceipt::receipt)
    }

    /// What was signed for a ledger, and it has not paid.
    pub fn unclaimed(&self, locks: &Locks) -> u64 {
        self.ledger_receipts().fold(0, |sum, it| sum.saturating_add(locks.unpaid(it)))
    }

    /// Forgets receipts that a ledger has paid, and says whether something is to be stored.
    pub fn note_paid(&mut self, locks: &Locks) -> bool {
        let before = self.closed.len();
        self.closed.retain(|signed| locks.unpaid(signed.receipt()) > 0);
        self.closed.len() != before
    }

    /// How much more may be signed for the accepted epoch.
    fn credit(&self, bounds: &Bounds<'_>) -> u64 {
        match self.accepted {
            Some(PaidEpoch { payer, payee, terms, .. }) if terms.is_on_ledger() => {
                let receipts = self.ledger_receipts().chain(&bounds.other.receipts);
                bounds.locks.credit(KeyPair { payer, payee }, receipts).unwrap_or(0)
            }
            _ => bounds.agreement.max_debt.saturating_sub(self.owe()),
        }
    }

    pub fn unsigned(&self, bought: u64) -> u64 {
        bought.saturating_sub(self.skipped).saturating_sub(self.signed)
    }

    /// Epoch and bytes of the newest receipt.
    pub fn newest(&self) -> Option<(u64, u64)> {
        self.receipt.map(|signed| (signed.receipt().epoch, signed.receipt().bytes))
    }

    /// Signs all that is unsigned, as far as it costs at most `credit`. The first receipt of an epoch is
    /// signed also for no bytes: with it the payer agrees to the terms.
    fn sign(&mut self, key: &PrivateKey, bought: u64, credit: u64) -> bool {
        let Some(PaidEpoch { epoch, payee, payer, terms }) = self.accepted else { return false };
        if key.public() != payer {
            return false;
        }
        let may_amount = self.amount().saturating_add(credit);
        let signed = self.bytes();
        let most = affordable(may_amount, terms.price).max(signed);
        let bytes = signed.saturating_add(self.unsigned(bought)).min(most);
        if self.receipt.is_some() && bytes == signed {
            return false;
        }
        let (price, amount) = (terms.price, cost(bytes, terms.price));
        let receipt = Receipt { payer, payee, scope: terms.scope(), epoch, bytes, price, amount };
        let Ok(receipt) = SignedReceipt::sign(receipt, &terms.genesis, key) else { return false };
        self.receipt = Some(receipt);
        self.signed = self.signed.saturating_add(bytes - signed);
        true
    }

    /// Whether the owner agrees to what was accepted.
    fn may_sign(&self, agreement: &Agreement) -> bool {
        let max = agreement.max_price;
        let is_agreed = |terms: &AccountTerms| {
            terms.genesis == agreement.genesis && max.is_some_and(|max| terms.price <= max)
        };
        self.accepted.is_some_and(|epoch| is_agreed(&epoch.terms))
    }

    /// Whether `offer` may be taken, which the neighbour's key `payee` vouches for.
    fn check(
        &self,
        offer: &Offer,
        payee: &PublicKey,
        own: &PublicKey,
        agreement: &Agreement,
    ) -> Result<(), Refused> {
        if offer.payer != *own || payee == own {
            return Err(Refused::OtherPayer);
        }
        if offer.terms.genesis != agreement.genesis {
            return Err(Refused::OtherLedger);
        }
        let is_between = |payer: PublicKey, by: PublicKey| payer == *own && by == *payee;
        let is_own =
            |it: &Settlement| is_between(it.payer, it.payee) && it.kind == offer.terms.kind;
        if offer.settlement.is_some_and(|it| !is_own(it.body())) {
            return Err(Refused::WrongSettlement);
        }
        if let Some(last) = self.next.or(self.accepted) {
            if offer.epoch < last.epoch {
                return Err(Refused::LowerEpoch);
            }
            let is_same =
                last.terms == offer.terms && last.payee == *payee && last.payer == offer.payer;
            if offer.epoch == last.epoch && !is_same {
                return Err(Refused::ChangedTerms);
            }
        }
        let is_begun = self.accepted.is_some_and(|it| it.epoch == offer.epoch);
        if offer.received > if is_begun { self.bytes() } else { 0 } {
            return Err(Refused::NeverSigned);
        }
        match agreement.max_price {
            None => Err(Refused::NotPaying),
            Some(max) if offer.terms.price > max => {
                Err(Refused::PriceTooHigh { price: offer.terms.price, max })
            }
            Some(_) => Ok(()),
        }
    }

    /// Takes an offer, and says whether something is to be stored.
    pub fn take(
        &mut self,
        session: &mut PayerSession,
        offer: &Offer,
        (payee, key): (&PublicKey, &PrivateKey),
        bounds: &Bounds<'_>,
        bought: u64,
        now: Duration,
    ) -> Result<bool, Refused> {
        let agreement = bounds.agreement;
        let checked = self.check(offer, payee, &key.public(), agreement);
        session.refused_price = match checked {
            Err(Refused::PriceTooHigh { price, .. }) => Some(price),
            _ => None,
        };
        checked?;
        let before = self.clone();
        session.offer_at = Some(now);
        let is_first = self.accepted.is_none();
        if self.next.or(self.accepted).is_none_or(|last| offer.epoch > last.epoch) {
            let (epoch, payer) = (offer.epoch, offer.payer);
            let new = PaidEpoch { epoch, payee: *payee, payer, terms: offer.terms };
            if self.next.is_none() && self.may_sign(agreement) {
                self.sign(key, bought, self.credit(bounds));
            }
            self.next = Some(new);
            if is_first {
                self.skipped = self.skipped.saturating_add(self.unsigned(bought));
            }
        }
        if let Some(next) = self.next {
            if self.is_closed(offer) {
                let is_lost = |it: PaidEpoch| offer.closed_epoch > it.epoch && it.payee != *payee;
                if self.accepted.is_some_and(is_lost) {
                    // The settlements of the payee's new book begin at 0.
                    self.settled_seen = 0;
                }
                self.begin(next);
                self.sign(key, bought, self.credit(bounds));
                session.signed_at = Some(now);
            }
        } else {
            let confirmed = session.confirmed.filter(|it| it.0 == offer.epoch);
            let bytes = confirmed.map_or(0, |it| it.1).max(offer.received);
            // Also no bytes are confirmed only by a payee that has the receipt: it takes none of an earlier epoch.
            if offer.closed_epoch == offer.epoch {
                session.confirmed = Some((offer.epoch, bytes));
            }
            session.their_count = session.their_count.max(offer.counted);
        }
        if self.accepted != before.accepted {
            session.their_count = offer.counted;
        }
        self.settle(offer, is_first);
        Ok(*self != before)
    }

    /// Whether the payee has the last receipt of the accepted epoch, or takes it no more because it has lost its
    /// book.
    fn is_closed(&self, offer: &Offer) -> bool {
        let (Some(accepted), Some(_)) = (self.accepted, self.receipt) else { return true };
        let is_confirmed =
            offer.closed_epoch == accepted.epoch && offer.closed_bytes >= self.bytes();
        is_confirmed || offer.closed_epoch > accepted.epoch
    }

    fn begin(&mut self, next: PaidEpoch) {
        if !self.is_on_ledger() {
            self.closed_amount = self.closed_amount.saturating_add(self.amount());
        } else if let Some(receipt) = self.receipt {
            if self.closed.len() >= MAX_CLOSED {
                self.closed.remove(0);
            }
            self.closed.push(receipt);
        }
        self.receipt = None;
        self.next = None;
        self.accepted = Some(next);
    }

    /// Signs what is unsigned with a key that is replaced.
    pub fn close(&mut self, old: &PrivateKey, bounds: &Bounds<'_>, bought: u64) -> bool {
        self.next.is_none()
            && self.may_sign(bounds.agreement)
            && self.sign(old, bought, self.credit(bounds))
    }

    /// Takes a settlement. It cannot exceed what is owed.
    fn settle(&mut self, offer: &Offer, is_first: bool) {
        let Some(settlement) = offer.settlement else { return };
        let amount = settlement.body().amount;
        if is_first {
            // It is of a book that this node has lost.
            self.settled_seen = amount;
        }
        let more = amount.saturating_sub(self.settled_seen);
        self.settled = self.settled.saturating_add(more.min(self.owe()));
        self.settled_seen = self.settled_seen.max(amount);
    }

    /// Whether the payee has confirmed the newest receipt.
    fn is_confirmed(&self, session: &PayerSession) -> bool {
        let is_newest =
            |(epoch, bytes)| session.confirmed.is_some_and(|it| it.0 == epoch && it.1 >= bytes);
        self.next.is_none() && self.newest().is_none_or(is_newest)
    }

    /// What time brings: a receipt that is due, and messages. It says whether something is to be stored.
    pub fn tick(
        &mut self,
        session: &mut PayerSession,
        key: &PrivateKey,
        bounds: &Bounds<'_>,
        bought: u64,
        now: Duration,
    ) -> bool {
        let agreement = bounds.agreement;
        let is_past =
            |at: Option<Duration>, interval| at.is_none_or(|at| now.saturating_sub(at) >= interval);
        session.is_hello_due |= agreement.max_price.is_some()
            && is_past(session.hello_at, HELLO_INTERVAL)
            && is_past(session.offer_at, SILENCE);
        if self.receipt.is_some() && !self.is_confirmed(session) {
            session.is_resend_due |= is_past(session.sent_at, RECEIPT_INTERVAL);
        }
        if !self.may_sign(agreement) {
            return self.skip(bought);
        }
        let signed_at = *session.signed_at.get_or_insert(now);
        let quarter = self.accepted.map_or(0, |it| it.terms.window / 4).max(1);
        let unsigned = self.unsigned(bought);
        let is_late = unsigned > 0 && is_past(Some(signed_at), RECEIPT_INTERVAL);
        let is_due = self.receipt.is_none() || unsigned >= quarter || is_late;
        let has_signed =
            is_due && self.next.is_none() && self.sign(key, bought, self.credit(bounds));
        if has_signed {
            session.signed_at = Some(now);
        }
        has_signed
    }

    /// While the owner does not pay, what is bought beyond a window is not owed: a payee that charges has stopped
    /// by then.
    fn skip(&mut self, bought: u64) -> bool {
        let window = self.accepted.map_or(0, |epoch| epoch.terms.window);
        let beyond = self.unsigned(bought).saturating_sub(window);
        self.skipped = self.skipped.saturating_add(beyond);
        beyond > 0 && self.accepted.is_some()
    }

    /// The receipt to be sent: the newest one, if it was not sent yet or is due again. `self` is what is stored.
    pub fn receipt_to_send(
        &self,
        session: &mut PayerSession,
        now: Duration,
    ) -> Option<SignedReceipt> {
        let newest = self.newest()?;
        let is_due = session.is_resend_due || session.sent != Some(newest);
        if !is_due || self.is_confirmed(session) {
            return None;
        }
        (session.sent, session.sent_at, session.is_resend_due) = (Some(newest), Some(now), false);
        self.receipt
    }

    pub fn state(&self, session: &PayerSession, bounds: &Bounds<'_>, bought: u64) -> PayerState {
        let agreement = bounds.agreement;
        let Some(max) = agreement.max_price else { return PayerState::Off };
        if session.refused_price.is_some_and(|price| price > max) {
            return PayerState::PriceTooHigh;
        }
        let accepted = self.accepted.filter(|it| it.terms.genesis == agreement.genesis);
        let Some(accepted) = accepted else { return PayerState::WaitingForOffer };
        if accepted.terms.price > max {
            return PayerState::PriceTooHigh;
        }
        if self.next.is_some() {
            return PayerState::Closing;
        }
        let one_more = cost(self.bytes().saturating_add(1), accepted.terms.price);
        let one_more = one_more.saturating_sub(self.amount());
        let is_at_limit = one_more > self.credit(bounds);
        match self.unsigned(bought) > 0 && is_at_limit {
            true if accepted.terms.is_on_ledger() => PayerState::LockUsed,
            true => PayerState::DebtLimit,
            false => PayerState::Paying,
        }
    }
}
