//! The mailbox server's state: it stores messages until their receivers fetch them. It knows the
//! receivers, but not the senders.
//!
//! Every request that changes something is one transaction, and on disk before it is answered.
//! [`Mailbox::handle`] takes the time and a request; sockets are elsewhere.

mod limits;
mod owner;
mod people;
mod public;
mod tables;
mod wakers;

pub use limits::MailboxLimits;
pub use people::Resident;
pub use wakers::WakeCallback;

use std::net::IpAddr;
use std::path::Path;

use octet_node::control::PublicKey;
use octet_node::key::random;
use octet_node::limits::RateLimiter;
use octet_node::repairing::repairing;
use octet_node::say;
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase};

use octet_messages::request::{MailboxRefusal, MailboxReply, SignedRequest};
use tables::{CACHE, GENERATION, LETTERS, META, PEOPLE, PREKEYS, SEEN};
use wakers::Wakers;

#[derive(Debug, Clone)]
pub struct Visit {
    pub source: IpAddr,
    /// The last nonce that was sent and is unused.
    nonce: Option<[u8; 32]>,
}

impl Visit {
    pub fn new(source: IpAddr) -> Self {
        Self { source, nonce: None }
    }
}

/// The stages of a request, at each of which the process can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestStage {
    Received,
    /// The changes are computed, but not on disk.
    Written,
    /// The changes are on disk, but not answered.
    Committed,
}

impl RequestStage {
    pub const ALL: [Self; 3] = [Self::Received, Self::Written, Self::Committed];
}

/// Why the mailbox cannot be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// Reading or writing failed.
    #[error("the file of messages: {0}")]
    Rows(Box<redb::Error>),
    #[error(transparent)]
    Randomness(#[from] octet_node::key::NoRandomness),
    /// The maximum number of mailboxes is reached.
    #[error("there have been {0} mailboxes, which is the most")]
    Crowded(usize),
}

impl From<redb::Error> for MailboxError {
    fn from(error: redb::Error) -> Self {
        Self::Rows(Box::new(error))
    }
}

/// The answer to a request, and whether rows have changed.
type Outcome = Result<(MailboxReply, bool), Problem>;

/// Why a request fails.
enum Problem {
    Refused(MailboxRefusal),
    Rows(Box<redb::Error>),
}

impl From<MailboxRefusal> for Problem {
    fn from(refusal: MailboxRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Each of redb's operations has its own error type.
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
    /// The endpoint's key, which is part of all signed requests.
    own: PublicKey,
    generation: [u8; 16],
    limits: MailboxLimits,
    total: u64,
    keys_of: RateLimiter<[u8; 32]>,
    claims: RateLimiter<IpAddr>,
    deposits: RateLimiter<IpAddr>,
    wakers: Wakers,
}

impl Mailbox {
    /// Opens or creates the file `path`. `own` is the endpoint's key.
    ///
    /// # Errors
    /// Reading or writing fails.
    pub fn open(path: &Path, own: PublicKey, limits: MailboxLimits) -> Result<Self, MailboxError> {
        let repairing = repairing(path);
        let opened = Database::builder().set_cache_size(CACHE).create(path);
        drop(repairing);
        let rows = opened.map_err(redb::Error::from)?;
        let generation = create_tables(&rows, random()?)?;
        let mut mailbox = Self {
            rows,
            own,
            total: 0,
            generation,
            limits,
            keys_of: RateLimiter::new(limits.keys_of, limits.people),
            claims: RateLimiter::new(limits.claims, limits.sources),
            deposits: RateLimiter::new(limits.deposits, limits.sources),
            wakers: Wakers::default(),
        };
        mailbox.count()?;
        Ok(mailbox)
    }

    /// Closes the file cleanly, so that the next start need not scan it. The caller must block
    /// further requests: their changes would be lost.
    ///
    /// # Errors
    /// There is no memory for an empty replacement.
    pub fn close(&mut self) -> Result<(), MailboxError> {
        let nothing = Database::builder().create_with_backend(InMemoryBackend::new());
        self.rows = nothing.map_err(redb::Error::from)?;
        Ok(())
    }

