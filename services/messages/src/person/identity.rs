//! The person's own keys, and what is published of them.

use std::collections::BTreeSet;

use octet_node::bytes::Fields;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{PublicKey, UnitName};
use octet_node::key::PrivateKey;
use octet_node::sub_key::Certified;
use serde::{Deserialize, Serialize};
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, AccountPickle};

use super::Person;
use crate::card::{ContactCard, Details, UNIT};
use crate::envelope::Seal;
use crate::limits::{FALLBACK_INTERVAL, LOW_ONE_TIME_KEYS, MAX_MAILBOXES, ONE_TIME_KEYS};
use crate::mailbox_address::{self, MailboxAddress};
use crate::prekey::{Bundle, Prekey, PrekeyUse};
use crate::rows::{ChangedRow, RowName, decode, encode};

/// The random input of a new person: 32 bytes each.
pub struct NewIdentity {
    /// The seed of the name key.
    pub name: [u8; 32],
    /// The seed of the everyday signing key.
    pub key: [u8; 32],
    /// The secret that opens envelopes.
    pub seal: [u8; 32],
}

pub struct OwnKeys {
    /// The name key; for a node the same as `key`.
    pub name: PrivateKey,
    /// The certified signing key.
    pub key: PrivateKey,
    pub certificate: Certificate,
    pub seal: Seal,
    pub serial: u64,
    pub mailboxes: Vec<MailboxState>,
    /// The epoch of text numbers: each restore starts a new one.
    pub epoch: u64,
    /// The number of the next prekey.
    next_prekey: u64,
    /// When the last fallback key was made.
    fallback_made: Option<u64>,
    /// The number of the next line of the history.
    pub history: u64,
    /// The first unshown line.
    pub shown: u64,
    /// The number of unreadable envelopes.
    pub refused: u64,
}

/// One of the person's own mailboxes, and its published state.
pub struct MailboxState {
    pub address: MailboxAddress,
    /// The serial of the published card; 0 if none.
    published: u64,
    /// Prekeys that the mailbox lacks. Each one-time key is for one mailbox only: two would give
    /// the same key to two people.
    pending: Vec<Prekey>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    name: [u8; 32],
    key: [u8; 32],
    certificate: Vec<u8>,
    seal: [u8; 32],
    serial: u64,
    places: Vec<u8>,
    /// The state of each mailbox, in the same order.
    told: Vec<Told>,
    next_prekey: u64,
    fallback_made: Option<u64>,
    history: u64,
    shown: u64,
    refused: u64,
    epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct Told {
    published: u64,
    pending: Vec<Vec<u8>>,
}

impl MailboxState {
    fn new(address: MailboxAddress) -> Self {
        Self { address, published: 0, pending: vec![] }
    }

    fn load((address, told): (MailboxAddress, Told)) -> Option<Self> {
        let pending = told.pending.iter().map(|bytes| Prekey::from_bytes(bytes));
        Some(Self { address, published: told.published, pending: pending.collect::<Option<_>>()? })
    }

    fn save(&self) -> Told {
        let pending = self.pending.iter().map(Prekey::to_bytes).collect();
        Told { published: self.published, pending }
    }
}

impl OwnKeys {
    pub fn load(bytes: &[u8]) -> Option<Self> {
        // Rows without epochs, from older versions, end here.
        let saved: Saved = decode(bytes).or_else(|| decode(&[bytes, &[0]].concat()))?;
        let places = mailbox_address::decode(&mut Fields(&saved.places))?;
        (places.len() == saved.told.len()).then_some(())?;
        let states = places.into_iter().zip(saved.told).map(MailboxState::load);
        Some(Self {
            name: PrivateKey::from_seed(saved.name)?,
            key: PrivateKey::from_seed(saved.key)?,
            certificate: Certificate::from_bytes(&saved.certificate).ok()?,
            seal: Seal::new(saved.seal)?,
            serial: saved.serial,
            mailboxes: states.collect::<Option<_>>()?,
            next_prekey: saved.next_prekey,
            fallback_made: saved.fallback_made,
            history: saved.history,
            shown: saved.shown,
            refused: saved.refused,
            epoch: saved.epoch,
        })
    }

