//! Outgoing messages.

use octet_node::control::PublicKey;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::SessionConfig;

use super::contact::{Contact, Outgoing, Sealed};
use super::{EnvelopeContent, EventError, Person};
use crate::card::ContactCard;
use crate::envelope;
use crate::history::HistoryEntry;
use crate::letter::Letter;
use crate::limits::{MAX_OUTBOX, MAX_SESSIONS, MAX_TEXT};
use crate::mailbox_address::MailboxAddress;
use crate::prekey;
use crate::record::PersonRecord;
use crate::rows::RowName;

impl Person {
    pub(super) fn write(
        &mut self,
        to: PublicKey,
        text: String,
        now: u64,
    ) -> Result<(), EventError> {
        let peer = self.contacts.get_mut(&to).ok_or(EventError::Unknown)?;
        if text.is_empty() || text.len() > MAX_TEXT {
            return Err(EventError::Length);
        }
        if peer.outgoing.len() >= MAX_OUTBOX {
            return Err(EventError::OutboxFull);
        }
        peer.is_known = true;
        peer.written += 1;
        let number = peer.written;
        let outgoing = Outgoing { written: now, text: text.clone(), sealed: None };
        peer.outgoing.insert(number, outgoing);
        self.changed_rows.extend([RowName::Peer(to), RowName::Outgoing(to, number)]);
        self.record(HistoryEntry { peer: to, received: false, number, written: now, text });
        self.seal_waiting(to);
        Ok(())
    }

    /// Starts a session with a claimed prekey.
    pub(super) fn start_session(
        &mut self,
        name: PublicKey,
        card: &[u8],
        key: &[u8],
        now: u64,
    ) -> Result<(), EventError> {
        let (card, key) = prekey::check(card, key, &name).ok_or(EventError::NotTheirs)?;
        let peer = self.contacts.get_mut(&name).ok_or(EventError::Unknown)?;
        // A mailbox that hides a change could return an older card than the known one.
        if peer.card.as_ref().is_some_and(|known| !card.follows(known)) {
            return Err(EventError::NotTheirs);
        }
        let asks = peer.wants_resend();
        if peer.sessions.is_empty() || asks {
            let identity = Curve25519PublicKey::from_bytes(card.details().identity);
            let session = self.account.create_outbound_session(
                SessionConfig::version_2(),
                identity,
                Curve25519PublicKey::from_bytes(key.key),
            );
            // The other sessions still decrypt messages in flight.
            peer.sessions.insert(0, session.map_err(|_| EventError::NotTheirs)?);
            peer.sessions.truncate(MAX_SESSIONS);
        }
        peer.card = Some(card);
        self.changed_rows.insert(RowName::Peer(name));
        self.seal_waiting(name);
        if let Some(peer) = self.contacts.get_mut(&name)
            && asks
        {
            (peer.receipt_due, peer.asking, peer.lost) = (true, true, false);
            self.queue_receipts(now);
        }
        Ok(())
    }

    /// Seals the texts that wait for a session, if there is one.
    pub(super) fn seal_waiting(&mut self, name: PublicKey) {
        let Some(own) = self.card() else { return };
        let (from, epoch) = (self.name(), self.own.epoch);
        let Some(peer) = self.contacts.get_mut(&name) else { return };
        let waits = |(_, outgoing): &(&u64, &Outgoing)| outgoing.sealed.is_none();
        let waiting: Vec<u64> =
            peer.outgoing.iter().filter(waits).map(|(number, _)| *number).collect();
        for number in waiting {
            let Some(outgoing) = peer.outgoing.get(&number) else { continue };
            let (written, text) = (outgoing.written, outgoing.text.clone());
            let record =
                PersonRecord { number, written, text, ..peer.state_record(from, epoch, name) };
            // Without a session, or with an invalid card, the text keeps waiting.
            let Some(envelope) = seal(peer, &own, &record) else { return };
            if let Some(outgoing) = peer.outgoing.get_mut(&number) {
                outgoing.sealed = Some(Sealed::new(envelope));
            }
            peer.receipt_due = false;
            self.changed_rows.extend([RowName::Peer(name), RowName::Outgoing(name, number)]);
        }
    }

    /// Seals an acknowledgement for each contact with one due.
    pub(super) fn queue_receipts(&mut self, now: u64) {
        let Some(own) = self.card() else { return };
        let (from, epoch) = (self.name(), self.own.epoch);
        for (name, peer) in &mut self.contacts {
            if !(peer.receipt_due && peer.is_known) {
                continue;
            }
            let word = peer.state_record(from, epoch, *name);
            let record = PersonRecord { again: peer.asking, written: now, ..word };
            if let Some(envelope) = seal(peer, &own, &record) {
                peer.receipt = Some(Sealed::new(envelope));
                peer.receipt_due = false;
                self.changed_rows.insert(RowName::Peer(*name));
            }
        }
    }

    pub(super) fn mark_deposited(
        &mut self,
        name: PublicKey,
        mailbox: PublicKey,
        what: EnvelopeContent,
        now: u64,
    ) {
        let Some(peer) = self.contacts.get_mut(&name) else { return };
        match what {
            EnvelopeContent::Receipt => {
                let Some(mut receipt) = peer.receipt.take() else { return };
                receipt.left.insert(mailbox, now);
                let lacks = |place: &MailboxAddress| !receipt.left.contains_key(&place.mailbox);
                let is_lacking = peer.mailboxes().iter().any(lacks);
                peer.receipt = is_lacking.then_some(receipt);
                peer.asking = false;
                self.changed_rows.insert(RowName::Peer(name));
            }
            EnvelopeContent::Text(number) => {
                let outgoing = peer.outgoing.get_mut(&number);
                if let Some(sealed) = outgoing.and_then(|outgoing| outgoing.sealed.as_mut()) {
                    sealed.left.insert(mailbox, now);
                    self.changed_rows.insert(RowName::Outgoing(name, number));
                }
            }
        }
    }
}

/// Seals `record` into an envelope. On success the session has advanced.
fn seal(peer: &mut Contact, own: &ContactCard, record: &PersonRecord) -> Option<Vec<u8>> {
    let to = peer.card.as_ref()?.details().seal;
    let message = peer.sessions.first_mut()?.encrypt(record.to_bytes()).ok()?;
    let letter = Letter { card: own.clone(), number: record.number, message };
    envelope::seal(&letter.to_bytes(), &record.to, &to)
}