    /// Recounts the bytes of all messages.
    fn count(&mut self) -> Result<(), MailboxError> {
        self.total = self.residents()?.iter().map(|resident| resident.bytes).sum();
        Ok(())
    }

    /// Calls `waker` when a message for `name` is on disk, as long as the caller keeps it.
    pub fn add_waker(&mut self, name: &[u8; 32], waker: &WakeCallback) {
        self.wakers.add(name, waker);
    }

    /// Whether `key` is the endpoint's key.
    pub fn is_own_key(&self, key: &PublicKey) -> bool {
        self.own == *key
    }

    /// Changes the endpoint's key.
    pub fn set_key(&mut self, own: PublicKey) {
        self.own = own;
    }

    /// Handles a request of `visit` at `now`, in seconds since 1970.
    pub fn handle(&mut self, visit: &mut Visit, request: SignedRequest, now: u64) -> MailboxReply {
        let answer = self.handle_until(visit, request, now, |_| true);
        answer.unwrap_or(MailboxReply::Refused(MailboxRefusal::Broken))
    }

    /// The same, as long as `should_continue` returns true at each stage; `None` if it was interrupted.
    pub fn handle_until(
        &mut self,
        visit: &mut Visit,
        request: SignedRequest,
        now: u64,
        mut should_continue: impl FnMut(RequestStage) -> bool,
    ) -> Option<MailboxReply> {
        should_continue(RequestStage::Received).then_some(())?;
        if request == SignedRequest::Nonce {
            let Ok(nonce) = random() else {
                return Some(MailboxReply::Refused(MailboxRefusal::Broken));
            };
            visit.nonce = Some(nonce);
            return Some(MailboxReply::Nonce(nonce));
        }
        match self.execute(visit, request, now, &mut should_continue) {
            Ok(answer) => answer,
            Err(Problem::Refused(refusal)) => Some(MailboxReply::Refused(refusal)),
            Err(Problem::Rows(error)) => {
                say!("a request could not be answered: {error}");
                Some(MailboxReply::Refused(MailboxRefusal::Broken))
            }
        }
    }

    fn execute(
        &mut self,
        visit: &mut Visit,
        request: SignedRequest,
        now: u64,
        should_continue: &mut impl FnMut(RequestStage) -> bool,
    ) -> Result<Option<MailboxReply>, Problem> {
        let transaction = self.rows.begin_write()?;
        let left = match &request {
            SignedRequest::Deposit(name, envelope) => Some((*name, envelope.len() as u64)),
            _ => None,
        };
        let (answer, is_changed) = match request {
            // The mailbox itself runs no commands.
            SignedRequest::Nonce | SignedRequest::Run(_) => {
                return Err(MailboxRefusal::Malformed.into());
            }
            SignedRequest::Claim(name) => self.claim(&transaction, &name, visit.source, now)?,
            SignedRequest::Deposit(name, envelope) => {
                self.deposit(&transaction, &name, &envelope, visit.source, now)?
            }
            SignedRequest::Owner(owned) => self.handle_owner(&transaction, visit, &owned, now)?,
        };
        if is_changed {
            if !should_continue(RequestStage::Written) {
                return Ok(None);
            }
            transaction.commit()?;
            match left {
                Some((name, length)) => {
                    self.total += length;
                    self.wakers.wake(&name);
                }
                None => self.count().map_err(|_| MailboxRefusal::Broken)?,
            }
            if !should_continue(RequestStage::Committed) {
                return Ok(None);
            }
        }
        Ok(Some(answer))
    }
}

/// Creates missing tables, and returns the generation of message numbers.
fn create_tables(rows: &Database, fresh: [u8; 16]) -> Result<[u8; 16], redb::Error> {
    let saved = rows.begin_read()?.open_table(META);
    if let Ok(table) = saved
        && let Some(saved) = table.get(GENERATION)?
        && let Ok(saved) = saved.value().try_into()
    {
        return Ok(saved);
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
