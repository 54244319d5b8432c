//! The side of an account that the neighbour pays.

use std::time::Duration;

use octet_node::certificate::Certificate;
use octet_node::control::PublicKey;
use octet_node::signed::SignedStatement;
use octet_node::sub_key::Certified;

use crate::agreement::Agreement;
use crate::locks::{KeyPair, Locks};
use crate::message::Offer;
use crate::receipt::{Receipt, SignedReceipt};
use crate::refused::{AccountError, Refused};
use crate::row::PayeeState;
use crate::settlement::Settlement;
use crate::sharing::Bounds;
use crate::terms::{AccountTerms, ServiceKind, affordable, cost_rounded_up};

/// How many earlier epochs are kept. Of older ones only the sum remains.
pub(crate) const MAX_CLOSED: usize = 16;

const OFFER_INTERVAL: Duration = Duration::from_secs(10);

/// Offered terms, with the newest receipt for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServedEpoch {
    pub epoch: u64,
    pub payer: PublicKey,
    pub payee: PublicKey,
    pub terms: AccountTerms,
    /// What had been served when the epoch began.
    pub begin: u64,
    pub receipt: Option<SignedReceipt>,
    /// What a ledger has paid of the receipt.
    pub paid: u64,
}

/// What is stored of the serving side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PayeeSide {
    /// The payer's newest key; `None` before it has said Hello.
    pub payer: Option<PublicKey>,
    pub current: Option<ServedEpoch>,
    /// Earlier epochs, the oldest first.
    pub closed: Vec<ServedEpoch>,
    /// The lowest epoch for which a receipt is taken: that of the newest receipt. Before there is one, it is the epoch
    /// before the first: an offer of the first epoch must not say that its receipt has come.
    pub floor: u64,
    /// Whose receipt came last.
    pub signer: Option<PublicKey>,
    /// The bytes of all receipts.
    pub received: u64,
    /// The amounts of all receipts without a ledger.
    pub earned: u64,
    /// Served bytes for which no receipt is expected.
    pub forgiven: u64,
    /// What had been served when terms were offered that are not signed for yet.
    pub offered_at: Option<u64>,
    /// What was paid without a ledger, over all epochs and keys.
    pub settled: u64,
    pub settlement: Option<SignedStatement<Settlement>>,
    /// Whether the owner charged for the service when the account was stored.
    pub is_charging: bool,
    /// What a ledger has paid, over all epochs and keys.
    pub coins: u64,
}

/// What an offer tells that the payer waits for.
type Acknowledged = (u64, u64, u64, u64);

/// A claim that was handed to a ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentClaim {
    pub receipt: SignedReceipt,
    pub at: Duration,
}

/// What is not stored of the serving side.
#[derive(Debug, Default)]
pub(crate) struct PayeeSession {
    offered_at: Option<Duration>,
    pub is_offer_due: bool,
    acknowledged: Option<Acknowledged>,
    /// What may be served in this hour without payment; `None` before the first tick.
    pub free: Option<u64>,
    /// The claim that was handed to the ledger last.
    pub claim: Option<SentClaim>,
    /// When it was handed over, or this unit began to claim.
    pub claimed_at: Option<Duration>,
    /// Whether counters have come since the start.
    pub is_observed: bool,
    /// How many bytes may be served beyond the observed ones with the limit that is in force.
    pub in_force: u64,
}

impl ServedEpoch {
    pub fn bytes(&self) -> u64 {
        self.receipt.map_or(0, |signed| signed.receipt().bytes)
    }

    fn amount(&self) -> u64 {
        self.receipt.map_or(0, |signed| signed.receipt().amount)
    }
}

impl PayeeSide {
    /// What is owed without a ledger.
    pub fn owed(&self) -> u64 {
        self.earned.saturating_sub(self.settled)
    }

    /// All epochs, the oldest first.
    pub fn epochs(&self) -> impl DoubleEndedIterator<Item = &ServedEpoch> {
        self.closed.iter().chain(&self.current)
    }

