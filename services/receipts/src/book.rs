//! All accounts of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use octet_node::signed::SignedStatement;
use octet_node::sub_key::Certified;
use ring::digest::{SHA256, digest};

use crate::account::{Account, NeighbourCounters, PeerKey};
use crate::agreement::Agreement;
use crate::locks::{KeyPair, LockQueries, LockState, Locks};
use crate::message::AccountMessage;
use crate::payee::{PayeeSession, ServedEpoch};
use crate::payer::PayerSession;
use crate::receipt::SignedReceipt;
use crate::refused::{AccountError, Refused};
use crate::row::AccountRow;
use crate::stored;

/// How many accounts there may be.
pub const MAX_ACCOUNTS: usize = 64;

const VERSION: u8 = 2;

/// What a payer that has signed nothing gets for nothing, it gets once in this time.
const FREE_INTERVAL: Duration = Duration::from_secs(3600);

/// What is not stored of an account.
#[derive(Debug)]
pub(crate) struct Session {
    pub agreement: Agreement,
    pub is_neighbour: bool,
    payer: PayerSession,
    pub payee: PayeeSession,
    counters_went_back: u64,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            agreement: Agreement::NONE,
            is_neighbour: false,
            payer: PayerSession::default(),
            payee: PayeeSession::default(),
            counters_went_back: 0,
        }
    }
}

/// The accounts with all neighbours, by their node keys.
///
/// What goes out and what is allowed follows from what is on the disk. Its caller observes counters, passes messages
/// and calls [`tick`](Self::tick); if [`is_dirty`](Self::is_dirty), it writes [`to_bytes`](Self::to_bytes), syncs, and
/// calls [`persisted`](Self::persisted); then it sends [`take_messages`](Self::take_messages) and sets the limits to
/// [`remaining`](Self::remaining).
#[derive(Debug, Default)]
pub struct AccountBook {
    identity: Option<Certified>,
    pub(crate) accounts: BTreeMap<PublicKey, Account>,
    /// What the last [`to_bytes`](Self::to_bytes) has encoded.
    written: BTreeMap<PublicKey, Account>,
    /// What is on the disk.
    durable: BTreeMap<PublicKey, Account>,
    pub(crate) sessions: BTreeMap<PublicKey, Session>,
    /// What the ledger has, as far as it was asked.
    pub(crate) locks: Locks,
    is_dirty: bool,
    now: Duration,
    /// When the hour of the free allowance began.
    hour: Option<Duration>,
}