    pub fn save(&self) -> Vec<u8> {
        let mut places = vec![];
        mailbox_address::encode(&self.mailbox_addresses(), &mut places);
        encode(&Saved {
            name: *self.name.seed(),
            key: *self.key.seed(),
            certificate: self.certificate.to_bytes(),
            seal: *self.seal.secret(),
            serial: self.serial,
            places,
            told: self.mailboxes.iter().map(MailboxState::save).collect(),
            next_prekey: self.next_prekey,
            fallback_made: self.fallback_made,
            history: self.history,
            shown: self.shown,
            refused: self.refused,
            epoch: self.epoch,
        })
    }

    pub fn mailbox_addresses(&self) -> Vec<MailboxAddress> {
        self.mailboxes.iter().map(|state| state.address.clone()).collect()
    }

    pub fn card(&self, identity: Curve25519PublicKey) -> Option<ContactCard> {
        let details = Details {
            identity: identity.to_bytes(),
            seal: self.seal.public(),
            serial: self.serial,
            places: self.mailbox_addresses(),
        };
        ContactCard::sign(details, self.certificate.clone(), &self.key).ok()
    }
}

pub fn load_account(bytes: &[u8]) -> Option<Account> {
    let pickle: AccountPickle = serde_json::from_slice(bytes).ok()?;
    Some(Account::from_pickle(pickle))
}

pub fn save_account(account: &Account) -> Vec<u8> {
    // It consists of named fields and arrays of numbers, all of which JSON can represent.
    serde_json::to_vec(&account.pickle()).unwrap_or_default()
}

impl Person {
    /// Makes a new person with the mailboxes `places`, and the rows to store; `None` if `seeds` is
    /// unusable, or there are too many or duplicate mailboxes.
    pub fn new(
        seeds: NewIdentity,
        places: Vec<MailboxAddress>,
        now: u64,
    ) -> Option<(Self, Vec<ChangedRow>)> {
        let mut person = Self::with_epoch(seeds, places, 0, now)?;
        let changes = person.changes();
        Some((person, changes))
    }

    /// Makes a person with text numbers in `epoch`, and the messaging key for it.
    pub(super) fn with_epoch(
        seeds: NewIdentity,
        places: Vec<MailboxAddress>,
        epoch: u64,
        now: u64,
    ) -> Option<Self> {
        let mailboxes: BTreeSet<PublicKey> = places.iter().map(|place| place.mailbox).collect();
        (mailboxes.len() == places.len() && places.len() <= MAX_MAILBOXES).then_some(())?;
        let (name, key) = (PrivateKey::from_seed(seeds.name)?, PrivateKey::from_seed(seeds.key)?);
        let statement = KeyStatement {
            node: name.public(),
            unit: UNIT.parse::<UnitName>().ok()?,
            key: key.public(),
            epoch: epoch.checked_add(1)?,
            issued: now,
        };
        let certificate = Certificate::sign(statement, &name).ok()?;
        let mut person = Self::from_keys((name, key, certificate), seeds.seal, places, now)?;
        person.own.epoch = epoch;
        Some(person)
    }

    /// The person of a node with the messaging key `certified`; `seal` are 32 random bytes. `None`
    /// as above.
    pub fn of_node(
        certified: &Certified,
        seal: [u8; 32],
        places: Vec<MailboxAddress>,
        now: u64,
    ) -> Option<(Self, Vec<ChangedRow>)> {
        let key = || PrivateKey::from_seed(*certified.key.seed());
        // The node's name key is in `identity` only.
        let keys = (key()?, key()?, certified.certificate.clone());
        let mut person = Self::from_keys(keys, seal, places, now)?;
        let changes = person.changes();
        Some((person, changes))
    }

    fn from_keys(
        (name, key, certificate): (PrivateKey, PrivateKey, Certificate),
        seal: [u8; 32],
        places: Vec<MailboxAddress>,
        now: u64,
    ) -> Option<Self> {
        let mailboxes: BTreeSet<PublicKey> = places.iter().map(|place| place.mailbox).collect();
        let own = OwnKeys {
            name,
            key,
            certificate,
            seal: Seal::new(seal)?,
            serial: 1,
            mailboxes: places.into_iter().map(MailboxState::new).collect(),
            epoch: 0,
            next_prekey: 1,
            fallback_made: None,
            history: 0,
            shown: 0,
            refused: 0,
        };
        let mut person = Self {
            own,
            account: Account::new(),
            contacts: Default::default(),
            changed_rows: [RowName::Own, RowName::Account].into(),
            new_history: vec![],
        };
        for mailbox in mailboxes {
            person.refill(mailbox, 0, now);
        }
        Some(person)
    }

