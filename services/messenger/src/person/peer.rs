//! Somebody else, and all that is under way between the two.

use std::collections::BTreeMap;

use octet_node::bytes::Fields;
use serde::{Deserialize, Serialize};
use vodozemac::olm::{Session, SessionPickle};

use crate::card::Card;
use crate::place::{self, Place};
use crate::rows::{decode, encode};

/// Somebody else.
#[derive(Default)]
pub struct Peer {
    /// By what name they are known here; empty if they have written by themselves.
    pub alias: String,
    /// Whether they were added or written to: only such are told what has come.
    pub is_known: bool,
    /// Where an invite said that their mailboxes are.
    pub places: Vec<Place>,
    /// How they are reached, by their own word.
    pub card: Option<Card>,
    /// The first is written with: the one in which they were last heard.
    pub sessions: Vec<Session>,
    /// How many texts were written to them.
    pub written: u64,
    /// How many of theirs have come, without a gap.
    pub received: u64,
    /// Whether they are to be told so.
    pub owed: bool,
    /// An envelope that tells them so.
    pub receipt: Option<Vec<u8>>,
    /// Texts that they have not said have come.
    pub outgoing: BTreeMap<u64, Outgoing>,
    /// Texts that came before one that is missing.
    pub held: BTreeMap<u64, Held>,
}

/// A text on its way.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outgoing {
    pub stage: Stage,
    pub written: u64,
}

/// How far it is.
#[derive(Debug, Serialize, Deserialize)]
pub enum Stage {
    /// There is no session yet.
    Waiting(String),
    /// It is sealed, and was given to a mailbox at this time, or not yet. It is never sealed a second time.
    Sealed(Vec<u8>, Option<u64>),
}

/// A text that came too early.
#[derive(Debug, Serialize, Deserialize)]
pub struct Held {
    pub written: u64,
    pub text: String,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    alias: String,
    is_known: bool,
    places: Vec<u8>,
    card: Option<Vec<u8>>,
    sessions: Vec<Vec<u8>>,
    written: u64,
    received: u64,
    owed: bool,
    receipt: Option<Vec<u8>>,
}

impl Peer {
    pub fn load(bytes: &[u8]) -> Option<Self> {
        let saved: Saved = decode(bytes)?;
        let sessions = saved.sessions.iter().map(|session| {
            let pickle: SessionPickle = serde_json::from_slice(session).ok()?;
            Some(Session::from_pickle(pickle))
        });
        Some(Self {
            alias: saved.alias,
            is_known: saved.is_known,
            places: place::take(&mut Fields(&saved.places))?,
            card: match saved.card {
                Some(card) => Some(Card::from_bytes(&card).ok()?),
                None => None,
            },
            sessions: sessions.collect::<Option<_>>()?,
            written: saved.written,
            received: saved.received,
            owed: saved.owed,
            receipt: saved.receipt,
            outgoing: BTreeMap::new(),
            held: BTreeMap::new(),
        })
    }

    pub fn save(&self) -> Vec<u8> {
        let mut places = vec![];
        place::put(&self.places, &mut places);
        let session = |session: &Session| serde_json::to_vec(&session.pickle()).unwrap_or_default();
        encode(&Saved {
            alias: self.alias.clone(),
            is_known: self.is_known,
            places,
            card: self.card.as_ref().map(Card::to_bytes),
            sessions: self.sessions.iter().map(session).collect(),
            written: self.written,
            received: self.received,
            owed: self.owed,
            receipt: self.receipt.clone(),
        })
    }

    pub fn load_outgoing(&mut self, number: u64, bytes: &[u8]) -> Option<()> {
        self.outgoing.insert(number, decode(bytes)?);
        Some(())
    }

    pub fn load_held(&mut self, number: u64, bytes: &[u8]) -> Option<()> {
        self.held.insert(number, decode(bytes)?);
        Some(())
    }

    /// Where their letters are left: the first place, by their own word or that of an invite.
    pub fn place(&self) -> Option<&Place> {
        let own = self.card.as_ref().and_then(|card| card.details().places.first());
        own.or_else(|| self.places.first())
    }
}