    /// The newest receipts of all epochs that are for a ledger, the oldest first.
    pub fn ledger_receipts(&self) -> impl Iterator<Item = &Receipt> {
        let epochs = self.epochs().filter(|epoch| epoch.terms.is_on_ledger());
        epochs.filter_map(|epoch| epoch.receipt.as_ref().map(SignedReceipt::receipt))
    }

    /// What is signed and a ledger has not paid.
    pub fn unclaimed(&self, locks: &Locks) -> u64 {
        let epochs = self.epochs().filter(|epoch| epoch.terms.is_on_ledger());
        let unpaid = epochs.filter_map(|epoch| {
            let receipt = epoch.receipt.as_ref()?.receipt();
            // After a start the ledger is not known yet.
            Some(locks.unpaid(receipt).min(receipt.amount.saturating_sub(epoch.paid)))
        });
        unpaid.fold(0, u64::saturating_add)
    }

    /// Takes note of what a ledger has paid, and says whether something is to be stored.
    pub fn note_paid(&mut self, locks: &Locks) -> bool {
        let mut is_changed = false;
        for epoch in self.closed.iter_mut().chain(&mut self.current) {
            let Some(signed) = epoch.receipt else { continue };
            let lock = locks.0.get(&signed.receipt().pair());
            let claim = lock.and_then(|lock| lock.claims.get(&signed.receipt().scope));
            if let Some(claim) = claim
                && claim.epoch == epoch.epoch
                && claim.paid > epoch.paid
            {
                self.coins = self.coins.saturating_add(claim.paid - epoch.paid);
                epoch.paid = claim.paid;
                is_changed = true;
            }
        }
        is_changed
    }

    /// What was served and neither signed nor forgiven.
    pub fn unsigned(&self, served: u64) -> u64 {
        served.saturating_sub(self.received).saturating_sub(self.forgiven)
    }

    /// Begins a new epoch if the price, the window or a key is another than in the current one. It says whether
    /// something is to be stored.
    pub fn refresh(
        &mut self,
        own: &Certified,
        (kind, agreement): (ServiceKind, &Agreement),
        served: u64,
    ) -> bool {
        let Some(payer) = self.payer else { return false };
        // A payer with a price learns that the service is free now.
        let without_price = self.current.map(|_| 0);
        let Some(price) = agreement.price.or(without_price) else { return false };
        let Agreement { window, genesis, .. } = *agreement;
        let terms = AccountTerms { genesis, kind, price, window };
        let payee = own.certificate.body().key;
        if payee == payer {
            return false;
        }
        let is_same = |it: ServedEpoch| it.payer == payer && it.payee == payee && it.terms == terms;
        if self.current.is_some_and(is_same) {
            return self.sign_settlement(own);
        }
        // The epochs of a book that begins anew, with a new key, are higher than all of the lost one.
        let first = own.certificate.body().epoch.min(u64::from(u32::MAX)) << 32;
        let next = self.current.map_or(1, |it| it.epoch.saturating_add(1));
        let epoch = first.max(next);
        if let Some(closed) = self.current.take() {
            self.closed.push(closed);
        } else {
            self.floor = epoch - 1;
        }
        if self.closed.len() > MAX_CLOSED {
            self.floor = self.floor.max(self.closed.remove(0).epoch + 1);
        }
        if self.signer.is_some() {
            self.offered_at.get_or_insert(served);
        }
        self.current =
            Some(ServedEpoch { epoch, payer, payee, terms, begin: served, receipt: None, paid: 0 });
        self.sign_settlement(own);
        true
    }

    fn sign_settlement(&mut self, own: &Certified) -> bool {
        let Some(current) = self.current.filter(|_| self.settled > 0) else { return false };
        let ServedEpoch { payee, payer, terms, .. } = current;
        let settlement = Settlement { payee, payer, kind: terms.kind, amount: self.settled };
        if self.settlement.is_some_and(|signed| *signed.body() == settlement) {
            return false;
        }
        let Ok(signed) = SignedStatement::sign(settlement, &own.key) else { return false };
        self.settlement = Some(signed);
        true
    }