    /// Changes the messaging key or the mailboxes; everything is published again.
    pub(super) fn change_identity(
        &mut self,
        certified: &Certified,
        places: Vec<MailboxAddress>,
        now: u64,
    ) {
        let key = PrivateKey::from_seed(*certified.key.seed());
        if let Some(key) = key
            && (self.own.certificate != certified.certificate
                || self.own.mailbox_addresses() != places)
        {
            (self.own.key, self.own.certificate) = (key, certified.certificate.clone());
            self.own.serial += 1;
            self.own.fallback_made = None;
            let mailboxes: Vec<PublicKey> = places.iter().map(|place| place.mailbox).collect();
            self.own.mailboxes = places.into_iter().map(MailboxState::new).collect();
            self.changed_rows.insert(RowName::Own);
            for mailbox in mailboxes {
                self.refill(mailbox, 0, now);
            }
        }
    }

    /// Makes new one-time keys for `mailbox` if few are `left` there, and a new fallback key for
    /// all when it is due. The previous fallback key still opens messages in flight.
    pub(super) fn refill(&mut self, mailbox: PublicKey, left: u32, now: u64) {
        let left = left as usize;
        let Some(at) = self.own.mailboxes.iter().position(|state| state.address.mailbox == mailbox)
        else {
            return;
        };
        let mut pending = self.own.mailboxes[at].pending.iter();
        if left < LOW_ONE_TIME_KEYS && !pending.any(|prekey| prekey.usage == PrekeyUse::OneTime) {
            self.account.generate_one_time_keys(ONE_TIME_KEYS - left);
        }
        let made = self.own.fallback_made;
        if made.is_none_or(|made| now.saturating_sub(made) >= FALLBACK_INTERVAL) {
            self.account.generate_fallback_key();
            self.own.fallback_made = Some(now);
        }
        let (one_time, fallback) = (self.account.one_time_keys(), self.account.fallback_key());
        if one_time.is_empty() && fallback.is_empty() {
            return;
        }
        for key in one_time.into_values() {
            let prekey = self.next_prekey(PrekeyUse::OneTime, key);
            self.own.mailboxes[at].pending.push(prekey);
        }
        for key in fallback.into_values() {
            let prekey = self.next_prekey(PrekeyUse::Fallback, key);
            for state in &mut self.own.mailboxes {
                state.pending.retain(|pending| pending.usage != PrekeyUse::Fallback);
                state.pending.push(prekey.clone());
            }
        }
        // They are stored in `pending`.
        self.account.mark_keys_as_published();
        self.changed_rows.extend([RowName::Own, RowName::Account]);
    }

    fn next_prekey(&mut self, usage: PrekeyUse, key: Curve25519PublicKey) -> Prekey {
        let number = self.own.next_prekey;
        self.own.next_prekey += 1;
        let identity = self.account.curve25519_key().to_bytes();
        Prekey::sign(usage, number, identity, key.to_bytes(), &self.own.key)
    }

    /// The bundles that mailboxes lack.
    pub(super) fn bundles(&self) -> impl Iterator<Item = (&MailboxAddress, Bundle)> {
        self.own.mailboxes.iter().filter_map(|state| {
            let is_known = state.published == self.own.serial && state.pending.is_empty();
            (!is_known).then_some(())?;
            let bundle = Bundle { card: self.card()?, prekeys: state.pending.clone() };
            Some((&state.address, bundle))
        })
    }

    pub(super) fn mark_published(&mut self, mailbox: PublicKey) {
        let serial = self.own.serial;
        for state in self.own.mailboxes.iter_mut().filter(|state| state.address.mailbox == mailbox)
        {
            state.pending.clear();
            state.published = serial;
        }
        self.changed_rows.insert(RowName::Own);
    }

    /// Signs a request to a mailbox.
    pub fn sign(&self, asked: &[u8]) -> [u8; octet_node::key::SIGNATURE] {
        self.own.key.sign(octet_node::key::Domain::Mailbox, asked)
    }
}
