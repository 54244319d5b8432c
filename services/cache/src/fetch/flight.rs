//! A running fetch: its progress, and its waiters.

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
use super::plan::{FetchPlan, available_until};

/// The progress of a fetch.
#[derive(Debug, Clone)]
pub struct FetchProgress {
    /// The size in bytes, once a node has proved it and the quota allows it.
    pub size: Option<u64>,
    /// The verified chunks on this node.
    pub present: ChunkRanges,
    /// The result; `None` while the fetch runs.
    pub outcome: Option<Result<(), Missing>>,
}

/// One fetch, shared by all waiters.
#[derive(Debug)]
pub struct Flight {
    pub hash: Hash,
    progress: watch::Sender<FetchProgress>,
    /// `None` until the size is known.
    plan: Mutex<Option<FetchPlan>>,
    /// Signals a change of the plan.
    changed: Notify,
    /// Cancels the fetch.
    cancel: Notify,
    sources: Mutex<BTreeSet<PublicKey>>,
}

impl Flight {
    pub fn new(hash: Hash) -> Self {
        let present = ChunkRanges::empty();
        let progress = watch::Sender::new(FetchProgress { size: None, present, outcome: None });
        let [changed, cancel] = [(); 2].map(|()| Notify::new());
        let (plan, sources) = (Mutex::default(), Mutex::default());
        Self { hash, progress, plan, changed, cancel, sources }
    }

    pub fn watch(&self) -> watch::Receiver<FetchProgress> {
        self.progress.subscribe()
    }

    fn plan(&self) -> MutexGuard<'_, Option<FetchPlan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size, once it is known.
    pub fn size(&self) -> Option<u64> {
        self.plan().as_ref().map(FetchPlan::size)
    }

    /// The required and the desired [room](FetchPlan::room) in bytes.
    pub fn room(&self) -> (u64, u64) {
        self.plan().as_ref().map(FetchPlan::room).unwrap_or_default()
    }

    /// Starts the pieces.
    pub fn start(&self, plan: FetchPlan) {
        let size = plan.size();
        *self.plan() = Some(plan);
        self.progress.send_modify(|it| it.size = Some(size));
    }

    pub fn set_present(&self, ranges: ChunkRanges) {
        self.progress.send_modify(|it| it.present = ranges);
    }

    pub fn finish(&self, outcome: Result<(), Missing>) {
        self.progress.send_modify(|it| it.outcome = Some(outcome));
    }

    /// Cancels the fetch, unless the object is complete.
    pub fn cancel(&self) {
        // The signal is stored until the fetch waits for it.
        self.cancel.notify_one();
    }

    /// Waits for the [cancellation](Self::cancel).
    pub async fn cancelled(&self) {
        self.cancel.notified().await;
    }

    /// The number of pieces that are not requested yet.
    pub fn pending(&self) -> usize {
        self.plan().as_ref().map_or(0, FetchPlan::pending)
    }

    /// Whether the size is known and all pieces have arrived.
    pub fn is_done(&self) -> bool {
        self.plan().as_ref().is_some_and(FetchPlan::is_done)
    }

    /// The next piece to request, including pieces that another node failed to send; `None` once
    /// all have arrived.
    pub async fn take(&self) -> Option<AssignedPiece<'_>> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Changes from here on are not missed.
            changed.as_mut().enable();
            match self.plan().as_mut() {
                Some(plan) if plan.is_done() => return None,
                Some(plan) => {
                    if let Some(number) = plan.take() {
                        return Some(AssignedPiece { flight: self, number, is_received: false });
                    }
                }
                None => {}
            }
            changed.await;
        }
    }

    /// The nodes that have sent pieces.
    pub fn sources(&self) -> BTreeSet<PublicKey> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A piece that is requested from a node. If it is dropped before it arrives, another node is
/// asked.
#[derive(Debug)]
pub struct AssignedPiece<'a> {
    flight: &'a Flight,
    number: u64,
    is_received: bool,
}

impl AssignedPiece<'_> {
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Marks the piece as received from `node`.
    pub fn received(mut self, node: PublicKey) {
        self.flight.sources.lock().unwrap_or_else(PoisonError::into_inner).insert(node);
        self.is_received = true;
    }
}

impl Drop for AssignedPiece<'_> {
    fn drop(&mut self) {
        if let Some(plan) = self.flight.plan().as_mut() {
            match self.is_received {
                true => plan.complete(),
                false => plan.retry(self.number),
            }
        }
        self.flight.changed.notify_waiters();
    }
}

/// A large object that is read while it arrives.
#[derive(Debug, Clone)]
pub struct IncomingObject {
    flight: Arc<Flight>,
    path: PathBuf,
    read_timeout: Duration,
    file: Arc<OnceCell<Arc<File>>>,
}

impl IncomingObject {
    /// Reads the file at `path` while `flight` fills it, waiting at most `read_timeout` for each part.
    pub fn new(flight: Arc<Flight>, path: PathBuf, read_timeout: Duration) -> Self {
        Self { flight, path, read_timeout, file: Arc::default() }
    }

    /// Waits for the byte at `at`. Returns the end of the available range from there, which may
    /// exceed the object's end.
    pub async fn wait_for(&self, at: u64) -> io::Result<u64> {
        let until = |it: &FetchProgress| match it.outcome {
            Some(Ok(())) => u64::MAX,
            _ => available_until(at, &it.present),
        };
        let mut watch = self.flight.watch();
        let now = until(&watch.borrow_and_update());
        if now > at {
            return Ok(now);
        }
        if let Some(plan) = self.flight.plan().as_mut() {
            plan.prioritise(at);
        }
        let comes = watch.wait_for(|it| it.outcome.is_some() || until(it) > at);
        let Ok(Ok(progress)) = timeout(self.read_timeout, comes).await else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        match (until(&progress), &progress.outcome) {
            (until, _) if until > at => Ok(until),
            (_, Some(Err(missing))) => Err(io::Error::other(missing.to_string())),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The file; bytes up to the result of [`wait_for`](Self::wait_for) are valid.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub async fn file(&self) -> io::Result<Arc<File>> {
        let open = || async {
            let path = self.path.clone();
            let file = spawn_blocking(|| File::open(path)).await.map_err(io::Error::other)?;
            file.map(Arc::new)
        };
        self.file.get_or_try_init(open).await.cloned()
    }
}
