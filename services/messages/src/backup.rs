//! The backup of a person, against the loss of their folder: identity and contacts. Sessions and
//! prekeys are not included, because resuming an old session would reuse keys.

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;

use crate::card::ContactCard;
use crate::limits::MAX_CONTACTS;
use crate::mailbox_address::{self, MailboxAddress};

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The backup of a person.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 1), the seed of the name (32), the
/// secret that opens envelopes (32), epoch (8), the [mailboxes](MailboxAddress), the number of
/// contacts (2), and each, sorted by name.
pub struct Backup {
    /// The seed of the name key.
    pub name: [u8; 32],
    /// The secret that opens envelopes.
    pub seal: [u8; 32],
    /// The epoch of text numbers.
    pub epoch: u64,
    pub places: Vec<MailboxAddress>,
    pub contacts: Vec<ContactBackup>,
}

/// A contact.
///
/// The encoding: name (32), alias (2 bytes of length, then UTF-8), whether they were added or
/// written to (1: 0 or 1), the [mailboxes](MailboxAddress) of an invite, the card (2 bytes of
/// length, 0 if there is none, then the card), the last seen epoch (8), the number of texts
/// received in it (8), and the epoch and number of the last shown text of an earlier epoch (8
/// each).
pub struct ContactBackup {
    pub name: PublicKey,
    /// The local alias; empty for a contact that has written first.
    pub alias: String,
    /// Whether the contact was added or written to.
    pub is_known: bool,
    /// The mailboxes in the invite.
    pub places: Vec<MailboxAddress>,
    /// The contact's latest card.
    pub card: Option<ContactCard>,
    /// The contact's last seen epoch.
    pub epoch: u64,
    /// The number of texts received in that epoch, without a gap.
    pub received: u64,
    /// The last shown text of an earlier epoch: epoch, and number.
    pub before: (u64, u64),
}

impl Backup {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.seal);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        mailbox_address::encode(&self.places, &mut out);
        out.extend_from_slice(&(self.contacts.len() as u16).to_be_bytes());
        for contact in &self.contacts {
            contact.put(&mut out);
        }
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        (fields.u8()? == VERSION).then_some(())?;
        let (name, seal, epoch) = (fields.array()?, fields.array()?, fields.u64()?);
        let places = mailbox_address::decode(&mut fields)?;
        let count = usize::from(fields.u16()?);
        (count <= MAX_CONTACTS).then_some(())?;
        let contacts = (0..count).map(|_| ContactBackup::take(&mut fields));
        let contacts: Vec<ContactBackup> = contacts.collect::<Option<_>>()?;
        let whole = fields.0.is_empty() && contacts.is_sorted_by(|one, next| one.name < next.name);
        whole.then_some(Self { name, seal, epoch, places, contacts })
    }
}

impl ContactBackup {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.as_bytes());
        put_long(self.alias.as_bytes(), out);
        out.push(self.is_known.into());
        mailbox_address::encode(&self.places, out);
        put_long(&self.card.as_ref().map(ContactCard::to_bytes).unwrap_or_default(), out);
        for number in [self.epoch, self.received, self.before.0, self.before.1] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    fn take(fields: &mut Fields) -> Option<Self> {
        let (name, alias) = (fields.key()?, take_long(fields)?);
        let is_known = match fields.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let places = mailbox_address::decode(fields)?;
        let card = match take_long(fields)? {
            [] => None,
            card => Some(ContactCard::from_bytes(card).ok().filter(|card| card.name() == name)?),
        };
        let (epoch, received) = (fields.u64()?, fields.u64()?);
        let before = (fields.u64()?, fields.u64()?);
        let alias = std::str::from_utf8(alias).ok()?.to_owned();
        // Each number must have a successor.
        let counts = received < u64::MAX;
        counts.then_some(Self { name, alias, is_known, places, card, epoch, received, before })
    }
}

fn put_long(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take_long<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    let length = usize::from(fields.u16()?);
    fields.take(length)
}
