//! A contact, and the messages in flight in both directions.

use std::collections::BTreeMap;

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use serde::{Deserialize, Serialize};
use vodozemac::olm::{Session, SessionPickle};

use crate::card::ContactCard;
use crate::mailbox_address::{self, MailboxAddress};
use crate::record::PersonRecord;
use crate::rows::{decode, encode};

#[derive(Default)]
pub struct Contact {
    /// The local alias; empty for a contact that has written first.
    pub alias: String,
    /// Whether the contact was added or written to: only such get acknowledgements.
    pub is_known: bool,
    /// The mailboxes in the invite.
    pub places: Vec<MailboxAddress>,
    /// The contact's latest card.
    pub card: Option<ContactCard>,
    /// The sessions. The first one, on which the contact last wrote, is used for writing.
    pub sessions: Vec<Session>,
    /// The number of texts to the contact.
    pub written: u64,
    /// The contact's last seen epoch.
    pub epoch: u64,
    /// The number of texts received in that epoch, without a gap.
    pub received: u64,
    /// The last shown text of an earlier epoch: epoch, and number.
    pub before: (u64, u64),
    /// Whether an acknowledgement is due.
    pub receipt_due: bool,
    /// The envelope with the acknowledgement, until all mailboxes of the contact have it.
    pub receipt: Option<Sealed>,
    /// Whether a text could not be decrypted: the contact must be asked for it in a new session.
    pub lost: bool,
    /// When that was the case last, in seconds since 1970.
    pub lost_at: Option<u64>,
    /// Whether the acknowledgement contains that request, and no mailbox has it yet.
    pub asking: bool,
    /// Unacknowledged texts.
    pub outgoing: BTreeMap<u64, Outgoing>,
    /// Texts that wait for a missing earlier one.
    pub held: BTreeMap<u64, EarlyText>,
}

/// An unacknowledged text.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outgoing {
    pub written: u64,
    pub text: String,
    /// `None` without a session. It is sealed anew only on request.
    pub sealed: Option<Sealed>,
}

/// An envelope, and the mailboxes that have it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sealed {
    pub envelope: Vec<u8>,
    /// The time of each deposit, in seconds since 1970.
    pub left: BTreeMap<PublicKey, u64>,
}

impl Sealed {
    /// An envelope that no mailbox has yet.
    pub fn new(envelope: Vec<u8>) -> Self {
        Self { envelope, left: BTreeMap::new() }
    }
}

/// A text that arrived before an earlier one.
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
        // Rows without epochs, from older versions, end here.
        let saved: Saved = decode(bytes).or_else(|| decode(&[bytes, &[0; 3]].concat()))?;
        let sessions = saved.sessions.iter().map(|session| {
            let pickle: SessionPickle = serde_json::from_slice(session).ok()?;
            Some(Session::from_pickle(pickle))
        });
        Some(Self {
            alias: saved.alias,
            is_known: saved.is_known,
            places: mailbox_address::decode(&mut Fields(&saved.places))?,
            card: match saved.card {
                Some(card) => Some(ContactCard::from_bytes(&card).ok()?),
                None => None,
            },
            sessions: sessions.collect::<Option<_>>()?,
            written: saved.written,
            received: saved.received,
            receipt_due: saved.owed,
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
        mailbox_address::encode(&self.places, &mut places);
        let session = |session: &Session| serde_json::to_vec(&session.pickle()).unwrap_or_default();
        encode(&Saved {
            alias: self.alias.clone(),
            is_known: self.is_known,
            places,
            card: self.card.as_ref().map(ContactCard::to_bytes),
            sessions: self.sessions.iter().map(session).collect(),
            written: self.written,
            received: self.received,
            owed: self.receipt_due,
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

    /// The size of unacknowledged texts, plain and sealed, in bytes.
    pub fn outgoing_bytes(&self) -> usize {
        let sealed = |it: &Outgoing| it.sealed.as_ref().map_or(0, |it| it.envelope.len());
        self.outgoing.values().map(|it| it.text.len() + sealed(it)).sum()
    }

    /// The number of the first unacknowledged text, or of the next one.
    fn first(&self) -> u64 {
        self.outgoing.keys().next().copied().unwrap_or(self.written + 1)
    }

    /// A record without a text: the state that each record carries.
    pub fn state_record(&self, from: PublicKey, epoch: u64, to: PublicKey) -> PersonRecord {
        let (first, of, received) = (self.first(), self.epoch, self.received);
        let (number, again, written, text) = (0, false, 0, String::new());
        PersonRecord { from, to, epoch, number, first, of, received, again, written, text }
    }

    /// Whether a session must be started.
    pub fn wants_session(&self) -> bool {
        let waits = self.outgoing.values().any(|outgoing| outgoing.sealed.is_none());
        (self.sessions.is_empty() && waits) || self.wants_resend()
    }

    /// Whether to request texts that could not be decrypted. Unknown senders get no answer.
    pub fn wants_resend(&self) -> bool {
        self.lost && self.is_known
    }

    /// The contact's mailboxes: those of the card, or of the invite.
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