impl AccountBook {
    /// Decodes what [`to_bytes`](Self::to_bytes) has encoded. Without a book on the disk, begin with the default one.
    /// If it is damaged, begin with the default one, too, and with a new key: the neighbours then know that it is
    /// another one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<32>()?;
        if digest(&SHA256, content).as_ref() != checksum {
            return None;
        }
        let mut fields = Fields(content);
        let (version, count) = (fields.u8()?, usize::from(fields.u8()?));
        if version != VERSION || count > MAX_ACCOUNTS {
            return None;
        }
        let mut accounts = BTreeMap::new();
        for _ in 0..count {
            let (node, account) = stored::get(&mut fields)?;
            if accounts.last_key_value().is_some_and(|(last, _)| *last >= node) {
                return None;
            }
            accounts.insert(node, account);
        }
        if !fields.0.is_empty() {
            return None;
        }
        let mut book = Self { durable: accounts.clone(), ..Self::default() };
        for (node, account) in &accounts {
            let session = book.sessions.entry(*node).or_default();
            // A restart is no new hour for those who have paid.
            session.payee.free = account.payee.signer.map(|_| 0);
        }
        book.accounts = accounts;
        Some(book)
    }

    /// Encodes what is to be stored: version (1 byte, 2), the number of accounts (1), each as `stored.rs` says, in the
    /// order of their keys, and the SHA-256 of all before it (32). [`persisted`](Self::persisted) is for these bytes.
    pub fn to_bytes(&mut self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::try_from(self.accounts.len()).unwrap_or(u8::MAX)];
        for (node, account) in &self.accounts {
            stored::put(node, account, &mut out);
        }
        let checksum = digest(&SHA256, &out);
        out.extend_from_slice(checksum.as_ref());
        self.written.clone_from(&self.accounts);
        self.is_dirty = false;
        out
    }

    /// Whether something must be written before messages go.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// The bytes of the last [`to_bytes`](Self::to_bytes) are on the disk.
    pub fn persisted(&mut self) {
        self.durable.clone_from(&self.written);
    }

    /// The bytes of the last [`to_bytes`](Self::to_bytes) could not be written.
    pub fn not_persisted(&mut self) {
        self.is_dirty = true;
    }

    /// Sets this node's key and its certificate. With a new key, what is unsigned is signed with the old one first.
    pub fn set_identity(&mut self, certified: Certified) {
        let old = self.identity.replace(certified);
        let old = old.filter(|it| Some(it.key.public()) != self.own_key());
        for (node, session) in &mut self.sessions {
            let Some(old) = &old else { break };
            let Some(account) = self.accounts.get_mut(node) else { continue };
            self.is_dirty |= account.payer.close(
                &old.key,
                (&session.agreement, &self.locks),
                account.totals.bought,
            );
            session.payer.hello_at = None;
            session.payer.is_hello_due = session.agreement.max_price.is_some();
        }
        for node in self.nodes() {
            self.refresh(&node);
        }
    }

    /// This node's key and its certificate.
    pub fn identity(&self) -> Option<&Certified> {
        self.identity.as_ref()
    }

    fn own_key(&self) -> Option<PublicKey> {
        self.identity.as_ref().map(|it| it.key.public())
    }

    fn nodes(&self) -> Vec<PublicKey> {
        self.accounts.keys().copied().collect()
    }

    /// Sets what was agreed with `node`.
    ///
    /// # Errors
    /// There are too many accounts.
    pub fn agree(&mut self, node: PublicKey, agreement: Agreement) -> Result<(), AccountError> {
        if !self.accounts.contains_key(&node) {
            self.make_room()?;
            self.accounts.insert(node, Account::default());
            self.is_dirty = true;
        }
        let session = self.sessions.entry(node).or_default();
        session.agreement = agreement;
        session.is_neighbour = true;
        if let Some(account) = self.accounts.get_mut(&node) {
            let is_charging = agreement.price.is_some();
            self.is_dirty |= account.payee.charge(is_charging, account.totals.served);
        }
        self.refresh(&node);
        Ok(())
    }

    /// Drops an account of a node that is no neighbour and with which nothing is open, if all are taken.
    fn make_room(&mut self) -> Result<(), AccountError> {
        if self.accounts.len() < MAX_ACCOUNTS {
            return Ok(());
        }
        let is_neighbour = |node| self.sessions.get(node).is_some_and(|it| it.is_neighbour);
        let mut idle = self
            .accounts
            .iter()
            .filter(|(node, it)| !is_neighbour(node) && it.is_settled(&self.locks));
        let node = *idle.next().ok_or(AccountError::Full(MAX_ACCOUNTS))?.0;
        self.accounts.remove(&node);
        self.sessions.remove(&node);
        Ok(())
    }

    /// Ends the agreements with all but `nodes`. Their accounts stay.
    pub fn retain(&mut self, nodes: &BTreeSet<PublicKey>) {
        for (node, session) in &mut self.sessions {
            if !nodes.contains(node) {
                (session.agreement, session.is_neighbour) = (Agreement::NONE, false);
            }
        }
    }

    /// Adds what `forward` has counted for `node` since the last time.
    pub fn observe(&mut self, node: &PublicKey, counters: NeighbourCounters) {
        let Some(account) = self.accounts.get_mut(node) else { return };
        let session = self.sessions.entry(*node).or_default();
        let before = account.totals.served;
        let folded = account.totals.fold(&counters);
        // The end of an epoch is not counted a second time after a restart.
        self.is_dirty |= folded.is_new_epoch;
        session.counters_went_back += u64::from(folded.went_back);
        let has_signed = self.durable.get(node).is_some_and(|it| it.payee.signer.is_some());
        if session.payee.is_observed && !has_signed {
            let served = account.totals.served - before;
            session.payee.free = session.payee.free.map(|free| free.saturating_sub(served));
        }
        session.payee.is_observed = true;
    }

    /// Begins a new epoch for `node` if its terms are others now.
    fn refresh(&mut self, node: &PublicKey) {
        let (Some(own), Some(session)) = (&self.identity, self.sessions.get_mut(node)) else {
            return;
        };
        let Some(account) = self.accounts.get_mut(node).filter(|_| session.is_neighbour) else {
            return;
        };
        self.is_dirty |= account.payee.refresh(own, &session.agreement, account.totals.served);
    }

    /// Takes a message of `node`.
    ///
    /// # Errors
    /// The message is refused, and nothing that is stored has changed.
    pub fn handle(
        &mut self,
        node: &PublicKey,
        message: &[u8],
        now: Duration,
    ) -> Result<(), Refused> {
        self.now = self.now.max(now);
        let session = self.sessions.get_mut(node).filter(|it| it.is_neighbour);
        let session = session.ok_or(Refused::UnknownNode)?;
        let account = self.accounts.get_mut(node).ok_or(Refused::UnknownNode)?;
        let own = self.identity.as_ref().ok_or(Refused::NoIdentity)?;
        let totals = account.totals;
        match AccountMessage::from_bytes(message).ok_or(Refused::Malformed)? {
            AccountMessage::Hello { certificate } => {
                let peer = PeerKey::check(&certificate, node, account.peer)?;
                self.is_dirty |=
                    account.peer != Some(peer) || account.payee.payer != Some(peer.key);
                account.peer = Some(peer);
                account.payee.payer = Some(peer.key);
                session.payee.is_offer_due = true;
            }
            AccountMessage::Offer(offer) => {
                let offer = offer.body();
                let peer = PeerKey::check(&offer.certificate, node, account.peer)?;
                let (keys, agreement) = ((&peer.key, &*own.key), &session.agreement);
                let (payer, bought) = (&mut session.payer, totals.bought);
                let agreed = (agreement, &self.locks);
                self.is_dirty |= account.payer.take(payer, offer, keys, agreed, bought, now)?;
                self.is_dirty |= account.peer != Some(peer);
                account.peer = Some(peer);
            }
            AccountMessage::Pay { receipt } => {
                let payee = &mut session.payee;
                self.is_dirty |= account.payee.take(payee, &receipt, totals.served)?;
            }
        }
        self.refresh(node);
        Ok(())
    }

    /// What time brings: receipts and offers that are due.
    pub fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let hour = *self.hour.get_or_insert(now);
        let is_new_hour = now.saturating_sub(hour) >= FREE_INTERVAL;
        if is_new_hour {
            self.hour = Some(now);
        }
        for (node, session) in &mut self.sessions {
            let Some(account) = self.accounts.get_mut(node).filter(|_| session.is_neighbour) else {
                continue;
            };
            let agreement = &session.agreement;
            if agreement.price.is_some() && (is_new_hour || session.payee.free.is_none()) {
                session.payee.free = Some(agreement.window);
            }
            account.payee.tick(&mut session.payee, agreement, now);
            let Some(own) = &self.identity else { continue };
            let (payer, bought) = (&mut session.payer, account.totals.bought);
            let agreed = (agreement, &self.locks);
            self.is_dirty |= account.payer.tick(payer, &own.key, agreed, bought, now);
        }
        for node in self.nodes() {
            self.refresh(&node);
        }
    }

    /// The messages to be sent now, with their receivers. Each says only what is on the disk.
    pub fn take_messages(&mut self) -> Vec<(PublicKey, Vec<u8>)> {
        let Some(own) = &self.identity else { return vec![] };
        let mut messages = vec![];
        for (node, session) in self.sessions.iter_mut().filter(|(_, it)| it.is_neighbour) {
            if std::mem::take(&mut session.payer.is_hello_due) {
                session.payer.hello_at = Some(self.now);
                let certificate = own.certificate.clone();
                messages.push((*node, AccountMessage::Hello { certificate }));
            }
            let (Some(durable), Some(live)) = (self.durable.get(node), self.accounts.get(node))
            else {
                continue;
            };
            if session.agreement.max_price.is_some()
                && let Some(receipt) = durable.payer.receipt_to_send(&mut session.payer, self.now)
            {
                messages.push((*node, AccountMessage::Pay { receipt }));
            }
            // A new key or new terms are offered when they are stored.
            let is_current = durable.payee.payer == live.payee.payer
                && durable.payee.current.map(|it| it.epoch)
                    == live.payee.current.map(|it| it.epoch);
            let (session, served) = (&mut session.payee, live.totals.served);
            if is_current
                && let Some(offer) =
                    durable.payee.offer_to_send(session, &own.certificate, served, self.now)
            {
                let signed = SignedStatement::sign(offer, &own.key).ok();
                messages
                    .extend(signed.map(|signed| (*node, AccountMessage::Offer(Box::new(signed)))));
            }
        }
        messages.into_iter().map(|(node, message)| (node, message.to_bytes())).collect()
    }

    /// How many bytes may be served to `node` beyond the last observed ones. `None`: it is not limited.
    pub fn remaining(&self, node: &PublicKey) -> Option<u64> {
        let session = self.sessions.get(node)?;
        session.agreement.price?;
        let served = self.accounts.get(node)?.totals.served;
        let nothing = Account::default();
        let durable = self.durable.get(node).unwrap_or(&nothing);
        let Session { payee, agreement, .. } = session;
        Some(durable.payee.remaining(payee, agreement, &self.locks, served))
    }

    /// The window of the terms that `node` is offered.
    pub fn offered_window(&self, node: &PublicKey) -> Option<u64> {
        Some(self.accounts.get(node)?.payee.current?.terms.window)
    }

    /// Whose locks and claims this node has to know of the ledger.
    pub fn lock_queries(&self) -> LockQueries {
        let mut queries = LockQueries::new();
        for (node, account) in &self.accounts {
            let payer = account.payer.ledger_receipts();
            for receipt in account.payee.ledger_receipts().chain(payer) {
                queries.entry(receipt.pair()).or_default().insert(receipt.scope);
            }
            let is_on_ledger =
                self.sessions.get(node).is_some_and(|session| session.agreement.is_on_ledger());
            if is_on_ledger && let (Some(own), Some(peer)) = (self.own_key(), account.peer) {
                // Before anything is signed, owners see what is locked.
                for (payer, payee) in [(own, peer.key), (peer.key, own)] {
                    queries.entry(KeyPair { payer, payee }).or_default();
                }
            }
        }
        queries
    }

    /// Takes what the ledger has between these keys, all at one height. Of others nothing is known any more.
    pub fn set_locks(&mut self, locks: BTreeMap<KeyPair, LockState>) {
        self.locks = Locks(locks);
        for account in self.accounts.values_mut() {
            self.is_dirty |= account.payer.note_paid(&self.locks);
            self.is_dirty |= account.payee.note_paid(&self.locks);
        }
    }

    /// What the ledger has between two keys, as far as it was asked.
    pub fn lock(&self, pair: &KeyPair) -> Option<&LockState> {
        self.locks.0.get(pair)
    }

    /// `node` has paid `amount` of what it owes without a ledger.
    ///
    /// # Errors
    /// It does not owe so much.
    pub fn settle(&mut self, node: &PublicKey, amount: u64) -> Result<(), AccountError> {
        let account = self.accounts.get_mut(node).ok_or(AccountError::NoAccount)?;
        account.payee.settle(amount, self.identity.as_ref())?;
        self.is_dirty = true;
        Ok(())
    }

    /// Forgives `node` what was served and not signed, so that it is served again. It returns how many bytes.
    ///
    /// # Errors
    /// There is no account.
    pub fn write_off(&mut self, node: &PublicKey) -> Result<u64, AccountError> {
        let account = self.accounts.get_mut(node).ok_or(AccountError::NoAccount)?;
        self.is_dirty = true;
        Ok(account.payee.write_off(account.totals.served))
    }

    /// All accounts, in the order of their nodes' keys.
    pub fn rows(&self) -> Vec<AccountRow> {
        let session = |node| self.sessions.get(node);
        let locks = &self.locks;
        let rows = self
            .accounts
            .iter()
            .filter_map(|(node, it)| Some(row(node, it, session(node)?, locks)));
        rows.collect()
    }
}

