//! The mailbox: what was left for those who are away. It knows whose letters it keeps, and not whose they are from.
//!
//! Every request that changes something is one transaction, and on disk before it is answered. [`Mailbox::handle`]
//! takes the time and a request; sockets are elsewhere.

mod anybody;
mod bounds;
mod owner;
mod people;
mod tables;

pub use bounds::MailboxLimits;
pub use people::Resident;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use octet_node::control::PublicKey;
use octet_node::key::random;
use octet_node::repairing::repairing;
use octet_node::say;
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase};

use crate::rate::RecentUses;
use octet_messages::request::{MailboxRefusal, MailboxReply, SignedRequest};
use tables::{CACHE, GENERATION, LETTERS, META, PEOPLE, PREKEYS, SEEN};

#[derive(Debug)]
pub struct Visit {
    pub source: IpAddr,
    /// The number that it was given, and has not used.
    nonce: Option<[u8; 32]>,
}

impl Visit {
    pub fn new(source: IpAddr) -> Self {
        Self { source, nonce: None }
    }
}

/// How far a request is: a process can be killed at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestStage {
    Come,
    /// All that it changes was worked out, and is not on disk.
    Written,
    /// It is on disk, and not answered.
    Kept,
}

impl RequestStage {
    pub const ALL: [Self; 3] = [Self::Come, Self::Written, Self::Kept];
}

/// Why the mailbox cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// The disk does not give or take it.
    #[error("the file of messages: {0}")]
    Rows(Box<redb::Error>),
    #[error(transparent)]
    Randomness(#[from] octet_node::key::NoRandomness),
    /// There is no room for another.
    #[error("there have been {0} mailboxes, which is the most")]
    Crowded(usize),
}

impl From<redb::Error> for MailboxError {
    fn from(error: redb::Error) -> Self {
        Self::Rows(Box::new(error))
    }
}

/// What a request comes to, and whether rows are other than before.
type Outcome = Result<(MailboxReply, bool), Problem>;

/// Why a request comes to nothing.
enum Problem {
    Refused(MailboxRefusal),
    Rows(Box<redb::Error>),
}

impl From<MailboxRefusal> for Problem {
    fn from(refusal: MailboxRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Each of redb's steps has an error type of its own.
macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for Problem {
            fn from(error: redb::$error) -> Self {
                Self::Rows(Box::new(error.into()))
            }
        })*
    };
}
from_redb!(Error, TransactionError, TableError, StorageError, CommitError);

#[derive(Debug)]
pub struct Mailbox {
    rows: Database,
    /// The key of its endpoint, which is in all that its owners sign.
    own: PublicKey,
    generation: [u8; 16],
    limits: MailboxLimits,
    total: u64,
    keys_of: RecentUses<[u8; 32]>,
    claims: RecentUses<IpAddr>,
    deposits: RecentUses<IpAddr>,
    /// Whose letters are told of when they come, and to whom.
    bell: Option<([u8; 32], Bell)>,
}

/// Is told that a letter has come.
#[derive(Clone)]
pub struct Bell(pub Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bell")
    }
}

impl Mailbox {
    /// The one in the file `path`, which is made if there is none. `own` is the key of its endpoint.
    ///
    /// # Errors
    /// The disk does not give or take it.
    pub fn open(path: &Path, own: PublicKey, limits: MailboxLimits) -> Result<Self, MailboxError> {
        let repairing = repairing(path);
        let opened = Database::builder().set_cache_size(CACHE).create(path);
        drop(repairing);
        let rows = opened.map_err(redb::Error::from)?;
        let generation = begin(&rows, random()?)?;
        let mut mailbox = Self {
            rows,
            own,
            total: 0,
            generation,
            limits,
            keys_of: RecentUses::new(limits.keys_of, limits.people),
            claims: RecentUses::new(limits.claims, limits.sources),
            deposits: RecentUses::new(limits.deposits, limits.sources),
            bell: None,
        };
        mailbox.count()?;
        Ok(mailbox)
    }

    /// Closes the file, so that the next start need not go through it. Whoever does that lets nobody else have the mailbox
    /// any more: what it is given now is kept nowhere.
    ///
    /// # Errors
    /// There is no memory for an empty one in its place.
    pub fn close(&mut self) -> Result<(), MailboxError> {
        let nothing = Database::builder().create_with_backend(InMemoryBackend::new());
        self.rows = nothing.map_err(redb::Error::from)?;
        Ok(())
    }

