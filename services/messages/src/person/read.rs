//! Received messages.

use octet_node::control::PublicKey;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};

use super::Person;
use super::contact::{Contact, EarlyText};
use crate::card::ContactCard;
use crate::history::HistoryEntry;
use crate::letter::Letter;
use crate::limits::{MAX_HELD, MAX_SESSIONS, REQUEST_INTERVAL};
use crate::record::PersonRecord;
use crate::rows::RowName;

impl Person {
    /// Reads an envelope. An unreadable one is counted and dropped: otherwise it would stay in the
    /// mailbox forever.
    pub(super) fn receive(&mut self, envelope: &[u8], now: u64) {
        if self.try_receive(envelope, now).is_none() {
            self.own.refused += 1;
            self.changed_rows.insert(RowName::Own);
        }
    }

    fn try_receive(&mut self, envelope: &[u8], now: u64) -> Option<()> {
        let own = self.name();
        let letter = Letter::from_bytes(&self.own.seal.open(envelope, &own)?)?;
        let name = letter.card.name();
        (name != own).then_some(())?;
        if !self.contacts.contains_key(&name) {
            return self.accept_first(name, &letter);
        }
        let peer = self.contacts.get_mut(&name)?;
        let order = CardOrder::of(&letter.card, peer.card.as_ref());
        // A continued session authenticates the contact, however old the card is. An older card
        // starts no session.
        let text = decrypt_in(&mut peer.sessions, &letter).or_else(|| {
            (order != CardOrder::Older).then(|| begin(&mut self.account, peer, &letter))?
        });
        let Some(text) = text else {
            self.handle_undecryptable(name, letter.number, order, now);
            return None;
        };
        self.changed_rows.extend([RowName::Peer(name), RowName::Account]);
        let record = PersonRecord::from_bytes(&text)?;
        (record.from == name && record.to == own).then_some(())?;
        if order == CardOrder::Newer {
            peer.card = Some(letter.card);
        }
        self.apply(name, record);
        // Texts that waited for a session can be sealed now.
        self.seal_waiting(name);
        Some(())
    }

    /// Handles a message with this claimed text number that no session could decrypt.
    fn handle_undecryptable(&mut self, name: PublicKey, number: u64, order: CardOrder, now: u64) {
        let Some(peer) = self.contacts.get_mut(&name) else { return };
        // With another card, the contact may have started a new epoch with other numbers.
        let is_there = |there: bool| there && order != CardOrder::Newer;
        if number == 0 || is_there(peer.held.contains_key(&number)) {
            // Answering records without text would never end.
            return;
        }
        if is_there(number <= peer.received) {
            // The contact may lack the acknowledgement. If one is due, this is a copy from another
            // mailbox.
            peer.receipt_due |= peer.receipt.is_none();
        } else if peer.lost_at.is_none_or(|at| now.saturating_sub(at) >= REQUEST_INTERVAL) {
            // Anybody who knows the card could have sent it, so the request is rate-limited.
            (peer.lost, peer.lost_at) = (true, Some(now));
        }
        self.changed_rows.insert(RowName::Peer(name));
    }

    /// Handles the first message of an unknown sender.
    fn accept_first(&mut self, name: PublicKey, letter: &Letter) -> Option<()> {
        let own = self.name();
        let mut peer = Contact::default();
        let text = begin(&mut self.account, &mut peer, letter)?;
        self.changed_rows.insert(RowName::Account);
        let record = PersonRecord::from_bytes(&text)?;
        (record.from == name && record.to == own).then_some(())?;
        peer.card = Some(letter.card.clone());
        *self.contact_or_new(name).ok()? = peer;
        self.changed_rows.insert(RowName::Peer(name));
        self.apply(name, record);
        Some(())
    }

