//! Letters that have come.

use octet_node::control::PublicKey;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};

use super::Person;
use super::peer::{Held, Peer};
use crate::card::Card;
use crate::history::Entry;
use crate::letter::Letter;
use crate::limits::{ASK, HELD, SESSIONS};
use crate::record::Record;
use crate::rows::Row;

impl Person {
    /// Reads an envelope. What cannot be read is counted and left: it would lie in the mailbox for ever.
    pub(super) fn read(&mut self, envelope: &[u8], now: u64) {
        if self.take(envelope, now).is_none() {
            self.own.refused += 1;
            self.touched.insert(Row::Own);
        }
    }

    fn take(&mut self, envelope: &[u8], now: u64) -> Option<()> {
        let own = self.name();
        let letter = Letter::from_bytes(&self.own.seal.open(envelope, &own)?)?;
        let name = letter.card.name();
        (name != own).then_some(())?;
        if !self.peers.contains_key(&name) {
            return self.take_first(name, &letter);
        }
        let peer = self.peers.get_mut(&name)?;
        let standing = Standing::of(&letter.card, peer.card.as_ref());
        // What goes on with a session is theirs, however old the card is. With an older one none begins.
        let text = decrypt_in(&mut peer.sessions, &letter).or_else(|| {
            (standing != Standing::Older).then(|| begin(&mut self.account, peer, &letter))?
        });
        let Some(text) = text else {
            self.cannot_open(name, letter.number, now);
            return None;
        };
        self.touched.extend([Row::Peer(name), Row::Account]);
        let record = Record::from_bytes(&text)?;
        (record.from == name && record.to == own).then_some(())?;
        if standing == Standing::Newer {
            peer.card = Some(letter.card);
        }
        self.apply(name, record);
        // What had no session may have one now.
        self.seal_waiting(name);
        Some(())
    }

    /// A letter that says that it has this text was opened by no session.
    fn cannot_open(&mut self, name: PublicKey, number: u64, now: u64) {
        let Some(peer) = self.peers.get_mut(&name) else { return };
        if number == 0 || peer.held.contains_key(&number) {
            // A word about such words would never end.
            return;
        }
        if number <= peer.received {
            // They may not know that it has come. If they are about to be told, this lay in another mailbox.
            peer.owed |= peer.receipt.is_none();
        } else if peer.lost_at.is_none_or(|at| now.saturating_sub(at) >= ASK) {
            // Whoever has their card can have put it there: so it is asked for seldom.
            (peer.lost, peer.lost_at) = (true, Some(now));
        }
        self.touched.insert(Row::Peer(name));
    }

    /// A letter of somebody who is not known here.
    fn take_first(&mut self, name: PublicKey, letter: &Letter) -> Option<()> {
        let own = self.name();
        let mut peer = Peer::default();
        let text = begin(&mut self.account, &mut peer, letter)?;
        self.touched.insert(Row::Account);
        let record = Record::from_bytes(&text)?;
        (record.from == name && record.to == own).then_some(())?;
        peer.card = Some(letter.card.clone());
        *self.peer_or_new(name).ok()? = peer;
        self.touched.insert(Row::Peer(name));
        self.apply(name, record);
        Some(())
    }

    /// Takes what is said, once, and in the order in which it was written.
    fn apply(&mut self, name: PublicKey, record: Record) {
        let Some(peer) = self.peers.get_mut(&name) else { return };
        // What they have needs no place here any more.
        let waiting = peer.outgoing.split_off(&(record.received.saturating_add(1)));
        let done = std::mem::replace(&mut peer.outgoing, waiting);
        self.touched.extend(done.into_keys().map(|number| Row::Outgoing(name, number)));
        if record.again {
            // They are sealed in the session in which that was said.
            for (number, outgoing) in &mut peer.outgoing {
                outgoing.sealed = None;
                self.touched.insert(Row::Outgoing(name, *number));
            }
        }
        if record.number == 0 {
            return;
        }
        peer.owed = true;
        if record.number <= peer.received {
            return;
        }
        if peer.held.len() < HELD || record.number == peer.received + 1 {
            let held = Held { written: record.written, text: record.text };
            peer.held.insert(record.number, held);
            self.touched.insert(Row::Held(name, record.number));
        }
        self.release(name);
    }

    /// Puts into the history what no letter is missing before.
    fn release(&mut self, name: PublicKey) {
        while let Some(peer) = self.peers.get_mut(&name) {
            let number = peer.received + 1;
            let Some(Held { written, text }) = peer.held.remove(&number) else { return };
            peer.received = number;
            self.touched.insert(Row::Held(name, number));
            self.remember(Entry { peer: name, received: true, number, written, text });
        }
    }
}

/// What a card is to the one that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It counts instead.
    Newer,
    /// It is the same, or was before, with the same key.
    Same,
    /// It is signed by a key that does not count, or no longer.
    Older,
}

impl Standing {
    fn of(card: &Card, known: Option<&Card>) -> Self {
        let same_key = |known: &Card| card.epoch() == known.epoch() && card.key() == known.key();
        match known {
            Some(known) if !card.follows(known) => {
                if same_key(known) {
                    Self::Same
                } else {
                    Self::Older
                }
            }
            _ => Self::Newer,
        }
    }
}

/// What `letter` says, in the session that it begins, which is the first afterwards.
fn begin(account: &mut Account, peer: &mut Peer, letter: &Letter) -> Option<Vec<u8>> {
    let OlmMessage::PreKey(first) = &letter.message else { return None };
    let is_known = |session: &Session| session.session_id() == first.session_id();
    (!peer.sessions.iter().any(is_known)).then_some(())?;
    let identity = Curve25519PublicKey::from_bytes(letter.card.details().identity);
    let config = SessionConfig::version_2();
    let created = account.create_inbound_session(config, identity, first).ok()?;
    peer.sessions.insert(0, created.session);
    peer.sessions.truncate(SESSIONS);
    Some(created.plaintext)
}

/// What `letter` says, in a session that there is. It is the first afterwards.
fn decrypt_in(sessions: &mut [Session], letter: &Letter) -> Option<Vec<u8>> {
    for at in 0..sessions.len() {
        if let Ok(text) = sessions[at].decrypt(&letter.message) {
            sessions[..=at].rotate_right(1);
            return Some(text);
        }
    }
    None
}
