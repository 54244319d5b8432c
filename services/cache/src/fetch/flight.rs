//! An object that is on its way: how much of it is here, and what those who want it wait for.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iroh_blobs::Hash;
use iroh_blobs::protocol::ChunkRanges;
use octet_node::control::PublicKey;
use tokio::sync::{Notify, OnceCell, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Missing;
use super::plan::{FetchPlan, here_until};

/// What is known of it.
#[derive(Debug, Clone)]
pub struct FetchProgress {
    /// Its size in bytes, once a node has proved it and it may become as large.
    pub size: Option<u64>,
    /// What of it is here, and verified.
    pub here: ChunkRanges,
    /// What the fetch has come to; nothing as long as it goes on.
    pub outcome: Option<Result<(), Missing>>,
}

/// One fetch, however many wait for it.
#[derive(Debug)]
pub struct Flight {
    pub hash: Hash,
    progress: watch::Sender<FetchProgress>,
    /// Once the size is known.
    plan: Mutex<Option<FetchPlan>>,
    /// Something happened to the plan.
    changed: Notify,
    /// It is to end without the object.
    cancel: Notify,
    givers: Mutex<BTreeSet<PublicKey>>,
}

impl Flight {
    pub fn new(hash: Hash) -> Self {
        let here = ChunkRanges::empty();
        let progress = watch::Sender::new(FetchProgress { size: None, here, outcome: None });
        let [changed, cancel] = [(); 2].map(|()| Notify::new());
        let (plan, givers) = (Mutex::default(), Mutex::default());
        Self { hash, progress, plan, changed, cancel, givers }
    }

    pub fn watch(&self) -> watch::Receiver<FetchProgress> {
        self.progress.subscribe()
    }

    fn plan(&self) -> MutexGuard<'_, Option<FetchPlan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its size, once it is known.
    pub fn size(&self) -> Option<u64> {
        self.plan().as_ref().map(FetchPlan::size)
    }

    /// For how many bytes there has to be [room](Plan::room) now.
    pub fn room(&self) -> (u64, u64) {
        self.plan().as_ref().map(FetchPlan::room).unwrap_or_default()
    }

    /// From now on pieces can be taken.
    pub fn begin(&self, plan: FetchPlan) {
        let size = plan.size();
        *self.plan() = Some(plan);
        self.progress.send_modify(|it| it.size = Some(size));
    }

    pub fn is_here(&self, ranges: ChunkRanges) {
        self.progress.send_modify(|it| it.here = ranges);
    }

    pub fn end(&self, outcome: Result<(), Missing>) {
        self.progress.send_modify(|it| it.outcome = Some(outcome));
    }

    /// Has it end without the object, unless all of that is here.
    pub fn cancel(&self) {
        // It is kept for a fetch that does not wait for it yet.
        self.cancel.notify_one();
    }

    /// Waits until it is [cancelled](Self::cancel).
    pub async fn cancelled(&self) {
        self.cancel.notified().await;
    }

    /// How many pieces nobody was asked for.
    pub fn waiting(&self) -> usize {
        self.plan().as_ref().map_or(0, FetchPlan::waiting)
    }

    /// Whether the size is known and every piece has come.
    pub fn is_done(&self) -> bool {
        self.plan().as_ref().is_some_and(FetchPlan::is_done)
    }

    /// The next piece to ask for, also one that another node was asked for in vain; nothing once all have come.
    pub async fn take(&self) -> Option<AssignedPiece<'_>> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // What happens from here on is not missed.
            changed.as_mut().enable();
            match self.plan().as_mut() {
                Some(plan) if plan.is_done() => return None,
                Some(plan) => {
                    if let Some(number) = plan.take() {
                        return Some(AssignedPiece { flight: self, number, has_come: false });
                    }
                }
                None => {}
            }
            changed.await;
        }
    }

    /// Who has given a piece.
    pub fn givers(&self) -> BTreeSet<PublicKey> {
        self.givers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A piece that a node is asked for. If it is dropped before it came, another node is asked.
#[derive(Debug)]
pub struct AssignedPiece<'a> {
    flight: &'a Flight,
    number: u64,
    has_come: bool,
}

impl AssignedPiece<'_> {
    pub fn number(&self) -> u64 {
        self.number
    }

    /// It has come from `node`.
    pub fn came(mut self, node: PublicKey) {
        self.flight.givers.lock().unwrap_or_else(PoisonError::into_inner).insert(node);
        self.has_come = true;
    }
}

impl Drop for AssignedPiece<'_> {
    fn drop(&mut self) {
        if let Some(plan) = self.flight.plan().as_mut() {
            match self.has_come {
                true => plan.came(),
                false => plan.back(self.number),
            }
        }
        self.flight.changed.notify_waiters();
    }
}

/// A large object of which the size is known, and which is read while it comes.
#[derive(Debug, Clone)]
pub struct Coming {
    flight: Arc<Flight>,
    path: PathBuf,
    patience: Duration,
    file: Arc<OnceCell<Arc<File>>>,
}

impl Coming {
    /// What comes by `flight` into the file at `path`. Each part is waited for as long as `patience` is.
    pub fn new(flight: Arc<Flight>, path: PathBuf, patience: Duration) -> Self {
        Self { flight, path, patience, file: Arc::default() }
    }

    /// Waits until the byte `at` is here, and says up to which byte all is from there on; the object's end may be
    /// before that.
    pub async fn until(&self, at: u64) -> io::Result<u64> {
        let until = |it: &FetchProgress| match it.outcome {
            Some(Ok(())) => u64::MAX,
            _ => here_until(at, &it.here),
        };
        let mut watch = self.flight.watch();
        let now = until(&watch.borrow_and_update());
        if now > at {
            return Ok(now);
        }
        if let Some(plan) = self.flight.plan().as_mut() {
            plan.sooner(at);
        }
        let comes = watch.wait_for(|it| it.outcome.is_some() || until(it) > at);
        let Ok(Ok(progress)) = timeout(self.patience, comes).await else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        match (until(&progress), &progress.outcome) {
            (until, _) if until > at => Ok(until),
            (_, Some(Err(missing))) => Err(io::Error::other(missing.to_string())),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The file, in which there is what is [here](Self::until).
    ///
    /// # Errors
    /// The disk does not give it.
    pub async fn file(&self) -> io::Result<Arc<File>> {
        let open = || async {
            let path = self.path.clone();
            let file = spawn_blocking(|| File::open(path)).await.map_err(io::Error::other)?;
            file.map(Arc::new)
        };
        self.file.get_or_try_init(open).await.cloned()
    }
}