    /// Applies a record once, in the order of the texts.
    fn apply(&mut self, name: PublicKey, record: PersonRecord) {
        let Some(peer) = self.contacts.get_mut(&name) else { return };
        if record.of == self.own.epoch {
            // Acknowledged texts need no storage any more.
            let waiting = peer.outgoing.split_off(&(record.received.saturating_add(1)));
            let done = std::mem::replace(&mut peer.outgoing, waiting);
            self.changed_rows
                .extend(done.into_keys().map(|number| RowName::Outgoing(name, number)));
        }
        if record.epoch < peer.epoch {
            // The contact no longer reads the session of that request.
            peer.sessions.rotate_left(1);
            return self.apply_late(name, record);
        }
        if record.again {
            // They are sealed in the session of that request.
            for (number, outgoing) in &mut peer.outgoing {
                outgoing.sealed = None;
                self.changed_rows.insert(RowName::Outgoing(name, *number));
            }
        }
        if record.epoch > peer.epoch {
            self.begin_epoch(name, record.epoch);
        }
        self.release(name, record.first);
        let Some(peer) = self.contacts.get_mut(&name) else { return };
        peer.received = peer.received.max(record.first.saturating_sub(1));
        if record.number > 0 {
            peer.receipt_due = true;
            let is_next = record.number == peer.received + 1;
            if record.number > peer.received && (is_next || peer.held.len() < MAX_HELD) {
                let held = EarlyText { written: record.written, text: record.text };
                peer.held.insert(record.number, held);
                self.changed_rows.insert(RowName::Held(name, record.number));
            }
        }
        self.release(name, record.first);
    }

    /// The contact has started a new epoch: texts of the old one may still arrive, and nothing
    /// waits for them.
    fn begin_epoch(&mut self, name: PublicKey, epoch: u64) {
        self.release(name, u64::MAX);
        let Some(peer) = self.contacts.get_mut(&name) else { return };
        peer.before = (peer.epoch, peer.received);
        (peer.epoch, peer.received) = (epoch, 0);
    }

    /// Applies a text of an earlier epoch. It is not acknowledged, because its sender has lost that
    /// state.
    fn apply_late(&mut self, name: PublicKey, record: PersonRecord) {
        let Some(peer) = self.contacts.get_mut(&name) else { return };
        let PersonRecord { number, written, text, .. } = record;
        if number > 0 && (record.epoch, number) > peer.before {
            peer.before = (record.epoch, number);
            self.record(HistoryEntry { peer: name, received: true, number, written, text });
        }
    }

    /// Moves texts without a gap before them to the history, and all before `first`: no others
    /// follow there.
    fn release(&mut self, name: PublicKey, first: u64) {
        while let Some(peer) = self.contacts.get_mut(&name) {
            let Some(next) = peer.held.first_entry() else { return };
            let number = *next.key();
            if number >= first && number != peer.received + 1 {
                return;
            }
            let EarlyText { written, text } = next.remove();
            peer.received = number;
            self.changed_rows.insert(RowName::Held(name, number));
            self.record(HistoryEntry { peer: name, received: true, number, written, text });
        }
    }
}

/// The relation of a card to the known one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CardOrder {
    Newer,
    /// The same card, or an older one with the same key.
    Same,
    /// It is signed by an outdated or unacceptable key.
    Older,
}

impl CardOrder {
    fn of(card: &ContactCard, known: Option<&ContactCard>) -> Self {
        let Some(known) = known else { return Self::Newer };
        let same_key = card.epoch() == known.epoch() && card.key() == known.key();
        match card.follows(known) {
            true if card != known => Self::Newer,
            false if !same_key => Self::Older,
            _ => Self::Same,
        }
    }
}

/// Starts the session of `letter`, and decrypts its message. The session becomes the first one.
fn begin(account: &mut Account, peer: &mut Contact, letter: &Letter) -> Option<Vec<u8>> {
    let OlmMessage::PreKey(first) = &letter.message else { return None };
    let is_known = |session: &Session| session.session_id() == first.session_id();
    (!peer.sessions.iter().any(is_known)).then_some(())?;
    let identity = Curve25519PublicKey::from_bytes(letter.card.details().identity);
    let config = SessionConfig::version_2();
    let created = account.create_inbound_session(config, identity, first).ok()?;
    peer.sessions.insert(0, created.session);
    peer.sessions.truncate(MAX_SESSIONS);
    Some(created.plaintext)
}

/// Decrypts `letter` in an existing session, which becomes the first one.
fn decrypt_in(sessions: &mut [Session], letter: &Letter) -> Option<Vec<u8>> {
    for at in 0..sessions.len() {
        if let Ok(text) = sessions[at].decrypt(&letter.message) {
            sessions[..=at].rotate_right(1);
            return Some(text);
        }
    }
    None
}
