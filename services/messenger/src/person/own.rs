//! One's own keys, and what others are told of them.

use octet_node::bytes::Fields;
use octet_node::certificate::{Certificate, Statement};
use octet_node::control::UnitName;
use octet_node::key::Key;
use serde::{Deserialize, Serialize};
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, AccountPickle};

use super::Person;
use crate::card::{Card, Details, UNIT};
use crate::envelope::Seal;
use crate::limits::{FALLBACK, FEW, ONE_TIME};
use crate::place::{self, Place};
use crate::prekey::{Bundle, Prekey, Use};
use crate::rows::{Change, Row, decode, encode};

/// Of what a new person is made: 32 random bytes each.
pub struct Fresh {
    /// The seed of the key that is their name.
    pub name: [u8; 32],
    /// The seed of the key that signs for them from day to day.
    pub key: [u8; 32],
    /// The secret that opens envelopes.
    pub seal: [u8; 32],
}

/// One's own keys.
pub struct Own {
    /// The key that is the name.
    name: Key,
    /// The key that it has certified.
    pub key: Key,
    pub certificate: Certificate,
    pub seal: Seal,
    /// Which card it is.
    pub serial: u64,
    pub places: Vec<Place>,
    /// The number of the next prekey.
    next_prekey: u64,
    /// Prekeys that no mailbox has yet.
    pending: Vec<Prekey>,
    /// When the last fallback key was made.
    fallback_made: Option<u64>,
    /// Which card the mailbox has; 0 if none.
    published: u64,
    /// The number of the next line of the history.
    pub history: u64,
    /// The first line of it that was not shown.
    pub shown: u64,
    /// How many envelopes could not be read.
    pub refused: u64,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    name: [u8; 32],
    key: [u8; 32],
    certificate: Vec<u8>,
    seal: [u8; 32],
    serial: u64,
    places: Vec<u8>,
    next_prekey: u64,
    pending: Vec<Vec<u8>>,
    fallback_made: Option<u64>,
    published: u64,
    history: u64,
    shown: u64,
    refused: u64,
}

impl Own {
    pub fn load(bytes: &[u8]) -> Option<Self> {
        let saved: Saved = decode(bytes)?;
        let pending = saved.pending.iter().map(|bytes| Prekey::from_bytes(bytes));
        Some(Self {
            name: Key::from_seed(saved.name)?,
            key: Key::from_seed(saved.key)?,
            certificate: Certificate::from_bytes(&saved.certificate).ok()?,
            seal: Seal::new(saved.seal)?,
            serial: saved.serial,
            places: place::take(&mut Fields(&saved.places))?,
            next_prekey: saved.next_prekey,
            pending: pending.collect::<Option<_>>()?,
            fallback_made: saved.fallback_made,
            published: saved.published,
            history: saved.history,
            shown: saved.shown,
            refused: saved.refused,
        })
    }

    pub fn save(&self) -> Vec<u8> {
        let mut places = vec![];
        place::put(&self.places, &mut places);
        encode(&Saved {
            name: *self.name.seed(),
            key: *self.key.seed(),
            certificate: self.certificate.to_bytes(),
            seal: *self.seal.secret(),
            serial: self.serial,
            places,
            next_prekey: self.next_prekey,
            pending: self.pending.iter().map(Prekey::to_bytes).collect(),
            fallback_made: self.fallback_made,
            published: self.published,
            history: self.history,
            shown: self.shown,
            refused: self.refused,
        })
    }

    pub fn card(&self, identity: Curve25519PublicKey) -> Option<Card> {
        let details = Details {
            identity: identity.to_bytes(),
            seal: self.seal.public(),
            serial: self.serial,
            places: self.places.clone(),
        };
        Card::sign(details, self.certificate.clone(), &self.key).ok()
    }
}

pub fn load_account(bytes: &[u8]) -> Option<Account> {
    let pickle: AccountPickle = serde_json::from_slice(bytes).ok()?;
    Some(Account::from_pickle(pickle))
}

pub fn save_account(account: &Account) -> Vec<u8> {
    // Names of fields and arrays of numbers: there is nothing in it that JSON has not.
    serde_json::to_vec(&account.pickle()).unwrap_or_default()
}

impl Person {
    /// A new person whose mailboxes are `places`, and the rows to keep; `None` if no keys can be made of `fresh`.
    pub fn new(fresh: Fresh, places: Vec<Place>, now: u64) -> Option<(Self, Vec<Change>)> {
        let (name, key) = (Key::from_seed(fresh.name)?, Key::from_seed(fresh.key)?);
        let statement = Statement {
            node: name.public(),
            unit: UNIT.parse::<UnitName>().ok()?,
            key: key.public(),
            epoch: 1,
            issued: now,
        };
        let certificate = Certificate::sign(statement, &name).ok()?;
        let own = Own {
            name,
            key,
            certificate,
            seal: Seal::new(fresh.seal)?,
            serial: 1,
            places,
            next_prekey: 1,
            pending: vec![],
            fallback_made: None,
            published: 0,
            history: 0,
            shown: 0,
            refused: 0,
        };
        let mut person = Self {
            own,
            account: Account::new(),
            peers: Default::default(),
            touched: [Row::Own, Row::Account].into(),
            lines: vec![],
        };
        person.refill(0, now);
        let changes = person.changes();
        Some((person, changes))
    }

    /// Makes new one-time keys if only so few are left at the mailbox, and a new fallback key if it is time. The one
    /// before it still opens letters that are under way.
    pub(super) fn refill(&mut self, left: u32, now: u64) {
        let left = left as usize;
        if !self.own.pending.is_empty() {
            return;
        }
        if left < FEW {
            self.account.generate_one_time_keys(ONE_TIME - left);
        }
        let made = self.own.fallback_made;
        if made.is_none_or(|made| now.saturating_sub(made) >= FALLBACK) {
            self.account.generate_fallback_key();
            self.own.fallback_made = Some(now);
        }
        let one_time = self.account.one_time_keys().into_values().map(|key| (Use::OneTime, key));
        let fallback = self.account.fallback_key().into_values().map(|key| (Use::Fallback, key));
        let keys: Vec<_> = one_time.chain(fallback).collect();
        if keys.is_empty() {
            return;
        }
        let identity = self.account.curve25519_key().to_bytes();
        for (usage, key) in keys {
            let number = self.own.next_prekey;
            self.own.next_prekey += 1;
            let prekey = Prekey::sign(usage, number, identity, key.to_bytes(), &self.own.key);
            self.own.pending.push(prekey);
        }
        // They are in `pending` from now on, which is kept with them.
        self.account.mark_keys_as_published();
        self.touched.extend([Row::Own, Row::Account]);
    }

    /// What the mailbox is to be told, if there is something.
    pub(super) fn bundle(&self) -> Option<Bundle> {
        let is_known = self.own.published == self.own.serial && self.own.pending.is_empty();
        (!is_known).then_some(())?;
        Some(Bundle { card: self.card()?, prekeys: self.own.pending.clone() })
    }

    pub(super) fn published(&mut self) {
        self.own.pending.clear();
        self.own.published = self.own.serial;
        self.touched.insert(Row::Own);
    }

    /// Signs what is asked of a mailbox.
    pub fn sign(&self, asked: &[u8]) -> [u8; octet_node::key::SIGNATURE] {
        self.own.key.sign(octet_node::key::Domain::Mailbox, asked)
    }
}
