//! A running fetch: its progress, and its waiters.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use iroh_blobs::Hash;
use iroh_blobs::protocol::ChunkRanges;
use octet_node::control::PublicKey;
use tokio::sync::{Notify, OnceCell, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Missing;
use super::plan::{FetchPlan, available_until};
use super::schedule::{FetchSchedule, GiverSpeed, NextStep};

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
    /// The maximum size in bytes.
    pub max: u64,
    progress: watch::Sender<FetchProgress>,
    /// `None` until the size is known.
    schedule: Mutex<Option<FetchSchedule>>,
    /// Signals a change of the schedule.
    changed: Notify,
    /// Tells the node of a requested piece to give it up.
    stops: Mutex<BTreeMap<u64, Arc<Notify>>>,
    /// Cancels the fetch.
    cancel: Notify,
    sources: Mutex<BTreeSet<PublicKey>>,
}

impl Flight {
    pub fn new(hash: Hash, max: u64) -> Self {
        let present = ChunkRanges::empty();
        let progress = watch::Sender::new(FetchProgress { size: None, present, outcome: None });
        let [changed, cancel] = [(); 2].map(|()| Notify::new());
        let (schedule, stops, sources) = Default::default();
        Self { hash, max, progress, schedule, changed, stops, cancel, sources }
    }

    pub fn watch(&self) -> watch::Receiver<FetchProgress> {
        self.progress.subscribe()
    }

    fn schedule(&self) -> MutexGuard<'_, Option<FetchSchedule>> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan<T>(&self, get: impl FnOnce(&FetchPlan) -> T) -> Option<T> {
        self.schedule().as_ref().map(|it| get(it.plan()))
    }

    fn stops(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        self.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size, once it is known.
    pub fn size(&self) -> Option<u64> {
        self.plan(FetchPlan::size)
    }

    /// The required and the desired [room](FetchPlan::room) in bytes.
    pub fn room(&self) -> (u64, u64) {
        self.plan(FetchPlan::room).unwrap_or_default()
    }

    /// Starts the pieces.
    pub fn start(&self, plan: FetchPlan) {
        let size = plan.size();
        *self.schedule() = Some(FetchSchedule::new(plan));
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
        self.plan(FetchPlan::pending).unwrap_or_default()
    }

    /// Whether the size is known and all pieces have arrived.
    pub fn is_done(&self) -> bool {
        self.plan(FetchPlan::is_done).unwrap_or_default()
    }

    /// A node can be asked from now on, until it [leaves](Self::leave).
    pub fn join(&self, node: PublicKey, speed: GiverSpeed) {
        if let Some(schedule) = self.schedule().as_mut() {
            schedule.join(node, speed);
        }
    }

    /// A node is not asked any more. Returns its measured speed, if it has [joined](Self::join).
    pub fn leave(&self, node: &PublicKey) -> Option<GiverSpeed> {
        let speed = self.schedule().as_mut().and_then(|it| it.leave(node));
        self.changed.notify_waiters();
        speed
    }

    /// The next piece to request from `node`, including pieces that another node failed to send;
    /// `None` once all have arrived.
    pub async fn take(&self, node: PublicKey) -> Option<AssignedPiece<'_>> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Changes from here on are not missed.
            changed.as_mut().enable();
            let step = self.schedule().as_mut().map(|it| it.next(node, Instant::now()));
            let pause = match step {
                Some(NextStep::Done) => return None,
                Some(NextStep::Request(number)) => {
                    let stop = Arc::new(Notify::new());
                    self.stops().insert(number, Arc::clone(&stop));
                    return Some(AssignedPiece { flight: self, number, stop, is_received: false });
                }
                Some(NextStep::Stop(number)) => {
                    if let Some(stop) = self.stops().get(&number) {
                        // The signal is stored until the piece's node waits for it.
                        stop.notify_one();
                    }
                    None
                }
                Some(NextStep::Wait(pause)) => Some(pause),
                None => None,
            };
            match pause {
                Some(pause) => drop(timeout(pause, changed).await),
                None => changed.await,
            }
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
    stop: Arc<Notify>,
    is_received: bool,
}

impl AssignedPiece<'_> {
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits until the piece has to be given up.
    pub async fn given_up(&self) {
        self.stop.notified().await;
    }

    /// Some bytes of the piece have arrived.
    pub fn came(&self, bytes: u64) {
        if let Some(schedule) = self.flight.schedule().as_mut() {
            schedule.came(self.number, bytes, Instant::now());
        }
    }

    /// Marks the piece as received from `node`.
    pub fn received(mut self, node: PublicKey) {
        self.flight.sources.lock().unwrap_or_else(PoisonError::into_inner).insert(node);
        self.is_received = true;
    }
}

impl Drop for AssignedPiece<'_> {
    fn drop(&mut self) {
        self.flight.stops().remove(&self.number);
        if let Some(schedule) = self.flight.schedule().as_mut() {
            match self.is_received {
                true => schedule.complete(self.number, Instant::now()),
                false => schedule.failed(self.number),
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
        if let Some(schedule) = self.flight.schedule().as_mut() {
            schedule.prioritise(at);
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
