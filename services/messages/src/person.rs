//! A person's state machine: identity, contacts and pending actions. It has no clock, file or
//! socket: [`Person::step`] takes an event and returns the rows to store; once they are stored,
//! [`Person::pending_actions`] returns the requests to send. After a crash these are the same, because they
//! are derived from the stored rows.

mod actions;
mod contact;
mod identity;
mod read;
mod restore;
mod write;

pub use actions::{EnvelopeContent, MailboxAction};
pub use identity::NewIdentity;

use std::collections::{BTreeMap, BTreeSet};

use octet_node::control::PublicKey;
use octet_node::sub_key::Certified;
use vodozemac::olm::Account;

use crate::card::ContactCard;
use crate::history::HistoryEntry;
use crate::invite::Invite;
use crate::limits::{MAX_ANSWERS, MAX_ANSWERS_PER_CONTACT};
use crate::mailbox_address::MailboxAddress;
use crate::rows::{ChangedRow, RowName, encode};
use contact::Contact;
use identity::OwnKeys;

#[derive(Debug)]
pub enum PersonEvent {
    /// Add a contact with a local alias.
    Add(Invite, String),
    /// Write a text to a contact, and keep it in the history.
    Write(PublicKey, String),
    /// A mailbox has returned a contact's card and a prekey, both encoded.
    Claimed(PublicKey, Vec<u8>, Vec<u8>),
    /// Content for the first (a contact) was stored by the second (a mailbox).
    Deposited(PublicKey, PublicKey, EnvelopeContent),
    /// The person's own mailbox with this key has returned these envelopes, and has this number of
    /// one-time keys left.
    Fetched(PublicKey, Vec<Vec<u8>>, u32),
    /// The person's own mailbox with this key has stored the published bundle.
    Published(PublicKey),
    /// The history was shown up to this number, exclusive.
    Shown(u64),
    /// The first unshown line of the history, by a contact, was answered or needs no answer.
    /// Neither it nor the answer is stored: answers are stored by the receiver.
    Answered(PublicKey, Option<String>),
    /// Write a text to a contact without keeping it.
    Notify(PublicKey, String),
    /// Forget a contact: only its lines in the history stay.
    Forget(PublicKey),
    /// A node has this messaging key and these mailboxes from now on.
    ChangeIdentity(Certified, Vec<MailboxAddress>),
}

/// Why an event is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("that is your own name: give the invite of somebody else")]
    OwnInvite,
    /// There is no contact with that name.
    #[error("no contact has that name: `octet-msg add` their invite first")]
    Unknown,
    #[error("too many people are known")]
    Crowded,
    /// The text is empty or too long.
    #[error("a message has 1 to 32768 bytes: write less, or several")]
    Length,
    /// There are too many unacknowledged texts to the contact or, for a node's answers, too many
    /// bytes.
    #[error("1000 messages to them are not delivered yet: wait until they are")]
    OutboxFull,
    /// The returned keys are not signed by the expected person.
    #[error(
        "the mailbox has given keys that are not theirs: do not trust it, and ask them for a new invite"
    )]
    NotTheirs,
}