fn row(node: &PublicKey, account: &Account, session: &Session, locks: &Locks) -> AccountRow {
    let Account { peer, payer, payee, totals } = account;
    let Session { agreement, is_neighbour, counters_went_back, .. } = session;
    let epochs = payee.current.iter().chain(payee.closed.iter().rev());
    let receipts = epochs.filter_map(|epoch: &ServedEpoch| epoch.receipt);
    AccountRow {
        node: *node,
        peer_key: peer.map(|peer| peer.key),
        is_neighbour: *is_neighbour,
        owe: payer.owe().saturating_add(payer.unclaimed(locks)),
        owed: payee.owed().saturating_add(payee.unclaimed(locks)),
        coins: payee.coins,
        bought: totals.bought,
        signed: payer.signed,
        own_count: payer.bytes().saturating_add(payer.unsigned(totals.bought)),
        their_count: session.payer.their_count,
        paid_price: payer.accepted.map(|it| it.terms.price),
        paid_window: payer.accepted.map(|it| it.terms.window),
        paying: payer.state(&session.payer, (agreement, locks), totals.bought),
        given_receipt: payer.receipt.as_ref().map(SignedReceipt::to_bytes),
        served: totals.served,
        received: payee.received,
        unsigned: payee.unsigned(totals.served),
        price: agreement.price,
        window: agreement.window,
        serving: payee.state(&session.payee, agreement, locks, totals.served),
        taken_receipts: receipts.map(|it| it.to_bytes()).collect(),
        counters_went_back: *counters_went_back,
    }
}
