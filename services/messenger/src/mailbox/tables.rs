//! The tables of a mailbox.

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use octet_messages::rows::{decode, encode};

pub const PEOPLE: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("people");

/// Letters, by name and number: when they go (8 bytes, seconds since 1970), and the envelope.
pub const LETTERS: TableDefinition<(&[u8; 32], u64), &[u8]> = TableDefinition::new("letters");

/// Which envelopes lie there, by their SHA-256, so that each is kept once.
pub const SEEN: TableDefinition<(&[u8; 32], &[u8; 32]), u64> = TableDefinition::new("seen");

/// One-time keys, by name and number.
pub const PREKEYS: TableDefinition<(&[u8; 32], u64), &[u8]> = TableDefinition::new("prekeys");

pub const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// With which disk the numbers of letters began: 16 random bytes.
pub const GENERATION: &str = "generation";

/// The memory that redb may use for what it has read, in bytes.
pub const CACHE: usize = 2 << 20;

/// Somebody who has a mailbox.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct MailboxOwner {
    /// Whether they still have it: the number of the next letter is kept for good.
    pub is_admitted: bool,
    /// How they are reached, once they have said so.
    pub card: Option<Vec<u8>>,
    /// The prekey for when there is no other.
    pub fallback: Option<Vec<u8>>,
    /// The highest number of all their prekeys: none is taken twice.
    pub last_prekey: u64,
    /// The number of the next letter.
    pub next: u64,
    pub letters: u32,
    /// How many bytes that are.
    pub bytes: u64,
}

/// Who has the mailbox `name`, if there is one.
pub fn person(
    transaction: &WriteTransaction,
    name: &[u8; 32],
) -> Result<Option<MailboxOwner>, redb::Error> {
    Ok(any_person(transaction, name)?.filter(|person| person.is_admitted))
}

/// The same, also if it was taken away.
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

/// Keeps what is known of `name`.
pub fn put_person(
    transaction: &WriteTransaction,
    name: &[u8; 32],
    person: &MailboxOwner,
) -> Result<(), redb::Error> {
    transaction.open_table(PEOPLE)?.insert(name, encode(person).as_slice())?;
    Ok(())
}