    /// The owner charges from now on, or no more. What was served for nothing is not owed.
    pub fn charge(&mut self, is_charging: bool, served: u64) -> bool {
        if is_charging && !self.is_charging && self.signer.is_some() {
            self.forgiven = self.forgiven.saturating_add(self.unsigned(served));
            self.offered_at = self.offered_at.map(|_| served);
        }
        let is_changed = self.is_charging != is_charging;
        self.is_charging = is_charging;
        is_changed
    }

    /// Takes a receipt, and says whether something is to be stored.
    pub fn take(
        &mut self,
        session: &mut PayeeSession,
        signed: &SignedReceipt,
        served: u64,
    ) -> Result<bool, Refused> {
        let receipt = *signed.receipt();
        let current = self.current.ok_or(Refused::UnknownEpoch)?;
        if receipt.epoch < self.floor {
            return Ok(false);
        }
        let is_current = receipt.epoch == current.epoch;
        let closed = self.closed.iter_mut().find(|it| it.epoch == receipt.epoch);
        let epoch = match closed {
            Some(closed) => closed,
            None if is_current => self.current.as_mut().ok_or(Refused::UnknownEpoch)?,
            None => return Err(Refused::UnknownEpoch),
        };
        if receipt.payer != epoch.payer || receipt.payee != epoch.payee {
            return Err(Refused::WrongKeys);
        }
        if receipt.scope != epoch.terms.scope() || receipt.price != epoch.terms.price {
            return Err(Refused::OtherTerms);
        }
        if epoch.receipt.is_some() && receipt.bytes <= epoch.bytes() {
            // The payer does not know yet that this one has come.
            session.is_offer_due |= receipt.bytes == epoch.bytes();
            return Ok(false);
        }
        signed.verify(&epoch.terms.genesis).map_err(|_| Refused::Forged)?;
        let (bytes, amount) = (epoch.bytes(), epoch.amount());
        epoch.receipt = Some(*signed);
        self.received = self.received.saturating_add(receipt.bytes - bytes);
        if !epoch.terms.is_on_ledger() {
            self.earned = self.earned.saturating_add(receipt.amount.saturating_sub(amount));
        }
        self.floor = receipt.epoch;
        if is_current {
            self.offered_at = None;
        }
        self.forgive(session, &receipt.payer, served);
        Ok(true)
    }

    /// What was served before the first receipt was free. A payer with a new key may have lost its count with the
    /// old one: it is forgiven as much of it as it could have had for nothing.
    fn forgive(&mut self, session: &mut PayeeSession, payer: &PublicKey, served: u64) {
        let unsigned = self.unsigned(served);
        match self.signer.replace(*payer) {
            None => self.forgiven = self.forgiven.saturating_add(unsigned),
            Some(known) if known != *payer => {
                let free = session.free.unwrap_or(0);
                self.forgiven = self.forgiven.saturating_add(unsigned.min(free));
                session.free = Some(free.saturating_sub(unsigned));
            }
            Some(_) => {}
        }
    }

    /// How many bytes may be served beyond `served`. `self` is what is stored, `served` is up to date.
    pub fn remaining(&self, session: &PayeeSession, bounds: &Bounds<'_>, served: u64) -> u64 {
        let within_debt = self.within_debt(bounds, served);
        self.within_window(session, bounds.agreement, served).min(within_debt)
    }

    pub fn within_window(&self, session: &PayeeSession, agreement: &Agreement, served: u64) -> u64 {
        if !session.is_observed {
            return 0;
        }
        if self.signer.is_none() {
            return session.free.unwrap_or(0);
        }
        let loss = u128::from(self.received) * u128::from(agreement.max_loss) / 1000;
        let loss = u64::try_from(loss).unwrap_or(u64::MAX);
        let window = agreement.window.saturating_add(loss);
        let limit = self.received.saturating_add(self.forgiven).saturating_add(window);
        // For new terms as much is served as for signed ones, until the payer has signed for them.
        let offered = self.offered_at.map_or(u64::MAX, |at| at.saturating_add(window));
        limit.min(offered).saturating_sub(served)
    }

