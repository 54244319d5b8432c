//! Restores a person from a backup.

use super::Person;
use super::contact::Contact;
use super::identity::NewIdentity;
use crate::backup::{Backup, ContactBackup};
use crate::rows::{ChangedRow, RowName};

impl Person {
    /// The person's backup.
    pub fn backup(&self) -> Backup {
        let contacts = self.contacts.iter().map(|(name, peer)| ContactBackup {
            name: *name,
            alias: peer.alias.clone(),
            is_known: peer.is_known,
            places: peer.places.clone(),
            card: peer.card.clone(),
            epoch: peer.epoch,
            received: peer.received,
            before: peer.before,
        });
        Backup {
            name: *self.own.name.seed(),
            seal: *self.own.seal.secret(),
            epoch: self.own.epoch,
            places: self.own.mailbox_addresses(),
            contacts: contacts.collect(),
        }
    }

    /// Restores the person of `backup` at `now`, in seconds since 1970, and returns the rows to
    /// store. `key` are 32 random bytes. `None` if keys cannot be derived.
    ///
    /// Contacts recognise a restore by a higher epoch. The new epoch exceeds all earlier ones, also
    /// those of an earlier restore from the same backup, as long as the clock does not go back.
    pub fn restore(backup: Backup, key: [u8; 32], now: u64) -> Option<(Self, Vec<ChangedRow>)> {
        let epoch = backup.epoch.checked_add(1)?.max(now);
        let fresh = NewIdentity { name: backup.name, key, seal: backup.seal };
        let mut person = Self::with_epoch(fresh, backup.places, epoch, now)?;
        for contact in backup.contacts {
            person.changed_rows.insert(RowName::Peer(contact.name));
            // Texts in flight were sealed for keys that are lost.
            let is_lost = contact.card.is_some();
            let peer = Contact {
                alias: contact.alias,
                is_known: contact.is_known,
                places: contact.places,
                card: contact.card,
                epoch: contact.epoch,
                received: contact.received,
                before: contact.before,
                lost: is_lost,
                lost_at: is_lost.then_some(now),
                ..Contact::default()
            };
            person.contacts.insert(contact.name, peer);
        }
        let changes = person.changes();
        Some((person, changes))
    }
}
