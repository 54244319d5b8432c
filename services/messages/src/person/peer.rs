//! Somebody else, and all that is under way between the two.

use std::collections::BTreeMap;

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use serde::{Deserialize, Serialize};
use vodozemac::olm::{Session, SessionPickle};

use crate::card::ContactCard;
use crate::place::{self, MailboxAddress};
use crate::record::PersonRecord;
use crate::rows::{decode, encode};

#[derive(Default)]
pub struct Contact {
    /// By what name they are known here; empty if they have written by themselves.
    pub alias: String,
    /// Whether they were added or written to: only such are told what has come.
    pub is_known: bool,
    /// Where an invite said that their mailboxes are.
    pub places: Vec<MailboxAddress>,
    /// How they are reached, by their own word.
    pub card: Option<ContactCard>,
    /// The first is written with: the one in which they were last heard.
    pub sessions: Vec<Session>,
    /// How many texts were written to them.
    pub written: u64,
    /// In which epoch of theirs they were last heard.
    pub epoch: u64,
    /// How many texts of that epoch have come, without a gap.
    pub received: u64,
    /// The last text of an earlier epoch that was shown: the epoch, and its number.
    pub before: (u64, u64),
    /// Whether they are to be told so.
    pub owed: bool,
    /// An envelope that tells them so, until all their mailboxes have it.
    pub receipt: Option<Sealed>,
    /// Whether a text came that no session opens: they are to be asked for it, in a new one.
    pub lost: bool,
    /// When that was so last, in seconds since 1970.
    pub lost_at: Option<u64>,
    /// Whether the receipt asks, and no mailbox has it yet.
    pub asking: bool,
    /// Texts that they have not said have come.
    pub outgoing: BTreeMap<u64, Outgoing>,
    /// Texts that came before one that is missing.
    pub held: BTreeMap<u64, EarlyText>,
}

/// A text on its way.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outgoing {
    pub written: u64,
    pub text: String,
    /// `None` as long as there is no session. What is sealed is sealed a second time only if they ask for it.
    pub sealed: Option<Sealed>,
}

/// An envelope, and which mailboxes were given it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sealed {
    pub envelope: Vec<u8>,
    /// When each was, in seconds since 1970.
    pub left: BTreeMap<PublicKey, u64>,
}

impl Sealed {
    /// One that no mailbox was given yet.
    pub fn new(envelope: Vec<u8>) -> Self {
        Self { envelope, left: BTreeMap::new() }
    }
}

/// A text that came too early.
#[derive(Debug, Serialize, Deserialize)]
pub struct EarlyText {
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
    receipt: Option<Sealed>,
    lost: bool,
    lost_at: Option<u64>,
    asking: bool,
    epoch: u64,
    before: (u64, u64),
}

impl Contact {
    pub fn load(bytes: &[u8]) -> Option<Self> {
        // Before there were epochs a row ended where they stand now.
        let saved: Saved = decode(bytes).or_else(|| decode(&[bytes, &[0; 3]].concat()))?;
        let sessions = saved.sessions.iter().map(|session| {
            let pickle: SessionPickle = serde_json::from_slice(session).ok()?;
            Some(Session::from_pickle(pickle))
        });
        Some(Self {
            alias: saved.alias,
            is_known: saved.is_known,
            places: place::take(&mut Fields(&saved.places))?,
            card: match saved.card {
                Some(card) => Some(ContactCard::from_bytes(&card).ok()?),
                None => None,
            },
            sessions: sessions.collect::<Option<_>>()?,
            written: saved.written,
            received: saved.received,
            owed: saved.owed,
            receipt: saved.receipt,
            lost: saved.lost,
            lost_at: saved.lost_at,
            asking: saved.asking,
            epoch: saved.epoch,
            before: saved.before,
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
            card: self.card.as_ref().map(ContactCard::to_bytes),
            sessions: self.sessions.iter().map(session).collect(),
            written: self.written,
            received: self.received,
            owed: self.owed,
            receipt: self.receipt.clone(),
            lost: self.lost,
            lost_at: self.lost_at,
            asking: self.asking,
            epoch: self.epoch,
            before: self.before,
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

    /// How many bytes wait for them, as text and sealed.
    pub fn outgoing_bytes(&self) -> usize {
        let sealed = |it: &Outgoing| it.sealed.as_ref().map_or(0, |it| it.envelope.len());
        self.outgoing.values().map(|it| it.text.len() + sealed(it)).sum()
    }

    /// The first text that they have not said has come, or the next one.
    fn first(&self) -> u64 {
        self.outgoing.keys().next().copied().unwrap_or(self.written + 1)
    }

    /// What is said to them with each record: there is no text in it.
    pub fn word(&self, from: PublicKey, epoch: u64, to: PublicKey) -> PersonRecord {
        let (first, of, received) = (self.first(), self.epoch, self.received);
        let (number, again, written, text) = (0, false, 0, String::new());
        PersonRecord { from, to, epoch, number, first, of, received, again, written, text }
    }

    /// Whether a session with them is to be begun.
    pub fn wants_session(&self) -> bool {
        let waits = self.outgoing.values().any(|outgoing| outgoing.sealed.is_none());
        (self.sessions.is_empty() && waits) || self.asks()
    }

    /// Whether they are to be asked for what no session opens. Who is not known here is told nothing.
    pub fn asks(&self) -> bool {
        self.lost && self.is_known
    }

    /// Where their letters are left, at each: by their own word, or that of an invite.
    pub fn mailboxes(&self) -> &[MailboxAddress] {
        let own = self.card.as_ref().map(|card| card.details().places.as_slice());
        own.filter(|own| !own.is_empty()).unwrap_or(&self.places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_before_there_were_epochs_is_read() {
        let peer = Contact { alias: "ben".into(), written: 3, received: 2, ..Contact::default() };
        let row = peer.save();
        let (before, added) = row.split_at(row.len() - 3);
        assert_eq!(added, [0; 3]);
        assert!(
            Contact::load(before).unwrap().save() == row
                && Contact::load(&row).unwrap().save() == row
        );
        assert!(Contact::load(&before[..before.len() - 1]).is_none());
    }
}