pub struct Person {
    own: OwnKeys,
    account: Account,
    contacts: BTreeMap<PublicKey, Contact>,
    /// The changed rows.
    changed_rows: BTreeSet<RowName>,
    /// The new lines of the history.
    new_history: Vec<(u64, HistoryEntry)>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Person {
    /// Loads the person from these rows; `None` if there is none, or they are damaged.
    pub fn load(rows: impl IntoIterator<Item = (RowName, Vec<u8>)>) -> Option<Self> {
        let (mut own, mut account, mut contacts) = (None, None, BTreeMap::new());
        let mut later = vec![];
        for (row, value) in rows {
            match row {
                RowName::Own => own = Some(OwnKeys::load(&value)?),
                RowName::Account => account = Some(identity::load_account(&value)?),
                RowName::Peer(name) => drop(contacts.insert(name, Contact::load(&value)?)),
                RowName::Outgoing(..) | RowName::Held(..) => later.push((row, value)),
                RowName::History(_) => {}
            }
        }
        for (row, value) in later {
            match row {
                RowName::Outgoing(name, number) => {
                    contacts.get_mut(&name)?.load_outgoing(number, &value)?;
                }
                RowName::Held(name, number) => {
                    contacts.get_mut(&name)?.load_held(number, &value)?;
                }
                _ => {}
            }
        }
        Some(Self {
            own: own?,
            account: account?,
            contacts,
            changed_rows: BTreeSet::new(),
            new_history: vec![],
        })
    }

    /// Applies an event at `now`, in seconds since 1970. The returned rows must be stored
    /// atomically before anything else happens; if that fails, the person must be reloaded.
    ///
    /// # Errors
    /// The event is refused; nothing has changed then.
    pub fn step(&mut self, event: PersonEvent, now: u64) -> Result<Vec<ChangedRow>, EventError> {
        match event {
            PersonEvent::Add(invite, alias) => self.add(invite, alias)?,
            PersonEvent::Write(to, text) => self.write(to, text, now)?,
            PersonEvent::Claimed(peer, card, prekey) => {
                self.start_session(peer, &card, &prekey, now)?;
            }
            PersonEvent::Deposited(peer, mailbox, what) => {
                self.mark_deposited(peer, mailbox, what, now);
            }
            PersonEvent::Fetched(mailbox, envelopes, left) => {
                for envelope in envelopes {
                    self.receive(&envelope, now);
                }
                self.queue_receipts(now);
                self.refill(mailbox, left, now);
            }
            PersonEvent::Published(mailbox) => self.mark_published(mailbox),
            PersonEvent::Shown(upto) => {
                self.own.shown = upto.min(self.own.history);
                self.changed_rows.insert(RowName::Own);
            }
            PersonEvent::Answered(to, answer) => self.answer_line(to, answer, now)?,
            PersonEvent::Notify(to, text) => {
                self.write_answer(to, text, now)?;
                self.forget_lines();
            }
            PersonEvent::Forget(name) => self.forget(name)?,
            PersonEvent::ChangeIdentity(certified, places) => {
                self.change_identity(&certified, places, now);
            }
        }
        Ok(self.changes())
    }

    pub fn name(&self) -> PublicKey {
        self.own.certificate.body().node
    }

    /// The person's invite.
    pub fn invite(&self) -> Invite {
        Invite { name: self.name(), places: self.own.mailbox_addresses() }
    }

    /// The contacts, with their local aliases (empty for those that have written first).
    pub fn contacts(&self) -> impl Iterator<Item = (&PublicKey, &str)> {
        self.contacts.iter().map(|(name, peer)| (name, peer.alias.as_str()))
    }

    /// The number of unacknowledged texts to a contact.
    pub fn unacknowledged(&self, peer: &PublicKey) -> usize {
        self.contacts.get(peer).map_or(0, |peer| peer.outgoing.len())
    }

    /// The number of texts that no mailbox has stored yet.
    pub fn undeposited(&self, peer: &PublicKey) -> usize {
        let is_nowhere = |outgoing: &&contact::Outgoing| {
            outgoing.sealed.as_ref().is_none_or(|sealed| sealed.left.is_empty())
        };
        let peer = self.contacts.get(peer);
        peer.map_or(0, |peer| peer.outgoing.values().filter(is_nowhere).count())
    }

    /// The number of lines in the history, and of the shown ones.
    pub fn history(&self) -> (u64, u64) {
        (self.own.history, self.own.shown)
    }

    /// The number of unreadable envelopes.
    pub fn refused(&self) -> u64 {
        self.own.refused
    }

    fn add(&mut self, invite: Invite, alias: String) -> Result<(), EventError> {
        if invite.name == self.name() {
            return Err(EventError::OwnInvite);
        }
        let peer = self.contact_or_new(invite.name)?;
        peer.alias = alias;
        peer.is_known = true;
        peer.places = invite.places;
        self.changed_rows.insert(RowName::Peer(invite.name));
        Ok(())
    }

    fn answer_line(
        &mut self,
        to: PublicKey,
        answer: Option<String>,
        now: u64,
    ) -> Result<(), EventError> {
        if let Some(answer) = answer {
            self.write_answer(to, answer, now)?;
        }
        self.forget_lines();
        if self.own.shown < self.own.history {
            self.changed_rows.extend([RowName::Own, RowName::History(self.own.shown)]);
            self.own.shown += 1;
        }
        Ok(())
    }

    /// Writes a node's answer, bounded in bytes because it is in memory only.
    fn write_answer(&mut self, to: PublicKey, text: String, now: u64) -> Result<(), EventError> {
        let of_one = self.contacts.get(&to).map_or(0, Contact::outgoing_bytes);
        let all: usize = self.contacts.values().map(Contact::outgoing_bytes).sum();
        if of_one + text.len() > MAX_ANSWERS_PER_CONTACT || all + text.len() > MAX_ANSWERS {
            return Err(EventError::OutboxFull);
        }
        self.write(to, text, now)
    }

    /// Removes the lines of this step from the history.
    fn forget_lines(&mut self) {
        self.own.history -= self.new_history.len() as u64;
        self.new_history.clear();
    }

    fn contact_or_new(&mut self, name: PublicKey) -> Result<&mut Contact, EventError> {
        if !self.contacts.contains_key(&name) && self.contacts.len() >= crate::limits::MAX_CONTACTS
        {
            self.forget_unknown_contact()?;
        }
        Ok(self.contacts.entry(name).or_default())
    }

    /// Forgets the contact with the fewest texts among those that were neither added nor written
    /// to.
    fn forget_unknown_contact(&mut self) -> Result<(), EventError> {
        let strangers = self.contacts.iter().filter(|(_, peer)| !peer.is_known);
        let stranger = strangers.min_by_key(|(_, peer)| peer.received).map(|(name, _)| *name);
        self.forget(stranger.ok_or(EventError::Crowded)?)
    }

    fn forget(&mut self, name: PublicKey) -> Result<(), EventError> {
        let peer = self.contacts.remove(&name).ok_or(EventError::Unknown)?;
        self.changed_rows.insert(RowName::Peer(name));
        self.changed_rows.extend(peer.held.into_keys().map(|number| RowName::Held(name, number)));
        self.changed_rows
            .extend(peer.outgoing.into_keys().map(|number| RowName::Outgoing(name, number)));
        Ok(())
    }

    fn card(&self) -> Option<ContactCard> {
        self.own.card(self.account.curve25519_key())
    }

    fn record(&mut self, entry: HistoryEntry) {
        let number = self.own.history;
        self.own.history += 1;
        self.changed_rows.insert(RowName::Own);
        self.new_history.push((number, entry));
    }

    /// All changed rows.
    fn changes(&mut self) -> Vec<ChangedRow> {
        let touched = std::mem::take(&mut self.changed_rows);
        let lines = std::mem::take(&mut self.new_history).into_iter().map(|(number, entry)| {
            ChangedRow { row: RowName::History(number), value: Some(encode(&entry)) }
        });
        let rows = touched.into_iter().map(|row| ChangedRow { value: self.value(&row), row });
        rows.chain(lines).collect()
    }

    fn value(&self, row: &RowName) -> Option<Vec<u8>> {
        match row {
            RowName::Own => Some(self.own.save()),
            RowName::Account => Some(identity::save_account(&self.account)),
            RowName::Peer(name) => self.contacts.get(name).map(Contact::save),
            RowName::Outgoing(name, number) => {
                self.contacts.get(name)?.outgoing.get(number).map(encode)
            }
            RowName::Held(name, number) => self.contacts.get(name)?.held.get(number).map(encode),
            RowName::History(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_CONTACTS, MAX_TEXT};
    use crate::mailbox_address::MailboxAddress;

    fn name(number: usize) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        PublicKey::new(bytes)
    }

    fn add(person: &mut Person, number: usize) -> Result<Vec<ChangedRow>, EventError> {
        let invite = Invite { name: name(number), places: Vec::<MailboxAddress>::new() };
        person.step(PersonEvent::Add(invite, "ben".into()), 0)
    }

    #[test]
    fn a_row_of_before_there_were_epochs_is_read() {
        let fresh = NewIdentity { name: [1; 32], key: [2; 32], seal: [3; 32] };
        let (person, _) = Person::new(fresh, vec![], 0).unwrap();
        let row = person.own.save();
        let (added, before) = row.split_last().unwrap();
        assert_eq!(*added, 0);
        assert!(
            OwnKeys::load(before).unwrap().save() == row
                && OwnKeys::load(&row).unwrap().save() == row
        );
        assert!(OwnKeys::load(&before[..before.len() - 1]).is_none());
    }

    /// However many unknown senders write, there is room for added contacts, and these stay.
    #[test]
    fn strangers_make_room() {
        let fresh = NewIdentity { name: [1; 32], key: [2; 32], seal: [3; 32] };
        let (mut person, _) = Person::new(fresh, vec![], 0).unwrap();
        add(&mut person, 1000).unwrap();
        for number in 1..MAX_CONTACTS {
            person.contact_or_new(name(number)).unwrap().received = 2;
        }
        person.contacts.get_mut(&name(7)).unwrap().received = 1;
        let gone = |changes: &[ChangedRow], number| {
            let row = RowName::Peer(name(number));
            changes.iter().any(|change| change.row == row && change.value.is_none())
        };
        assert!(gone(&add(&mut person, 1001).unwrap(), 7));
        // A further unknown sender displaces another one.
        person.contact_or_new(name(2000)).unwrap();
        assert_eq!(person.contacts.len(), MAX_CONTACTS);
        for number in 1002..1000 + MAX_CONTACTS {
            add(&mut person, number).unwrap();
        }
        assert!(person.contacts.values().all(|peer| peer.is_known));
        assert_eq!(add(&mut person, 3000).unwrap_err(), EventError::Crowded);
        assert!(person.contact_or_new(name(2001)).is_err());
        // Until one of them is forgotten.
        let changes = person.step(PersonEvent::Forget(name(1000)), 0).unwrap();
        assert!(gone(&changes, 1000));
        assert_eq!(
            person.step(PersonEvent::Forget(name(1000)), 0).unwrap_err(),
            EventError::Unknown
        );
        add(&mut person, 3000).unwrap();
    }

    /// Answers are bounded per contact, and in total by the available memory.
    #[test]
    fn answers_that_nobody_fetches_are_bounded_by_bytes() {
        let fresh = NewIdentity { name: [1; 32], key: [2; 32], seal: [3; 32] };
        let (mut person, _) = Person::new(fresh, vec![], 0).unwrap();
        let answer = |length| "x".repeat(length);
        for number in 0..20 {
            add(&mut person, number).unwrap();
            let mut left = 1;
            while person
                .step(PersonEvent::Answered(name(number), Some(answer(MAX_TEXT))), 0)
                .is_ok()
            {
                left += 1;
            }
            // The number of answers that fit, for one and for all.
            let wanted = (MAX_ANSWERS_PER_CONTACT / MAX_TEXT)
                .min((MAX_ANSWERS / MAX_TEXT).saturating_sub(number * 32));
            assert_eq!(left - 1, wanted, "{number}");
        }
        // A person's texts are bounded by number only: others cannot make them grow.
        person.step(PersonEvent::Write(name(0), answer(MAX_TEXT)), 0).unwrap();
        // Fetched answers make room.
        person.step(PersonEvent::Forget(name(1)), 0).unwrap();
        add(&mut person, 1).unwrap();
        person.step(PersonEvent::Answered(name(1), Some(answer(MAX_TEXT))), 0).unwrap();
    }
}
