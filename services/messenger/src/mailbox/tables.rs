//! The tables of a mailbox.

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use octet_messages::rows::{decode, encode};

pub const PEOPLE: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("people");

/// Messages, by name and number: the expiry (8 bytes, seconds since 1970), and the envelope.
pub const LETTERS: TableDefinition<(&[u8; 32], u64), &[u8]> = TableDefinition::new("letters");

/// The SHA-256 of stored envelopes, so that each is stored once.
pub const SEEN: TableDefinition<(&[u8; 32], &[u8; 32]), u64> = TableDefinition::new("seen");

/// One-time keys, by name and number.
pub const PREKEYS: TableDefinition<(&[u8; 32], u64), &[u8]> = TableDefinition::new("prekeys");

pub const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// The generation of message numbers, which changes with the disk: 16 random bytes.
pub const GENERATION: &str = "generation";

/// The size of redb's cache, in bytes.
pub const CACHE: usize = 2 << 20;

/// The owner of a mailbox.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct MailboxOwner {
    /// Whether the mailbox still exists: the number of the next message is kept forever.
    pub is_admitted: bool,
    /// The published card.
    pub card: Option<Vec<u8>>,
    /// The fallback prekey.
    pub fallback: Option<Vec<u8>>,
    /// The highest number of all prekeys: none is accepted twice.
    pub last_prekey: u64,
    /// The number of the next message.
    pub next: u64,
    pub letters: u32,
    /// Their size in bytes.
    pub bytes: u64,
}

/// The owner of the mailbox `name`, if it exists.
pub fn person(
    transaction: &WriteTransaction,
    name: &[u8; 32],
) -> Result<Option<MailboxOwner>, redb::Error> {
    Ok(any_person(transaction, name)?.filter(|person| person.is_admitted))
}

/// The same, also for a deleted mailbox.
pub fn any_person(
    transaction: &WriteTransaction,
    name: &[u8; 32],
) -> Result<Option<MailboxOwner>, redb::Error> {
    let table = transaction.open_table(PEOPLE)?;
    let row = table.get(name)?;
    let Some(row) = row else { return Ok(None) };
    let damaged = || redb::Error::Corrupted("a row of people".to_owned());
    decode(row.value()).map(Some).ok_or_else(damaged)
}

/// Stores the owner `name`.
pub fn put_person(
    transaction: &WriteTransaction,
    name: &[u8; 32],
    person: &MailboxOwner,
) -> Result<(), redb::Error> {
    transaction.open_table(PEOPLE)?.insert(name, encode(person).as_slice())?;
    Ok(())
}