    /// Counts the bytes of all letters again.
    fn count(&mut self) -> Result<(), MailboxError> {
        self.total = self.residents()?.iter().map(|resident| resident.bytes).sum();
        Ok(())
    }

    /// Has `bell` told from now on whenever a letter for `name` is on disk.
    pub fn tell_of(&mut self, name: PublicKey, bell: Bell) {
        self.bell = Some((*name.as_bytes(), bell));
    }

    /// Whether `key` is that of its endpoint.
    pub fn is(&self, key: &PublicKey) -> bool {
        self.own == *key
    }

    /// Has a new key from now on.
    pub fn rename(&mut self, own: PublicKey) {
        self.own = own;
    }

    /// Answers a request of `visit` at `now`, in seconds since 1970.
    pub fn handle(&mut self, visit: &mut Visit, request: SignedRequest, now: u64) -> MailboxReply {
        let answer = self.handle_until(visit, request, now, |_| true);
        answer.unwrap_or(MailboxReply::Refused(MailboxRefusal::Broken))
    }

    /// The same, as long as `goes_on` says so at each stage; `None` if it was cut.
    pub fn handle_until(
        &mut self,
        visit: &mut Visit,
        request: SignedRequest,
        now: u64,
        mut goes_on: impl FnMut(RequestStage) -> bool,
    ) -> Option<MailboxReply> {
        goes_on(RequestStage::Come).then_some(())?;
        if request == SignedRequest::Nonce {
            let Ok(nonce) = random() else {
                return Some(MailboxReply::Refused(MailboxRefusal::Broken));
            };
            visit.nonce = Some(nonce);
            return Some(MailboxReply::Nonce(nonce));
        }
        match self.carry_out(visit, request, now, &mut goes_on) {
            Ok(answer) => answer,
            Err(Problem::Refused(refusal)) => Some(MailboxReply::Refused(refusal)),
            Err(Problem::Rows(error)) => {
                say!("a request could not be answered: {error}");
                Some(MailboxReply::Refused(MailboxRefusal::Broken))
            }
        }
    }

    fn carry_out(
        &mut self,
        visit: &mut Visit,
        request: SignedRequest,
        now: u64,
        goes_on: &mut impl FnMut(RequestStage) -> bool,
    ) -> Result<Option<MailboxReply>, Problem> {
        let transaction = self.rows.begin_write()?;
        let left = match &request {
            SignedRequest::Deposit(name, envelope) => Some((*name, envelope.len() as u64)),
            _ => None,
        };
        let (answer, is_changed) = match request {
            // Who is to run a command is not the mailbox.
            SignedRequest::Nonce | SignedRequest::Run(_) => {
                return Err(MailboxRefusal::Malformed.into());
            }
            SignedRequest::Claim(name) => self.claim(&transaction, &name, visit.source, now)?,
            SignedRequest::Deposit(name, envelope) => {
                self.deposit(&transaction, &name, &envelope, visit.source, now)?
            }
            SignedRequest::Owner(owned) => self.owner(&transaction, visit, &owned, now)?,
        };
        if is_changed {
            if !goes_on(RequestStage::Written) {
                return Ok(None);
            }
            transaction.commit()?;
            match left {
                Some((name, length)) => {
                    self.total += length;
                    if let Some((own, bell)) = &self.bell
                        && *own == name
                    {
                        bell.0();
                    }
                }
                None => self.count().map_err(|_| MailboxRefusal::Broken)?,
            }
            if !goes_on(RequestStage::Kept) {
                return Ok(None);
            }
        }
        Ok(Some(answer))
    }
}

/// Makes what is missing, and returns with which disk numbers began.
fn begin(rows: &Database, fresh: [u8; 16]) -> Result<[u8; 16], redb::Error> {
    let kept = rows.begin_read()?.open_table(META);
    if let Ok(table) = kept
        && let Some(kept) = table.get(GENERATION)?
        && let Ok(kept) = kept.value().try_into()
    {
        return Ok(kept);
    }
    let transaction = rows.begin_write()?;
    transaction.open_table(META)?.insert(GENERATION, fresh.as_slice())?;
    transaction.open_table(PEOPLE)?;
    transaction.open_table(LETTERS)?;
    transaction.open_table(SEEN)?;
    transaction.open_table(PREKEYS)?;
    transaction.commit()?;
    Ok(fresh)
}
