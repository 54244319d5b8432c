//! What is kept elsewhere of a person, against the loss of their folder: who they are, and whom they know. Sessions are
//! not in it, nor what is to begin them: who goes on with an old one uses keys again that were used.

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;

use crate::card::ContactCard;
use crate::limits::PEERS;
use crate::place::{self, MailboxAddress};

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// A person, as far as it is backed up.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 1), the seed of the name (32), the secret that opens
/// envelopes (32), epoch (8), the [places](Place), how many contacts (2), and each, in the order of their names.
pub struct Backup {
    /// The seed of the key that is the name.
    pub name: [u8; 32],
    /// The secret that opens envelopes.
    pub seal: [u8; 32],
    /// In which epoch texts were numbered.
    pub epoch: u64,
    pub places: Vec<MailboxAddress>,
    pub contacts: Vec<ContactBackup>,
}

/// Somebody else.
///
/// The encoding: name (32), by what name they are known (2 bytes of length, then itself, in UTF-8), whether they were
/// added or written to (1: 0 or 1), the [places](Place) of an invite, the card (2 bytes of length, which is 0 if there is
/// none, then itself), in which epoch they were heard last (8), how many texts of that have come (8), and the epoch and
/// the number of the last text of an earlier one that was shown (8 each).
pub struct ContactBackup {
    pub name: PublicKey,
    /// By what name they are known; empty if they have written by themselves.
    pub alias: String,
    /// Whether they were added or written to.
    pub is_known: bool,
    /// Where an invite said that their mailboxes are.
    pub places: Vec<MailboxAddress>,
    /// How they are reached, by their own word.
    pub card: Option<ContactCard>,
    /// In which epoch of theirs they were last heard.
    pub epoch: u64,
    /// How many texts of that epoch have come, without a gap.
    pub received: u64,
    /// The last text of an earlier epoch that was shown: the epoch, and its number.
    pub before: (u64, u64),
}

impl Backup {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.seal);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        place::put(&self.places, &mut out);
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
        let places = place::take(&mut fields)?;
        let count = usize::from(fields.u16()?);
        (count <= PEERS).then_some(())?;
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
        place::put(&self.places, out);
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
        let places = place::take(fields)?;
        let card = match take_long(fields)? {
            [] => None,
            card => Some(ContactCard::from_bytes(card).ok().filter(|card| card.name() == name)?),
        };
        let (epoch, received) = (fields.u64()?, fields.u64()?);
        let before = (fields.u64()?, fields.u64()?);
        let alias = std::str::from_utf8(alias).ok()?.to_owned();
        // After each number there is another one.
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
