//! The mailboxes, as the box's owner administers them.

use octet_node::control::PublicKey;
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::owner::delete;
use super::tables::{LETTERS, MailboxOwner, PEOPLE, PREKEYS, any_person, person, put_person};
use super::{Mailbox, MailboxError, Problem};
use octet_messages::rows::decode;

/// The displayed state of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    pub name: PublicKey,
    /// Whether its owner has published keys.
    pub has_keys: bool,
    /// The number of one-time keys left.
    pub keys: usize,
    /// The number of stored messages.
    pub letters: u32,
    /// Their size in bytes.
    pub bytes: u64,
}

impl Mailbox {
    /// Makes a mailbox for `name`, if there is none.
    ///
    /// # Errors
    /// Writing fails, or the maximum number is reached.
    pub fn admit(&mut self, name: &PublicKey) -> Result<(), MailboxError> {
        let transaction = self.rows.begin_write().map_err(redb::Error::from)?;
        let saved = any_person(&transaction, name.as_bytes())?;
        let count = transaction.open_table(PEOPLE).map_err(redb::Error::from)?.len();
        let count = count.map_err(redb::Error::from)? as usize;
        if saved.is_none() && count >= self.limits.people {
            return Err(MailboxError::Crowded(self.limits.people));
        }
        let saved = saved.unwrap_or(MailboxOwner { next: 1, ..MailboxOwner::default() });
        put_person(&transaction, name.as_bytes(), &MailboxOwner { is_admitted: true, ..saved })?;
        Ok(transaction.commit().map_err(redb::Error::from)?)
    }

    /// Deletes the mailbox of `name` with all of its messages. Returns whether there was one.
    ///
    /// # Errors
    /// Writing fails.
    pub fn remove(&mut self, name: &PublicKey) -> Result<bool, MailboxError> {
        let was_there = self.delete_mailbox(name.as_bytes()).map_err(from_problem)?;
        self.count()?;
        Ok(was_there)
    }

    fn delete_mailbox(&mut self, name: &[u8; 32]) -> Result<bool, Problem> {
        let transaction = self.rows.begin_write()?;
        let Some(resident) = person(&transaction, name)? else { return Ok(false) };
        let (next, last_prekey) = (resident.next, resident.last_prekey);
        delete(&transaction, name, resident, |_, _| true)?;
        let is_own = |key: (&[u8; 32], u64), _: &[u8]| key.0 != name;
        transaction.open_table(PREKEYS)?.retain(is_own)?;
        put_person(
            &transaction,
            name,
            &MailboxOwner { next, last_prekey, ..MailboxOwner::default() },
        )?;
        transaction.commit()?;
        Ok(true)
    }

    /// Deletes messages that have expired at `now`. Returns the number of mailboxes with such
    /// messages.
    ///
    /// # Errors
    /// Writing fails.
    pub fn expire(&mut self, now: u64) -> Result<usize, MailboxError> {
        let names: Vec<PublicKey> = self.residents()?.into_iter().map(|one| one.name).collect();
        let run = || -> Result<usize, Problem> {
            let mut count = 0;
            let transaction = self.rows.begin_write()?;
            for name in names {
                let Some(resident) = person(&transaction, name.as_bytes())? else { continue };
                let is_some =
                    delete(&transaction, name.as_bytes(), resident, |_, goes| goes <= now)?;
                count += usize::from(is_some);
            }
            if count > 0 {
                transaction.commit()?;
            }
            Ok(count)
        };
        let count = run().map_err(from_problem)?;
        self.count()?;
        Ok(count)
    }

    /// All mailboxes.
    ///
    /// # Errors
    /// Reading fails.
    pub fn residents(&self) -> Result<Vec<Resident>, MailboxError> {
        let read = || -> Result<Vec<Resident>, redb::Error> {
            let transaction = self.rows.begin_read()?;
            let people = transaction.open_table(PEOPLE)?;
            let prekeys = transaction.open_table(PREKEYS)?;
            let mut found = vec![];
            for pair in people.iter()? {
                let (name, row) = pair?;
                let Some(person) =
                    decode::<MailboxOwner>(row.value()).filter(|one| one.is_admitted)
                else {
                    continue;
                };
                let name = name.value();
                found.push(Resident {
                    name: PublicKey::new(*name),
                    has_keys: person.card.is_some(),
                    keys: prekeys.range((name, 0)..=(name, u64::MAX))?.count(),
                    letters: person.letters,
                    bytes: person.bytes,
                });
            }
            Ok(found)
        };
        Ok(read()?)
    }

    /// The numbers of the messages in the mailbox of `name`.
    ///
    /// # Errors
    /// Reading fails.
    pub fn numbers(&self, name: &PublicKey) -> Result<Vec<u64>, MailboxError> {
        let read = || -> Result<Vec<u64>, redb::Error> {
            let letters = self.rows.begin_read()?.open_table(LETTERS)?;
            let own = (name.as_bytes(), 0)..=(name.as_bytes(), u64::MAX);
            letters.range(own)?.map(|pair| Ok(pair?.0.value().1)).collect()
        };
        Ok(read()?)
    }
}

/// Only disk errors occur outside of requests.
fn from_problem(problem: Problem) -> MailboxError {
    match problem {
        Problem::Rows(error) => MailboxError::Rows(error),
        Problem::Refused(refusal) => {
            MailboxError::Rows(Box::new(redb::Error::Corrupted(refusal.to_string())))
        }
    }
}
