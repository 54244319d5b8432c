//! All accounts of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use octet_node::signed::SignedStatement;
use octet_node::sub_key::Certified;
use ring::digest::{SHA256, digest};

use crate::account::{Account, AccountId, NeighbourCounters, PeerKey};
use crate::agreement::Agreement;
use crate::locks::{KeyPair, LockQueries, LockState, Locks};
use crate::message::AccountMessage;
use crate::payee::PayeeSession;
use crate::payer::PayerSession;
use crate::refused::{AccountError, Refused};
use crate::row::AccountRow;
use crate::sharing::Bounds;
use crate::stored;
use crate::terms::ServiceKind;

/// How many accounts there may be, of both kinds together.
pub const MAX_ACCOUNTS: usize = 128;

const VERSION: u8 = 3;

/// What a payer that has signed nothing gets for nothing, it gets once in this time.
const FREE_INTERVAL: Duration = Duration::from_secs(3600);

/// What is not stored of an account.
#[derive(Debug)]
pub(crate) struct Session {
    pub agreement: Agreement,
    pub is_neighbour: bool,
    pub payer: PayerSession,
    pub payee: PayeeSession,
    pub counters_went_back: u64,
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

/// The accounts with all neighbours, by their node keys and kinds.
///
/// What goes out and what is allowed follows from what is on the disk. Its caller observes counters, passes messages
/// and calls [`tick`](Self::tick); if [`is_dirty`](Self::is_dirty), it writes [`to_bytes`](Self::to_bytes), syncs, and
/// calls [`persisted`](Self::persisted); then it sends [`take_messages`](Self::take_messages) and sets the limits to
/// [`remaining`](Self::remaining).
#[derive(Debug, Default)]
pub struct AccountBook {
    identity: Option<Certified>,
    pub(crate) accounts: BTreeMap<AccountId, Account>,
    /// What the last [`to_bytes`](Self::to_bytes) has encoded.
    written: BTreeMap<AccountId, Account>,
    /// What is on the disk.
    pub(crate) durable: BTreeMap<AccountId, Account>,
    pub(crate) sessions: BTreeMap<AccountId, Session>,
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
            let (id, account) = stored::get(&mut fields)?;
            if accounts.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return None;
            }
            accounts.insert(id, account);
        }
        if !fields.0.is_empty() {
            return None;
        }
        let mut book = Self { durable: accounts.clone(), ..Self::default() };
        for (id, account) in &accounts {
            let session = book.sessions.entry(*id).or_default();
            // A restart is no new hour for those who have paid.
            session.payee.free = account.payee.signer.map(|_| 0);
        }
        book.accounts = accounts;
        Some(book)
    }

    /// Encodes what is to be stored: version (1 byte, 3), the number of accounts (1), each as `stored.rs` says, in the
    /// order of their nodes' keys and kinds, and the SHA-256 of all before it (32). [`persisted`](Self::persisted) is for these bytes.
    pub fn to_bytes(&mut self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::try_from(self.accounts.len()).unwrap_or(u8::MAX)];
        for (id, account) in &self.accounts {
            stored::put(id, account, &mut out);
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
        for id in self.ids() {
            let other = self.other_payer(&id);
            let Some(old) = &old else { break };
            let (Some(session), Some(account)) =
                (self.sessions.get_mut(&id), self.accounts.get_mut(&id))
            else {
                continue;
            };
            let bounds = Bounds { agreement: &session.agreement, locks: &self.locks, other };
            self.is_dirty |= account.payer.close(&old.key, &bounds, account.totals.bought);
            session.payer.hello_at = None;
            session.payer.is_hello_due = session.agreement.max_price.is_some();
        }
        self.refresh_all();
    }

    /// This node's key and its certificate.
    pub fn identity(&self) -> Option<&Certified> {
        self.identity.as_ref()
    }

    fn own_key(&self) -> Option<PublicKey> {
        self.identity.as_ref().map(|it| it.key.public())
    }

    fn ids(&self) -> Vec<AccountId> {
        self.accounts.keys().copied().collect()
    }

    /// Whether there is this account.
    pub fn has(&self, id: &AccountId) -> bool {
        self.accounts.contains_key(id)
    }

    /// Whether there is any account of this kind.
    pub fn has_kind(&self, kind: ServiceKind) -> bool {
        self.accounts.keys().any(|id| id.kind == kind)
    }

    /// Sets what was agreed with a node for one kind.
    ///
    /// # Errors
    /// There are too many accounts.
    pub fn agree(&mut self, id: AccountId, agreement: Agreement) -> Result<(), AccountError> {
        if !self.accounts.contains_key(&id) {
            self.make_room()?;
            let peer = self.peer(&id.node);
            self.accounts.insert(id, Account { peer, ..Account::default() });
            self.is_dirty = true;
        }
        let session = self.sessions.entry(id).or_default();
        session.agreement = agreement;
        session.is_neighbour = true;
        if let Some(account) = self.accounts.get_mut(&id) {
            let is_charging = agreement.price.is_some();
            self.is_dirty |= account.payee.charge(is_charging, account.totals.served);
        }
        self.refresh(&id);
        Ok(())
    }

    /// The newest certified key of a node. All of its accounts have the same.
    fn peer(&self, node: &PublicKey) -> Option<PeerKey> {
        let accounts = AccountId::of_node(node);
        accounts.iter().find_map(|id| self.accounts.get(id)?.peer)
    }

    fn set_peer(&mut self, node: &PublicKey, peer: PeerKey) {
        for id in AccountId::of_node(node) {
            let Some(account) = self.accounts.get_mut(&id) else { continue };
            self.is_dirty |= account.peer != Some(peer);
            account.peer = Some(peer);
        }
    }

    /// Drops an account of a node that is no neighbour and with which nothing is open, if all are taken.
    fn make_room(&mut self) -> Result<(), AccountError> {
        if self.accounts.len() < MAX_ACCOUNTS {
            return Ok(());
        }
        let is_neighbour = |id| self.sessions.get(id).is_some_and(|it| it.is_neighbour);
        let mut idle =
            self.accounts.iter().filter(|(id, it)| !is_neighbour(id) && it.is_settled(&self.locks));
        let id = *idle.next().ok_or(AccountError::Full(MAX_ACCOUNTS))?.0;
        self.accounts.remove(&id);
        self.sessions.remove(&id);
        Ok(())
    }

    /// Ends the agreements of one kind with all but `nodes`. Their accounts stay.
    pub fn retain(&mut self, kind: ServiceKind, nodes: &BTreeSet<PublicKey>) {
        for (id, session) in &mut self.sessions {
            if id.kind == kind && !nodes.contains(&id.node) {
                (session.agreement, session.is_neighbour) = (Agreement::NONE, false);
            }
        }
    }

    /// Adds what was counted for an account since the last time.
    pub fn observe(&mut self, id: &AccountId, counters: NeighbourCounters) {
        let Some(account) = self.accounts.get_mut(id) else { return };
        let session = self.sessions.entry(*id).or_default();
        let in_force = counters.limit.map(|limit| limit.saturating_sub(counters.served));
        session.payee.in_force = in_force.unwrap_or(0);
        let before = account.totals.served;
        let folded = account.totals.fold(&counters);
        // The end of an epoch is not counted a second time after a restart.
        self.is_dirty |= folded.is_new_epoch;
        session.counters_went_back += u64::from(folded.went_back);
        let has_signed = self.durable.get(id).is_some_and(|it| it.payee.signer.is_some());
        if session.payee.is_observed && !has_signed {
            let served = account.totals.served - before;
            session.payee.free = session.payee.free.map(|free| free.saturating_sub(served));
        }
        session.payee.is_observed = true;
    }

    /// Begins a new epoch of an account if its terms are others now.
    fn refresh(&mut self, id: &AccountId) {
        let (Some(own), Some(session)) = (&self.identity, self.sessions.get(id)) else {
            return;
        };
        let Some(account) = self.accounts.get_mut(id).filter(|_| session.is_neighbour) else {
            return;
        };
        let terms = (id.kind, &session.agreement);
        self.is_dirty |= account.payee.refresh(own, terms, account.totals.served);
    }

    fn refresh_all(&mut self) {
        for id in self.ids() {
            self.refresh(&id);
        }
    }

    /// The account whose terms have this scope.
    fn of_scope(&self, agreed: &[AccountId], scope: &[u8; 32]) -> Result<AccountId, Refused> {
        let mut unknown = Refused::UnknownEpoch;
        for id in agreed {
            let epochs = self.accounts.get(id).into_iter().flat_map(|it| it.payee.epochs());
            for epoch in epochs {
                if epoch.terms.scope() == *scope {
                    return Ok(*id);
                }
                unknown = Refused::OtherTerms;
            }
        }
        Err(unknown)
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
        let is_agreed = |id: &AccountId| self.sessions.get(id).is_some_and(|it| it.is_neighbour);
        let agreed: Vec<_> = AccountId::of_node(node).into_iter().filter(is_agreed).collect();
        if agreed.is_empty() {
            return Err(Refused::UnknownNode);
        }
        let own = self.identity.as_ref().ok_or(Refused::NoIdentity)?;
        let key = Arc::clone(&own.key);
        match AccountMessage::from_bytes(message).ok_or(Refused::Malformed)? {
            AccountMessage::Hello { certificate } => {
                let peer = PeerKey::check(&certificate, node, self.peer(node))?;
                self.set_peer(node, peer);
                for id in &agreed {
                    let (session, account) = self.both(id)?;
                    let is_new = account.payee.payer.replace(peer.key) != Some(peer.key);
                    session.payee.is_offer_due = true;
                    self.is_dirty |= is_new;
                }
            }
            AccountMessage::Offer(offer) => {
                let offer = offer.body();
                let id = AccountId { node: *node, kind: offer.terms.kind };
                let peer = PeerKey::check(&offer.certificate, node, self.peer(node))?;
                // Without such an account this kind is not paid.
                let id = agreed.iter().find(|it| **it == id).ok_or(Refused::NotPaying)?;
                let other = self.other_payer(id);
                let session = self.sessions.get_mut(id).ok_or(Refused::UnknownNode)?;
                let account = self.accounts.get_mut(id).ok_or(Refused::UnknownNode)?;
                let bounds = Bounds { agreement: &session.agreement, locks: &self.locks, other };
                let (payer, keys) = (&mut session.payer, (&peer.key, &*key));
                let bought = account.totals.bought;
                self.is_dirty |= account.payer.take(payer, offer, keys, &bounds, bought, now)?;
                self.set_peer(node, peer);
            }
            AccountMessage::Pay { receipt } => {
                let id = self.of_scope(&agreed, &receipt.receipt().scope)?;
                let (session, account) = self.both(&id)?;
                let served = account.totals.served;
                let is_new = account.payee.take(&mut session.payee, &receipt, served)?;
                self.is_dirty |= is_new;
            }
        }
        for id in &agreed {
            self.refresh(id);
        }
        Ok(())
    }

    fn both(&mut self, id: &AccountId) -> Result<(&mut Session, &mut Account), Refused> {
        let found = self.sessions.get_mut(id).zip(self.accounts.get_mut(id));
        found.ok_or(Refused::UnknownNode)
    }

    /// What time brings: receipts and offers that are due.
    pub fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let hour = *self.hour.get_or_insert(now);
        let is_new_hour = now.saturating_sub(hour) >= FREE_INTERVAL;
        if is_new_hour {
            self.hour = Some(now);
        }
        for id in self.ids() {
            let other = self.other_payer(&id);
            let session = self.sessions.get_mut(&id).filter(|it| it.is_neighbour);
            let Some((session, account)) = session.zip(self.accounts.get_mut(&id)) else {
                continue;
            };
            let agreement = &session.agreement;
            if agreement.price.is_some() && (is_new_hour || session.payee.free.is_none()) {
                session.payee.free = Some(agreement.window);
            }
            account.payee.tick(&mut session.payee, agreement, now);
            let Some(own) = &self.identity else { continue };
            let (payer, bought) = (&mut session.payer, account.totals.bought);
            let bounds = Bounds { agreement, locks: &self.locks, other };
            self.is_dirty |= account.payer.tick(payer, &own.key, &bounds, bought, now);
        }
        self.refresh_all();
    }

    /// The messages to be sent now, with their receivers. Each says only what is on the disk.
    pub fn take_messages(&mut self) -> Vec<(PublicKey, Vec<u8>)> {
        let Some(own) = &self.identity else { return vec![] };
        let mut messages = vec![];
        let mut greeted = BTreeSet::new();
        for (id, session) in self.sessions.iter_mut().filter(|(_, it)| it.is_neighbour) {
            let node = &id.node;
            // A greeting is for all accounts of a node.
            if std::mem::take(&mut session.payer.is_hello_due) {
                session.payer.hello_at = Some(self.now);
                if greeted.insert(*node) {
                    let certificate = own.certificate.clone();
                    messages.push((*node, AccountMessage::Hello { certificate }));
                }
            }
            let (Some(durable), Some(live)) = (self.durable.get(id), self.accounts.get(id)) else {
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

    /// The window of the terms that the node of an account is offered.
    pub fn offered_window(&self, id: &AccountId) -> Option<u64> {
        Some(self.accounts.get(id)?.payee.current?.terms.window)
    }

    /// Whose locks and claims this node has to know of the ledger.
    pub fn lock_queries(&self) -> LockQueries {
        let mut queries = LockQueries::new();
        for (id, account) in &self.accounts {
            let payer = account.payer.ledger_receipts();
            for receipt in account.payee.ledger_receipts().chain(payer) {
                queries.entry(receipt.pair()).or_default().insert(receipt.scope);
            }
            let is_on_ledger =
                self.sessions.get(id).is_some_and(|session| session.agreement.is_on_ledger());
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

    /// The node of an account has paid `amount` of what it owes without a ledger.
    ///
    /// # Errors
    /// It does not owe so much.
    pub fn settle(&mut self, id: &AccountId, amount: u64) -> Result<(), AccountError> {
        let account = self.accounts.get_mut(id).ok_or(AccountError::NoAccount)?;
        account.payee.settle(amount, self.identity.as_ref())?;
        self.is_dirty = true;
        Ok(())
    }

    /// Forgives a node what was served and not signed, so that it is served again. It returns how many bytes.
    ///
    /// # Errors
    /// There is no account.
    pub fn write_off(&mut self, id: &AccountId) -> Result<u64, AccountError> {
        let account = self.accounts.get_mut(id).ok_or(AccountError::NoAccount)?;
        self.is_dirty = true;
        Ok(account.payee.write_off(account.totals.served))
    }

    /// All accounts, in the order of their nodes' keys and kinds.
    pub fn rows(&self) -> Vec<AccountRow> {
        self.accounts.keys().filter_map(|id| self.row(id)).collect()
    }
}