    fn within_debt(&self, bounds: &Bounds<'_>, served: u64) -> u64 {
        if self.signer.is_none() {
            return u64::MAX;
        }
        let Bounds { agreement, locks, other } = bounds;
        let price = agreement.price.unwrap_or(0);
        let credit = match (agreement.is_on_ledger(), self.current) {
            (false, _) => agreement.max_debt.checked_sub(self.owed()),
            (true, Some(ServedEpoch { payer, payee, terms, .. })) => {
                let receipts = self.ledger_receipts().chain(&other.receipts);
                let credit = locks.credit(KeyPair { payer, payee }, receipts);
                credit.and_then(|credit| credit.checked_sub(other.unsigned)).map(|credit| {
                    let unsigned = cost_rounded_up(self.unsigned(served), price);
                    let rest = credit.saturating_sub(unsigned);
                    credit.saturating_sub(other.share(rest, terms.kind))
                })
            }
            (true, None) => None,
        };
        // The first bytes cost less than a millionth; without any credit nothing is served.
        let Some(more) = credit.filter(|more| *more > 0 || price == 0) else { return 0 };
        affordable(more, price).saturating_sub(self.unsigned(served))
    }

    pub fn settle(&mut self, amount: u64, own: Option<&Certified>) -> Result<(), AccountError> {
        let owed = self.owed();
        if amount > owed {
            return Err(AccountError::MoreThanOwed { owed, amount });
        }
        self.settled = self.settled.saturating_add(amount);
        if let Some(own) = own {
            self.sign_settlement(own);
        }
        Ok(())
    }

    /// Forgives what is unsigned, and returns it.
    pub fn write_off(&mut self, served: u64) -> u64 {
        let unsigned = self.unsigned(served);
        self.forgiven = self.forgiven.saturating_add(unsigned);
        unsigned
    }

    pub fn tick(&self, session: &mut PayeeSession, agreement: &Agreement, now: Duration) {
        let Some(current) = self.current else { return };
        let is_past = session.offered_at.is_none_or(|at| now.saturating_sub(at) >= OFFER_INTERVAL);
        let is_wanted = agreement.price.is_some() || current.receipt.is_none();
        session.is_offer_due |= is_past && is_wanted;
    }

    fn closed_bytes(&self) -> u64 {
        self.epochs().find(|it| it.epoch == self.floor).map_or(0, ServedEpoch::bytes)
    }

    /// The offer to be sent, if one is due. `self` is what is stored.
    pub fn offer_to_send(
        &self,
        session: &mut PayeeSession,
        certificate: &Certificate,
        served: u64,
        now: Duration,
    ) -> Option<Offer> {
        let current = self.current?;
        let acknowledged = (current.epoch, self.floor, self.received, self.settled);
        let is_due = session.is_offer_due || session.acknowledged != Some(acknowledged);
        if !is_due || current.payee != certificate.body().key || self.payer != Some(current.payer) {
            return None;
        }
        session.is_offer_due = false;
        (session.acknowledged, session.offered_at) = (Some(acknowledged), Some(now));
        Some(Offer {
            certificate: certificate.clone(),
            terms: current.terms,
            epoch: current.epoch,
            payer: current.payer,
            received: current.bytes(),
            counted: served.saturating_sub(current.begin),
            closed_epoch: self.floor,
            closed_bytes: self.closed_bytes(),
            settlement: self.settlement.filter(|signed| {
                signed.body().payer == current.payer && signed.body().payee == current.payee
            }),
        })
    }

    pub fn state(&self, session: &PayeeSession, bounds: &Bounds<'_>, served: u64) -> PayeeState {
        let agreement = bounds.agreement;
        if agreement.price.is_none() {
            return PayeeState::Off;
        }
        let is_in_window = self.within_window(session, agreement, served) > 0;
        let may_owe = self.within_debt(bounds, served) > 0;
        match self.signer {
            _ if !is_in_window => PayeeState::Stopped,
            None => PayeeState::Free,
            Some(_) if may_owe => PayeeState::Serving,
            Some(_) if agreement.is_on_ledger() => PayeeState::LockUsed,
            Some(_) => PayeeState::DebtLimit,
        }
    }
}
