//! Verifies what is on the disk, so that damage is found before the last copy is gone: each object when it has been
//! stored, and all of them once a week. What is intact is sealed, and what is damaged is repaired from another node.

mod progress;

pub use progress::ScrubProgress;

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use iroh_blobs::Hash;
use iroh_blobs::protocol::ChunkRanges;
use octet_node::durable::{self, StoredFile};
use octet_node::say;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until};

use crate::counters::Counter;
use crate::fetch::{Fetcher, Missing};
use crate::limits::CacheLimits;
use crate::objects::{Objects, SealOutcome, chunks, count_bytes};

/// How much is verified between two pauses, in bytes.
const STEP: u64 = 1 << 20;

/// The number of objects that are looked up at once.
const BATCH: usize = 256;

/// How often the progress is written: after a restart, what was verified since then is verified again.
const WRITE_PAUSE: Duration = Duration::from_secs(10 * 60);

/// How often it is looked whether a pass is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

/// When a file is tried to be sealed again that the store had open.
const SEAL_RETRY: Duration = Duration::from_secs(10);

/// The maximum number of such files. The others are sealed when all objects are verified.
const MAX_SEALED_LATER: usize = 1024;

/// How often a file is tried to be sealed that the store has open.
const SEAL_TRIES: u32 = 30;

/// The file of the progress, in the data folder.
const FILE: &str = "scrub.json";

/// Verifies the objects of this node.
#[derive(Debug)]
pub struct Scrubber {
    objects: Arc<Objects>,
    fetcher: Arc<Fetcher>,
    limits: CacheLimits,
    file: PathBuf,
    state: Mutex<ScrubState>,
    /// A pass is to start now.
    wanted: Notify,
    /// Verified bytes since the start.
    pub verified_bytes: Counter,
    /// Damaged objects that were found, since the start.
    pub found: Counter,
}

#[derive(Debug, Default)]
struct ScrubState {
    progress: ScrubProgress,
    /// The next objects of this pass.
    next: VecDeque<Hash>,
    /// Files that the store had open, how often they were tried, and when they are tried again.
    later: VecDeque<(Hash, u32, Instant)>,
    /// Damaged objects of which it was said that they cannot be repaired yet.
    told: HashSet<Hash>,
}

/// What an object's files are like.
enum Verified {
    Intact,
    /// The number of bytes that are not what the author has written.
    Damaged(u64),
    /// It is not on this node any more.
    Gone,
}

/// Why an object is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It was stored, or could not be read.
    Doubt,
    /// It is its turn.
    Pass,
}

impl Scrubber {
    /// Continues what `folder` has the progress of.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(
        folder: &Path,
        objects: Arc<Objects>,
        fetcher: Arc<Fetcher>,
        limits: CacheLimits,
    ) -> io::Result<Arc<Self>> {
        let file = folder.join(FILE);
        let stored = durable::load(&file, ScrubProgress::MAX_LENGTH, ScrubProgress::from_bytes)?;
        let progress = match stored {
            StoredFile::Value(progress) => progress,
            StoredFile::Absent | StoredFile::Damaged => ScrubProgress::default(),
        };
        let state = Mutex::new(ScrubState { progress, ..ScrubState::default() });
        let [verified_bytes, found] = [(); 2].map(|()| Counter::default());
        let wanted = Notify::new();
        Ok(Arc::new(Self { objects, fetcher, limits, file, state, wanted, verified_bytes, found }))
    }

    fn state(&self) -> MutexGuard<'_, ScrubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the pass over all objects is.
    pub fn progress(&self) -> ScrubProgress {
        self.state().progress.clone()
    }

    /// Starts a pass now, from the first object.
    pub fn start(&self) {
        let mut state = self.state();
        state.progress.start(now());
        state.next.clear();
        drop(state);
        self.wanted.notify_one();
    }

    /// Verifies, forever.
    pub async fn run(self: Arc<Self>) -> Infallible {
        // A pass may be within a large object for hours.
        tokio::join!(self.follow_doubts(), self.follow_passes()).0
    }

    /// Verifies what was stored or could not be read, seals what could not be sealed at first, and tries again to repair
    /// what is damaged.
    async fn follow_doubts(&self) -> Infallible {
        let mut repair = Instant::now();
        loop {
            if let Some(hash) = self.objects.doubts().take() {
                self.verify(hash, Reason::Doubt).await;
                continue;
            }
            if let Some((hash, tries)) = self.due_seal() {
                self.seal(hash, tries).await;
                continue;
            }
            if repair <= Instant::now() {
                for hash in self.objects.policy().damaged() {
                    self.repair(hash).await;
                }
                repair = Instant::now() + self.limits.repair_retry;
            }
            let seal = self.state().later.front().map(|(.., at)| *at);
            tokio::select! {
                () = self.objects.doubts().added() => {}
                () = sleep_until(seal.unwrap_or(repair).min(repair).into()) => {}
            }
        }
    }

    fn due_seal(&self) -> Option<(Hash, u32)> {
        let mut state = self.state();
        state.later.front().filter(|(.., at)| *at <= Instant::now())?;
        state.later.pop_front().map(|(hash, tries, _)| (hash, tries))
    }

    async fn follow_passes(&self) -> Infallible {
        let mut written = Instant::now();
        loop {
            let before = self.progress();
            if let Some(hash) = self.next_of_pass() {
                let size = self.verify(hash, Reason::Pass).await;
                self.advance(hash, size);
                if written.elapsed() >= WRITE_PAUSE {
                    written = Instant::now();
                    self.write_progress().await;
                }
                continue;
            }
            if self.progress() != before {
                self.write_progress().await;
            }
            let due = self.state().progress.time_until_due(now(), self.limits.scrub_pause);
            tokio::select! {
                () = self.wanted.notified() => {}
                // The clock may be set meanwhile.
                () = sleep(due.min(LONGEST_SLEEP)) => {}
            }
        }
    }

    /// The next object of a pass, which starts when it is due.
    fn next_of_pass(&self) -> Option<Hash> {
        let mut state = self.state();
        if !state.progress.is_running {
            if !state.progress.time_until_due(now(), self.limits.scrub_pause).is_zero() {
                return None;
            }
            state.progress.start(now());
        }
        if state.next.is_empty() {
            let after = state.progress.last();
            state.next = self.objects.policy().objects_after(after, BATCH).into();
        }
        let next = state.next.front().copied();
        if next.is_none() {
            state.progress.finish(now());
        }
        next
    }

    /// Goes on to the object after this one, unless another pass has started meanwhile.
    fn advance(&self, hash: Hash, bytes: Option<u64>) {
        let mut state = self.state();
        if state.next.front() == Some(&hash) {
            state.next.pop_front();
            state.progress.advance(hash, bytes);
        }
    }

    async fn write_progress(&self) {
        let bytes = self.progress().to_bytes();
        let file = self.file.clone();
        let written = spawn_blocking(move || durable::replace(&file, &bytes)).await;
        if let Ok(Err(error)) = written {
            say!("how far the objects are verified cannot be written down: {error}");
        }
    }

    /// Verifies an object, and does what follows. Returns its size, if it was verified.
    async fn verify(&self, hash: Hash, reason: Reason) -> Option<u64> {
        let policy = self.objects.policy();
        if reason == Reason::Pass && policy.is_damaged(&hash) {
            self.repair(hash).await;
        }
        let size = policy.size(&hash)?;
        let verified = match self.look(hash, size, reason).await {
            // The memory may have been at fault.
            Ok(Verified::Damaged(_)) => self.look(hash, size, reason).await,
            verified => verified,
        };
        match verified {
            Ok(Verified::Intact) => self.seal(hash, 0).await,
            Ok(Verified::Damaged(bytes)) => self.damaged(hash, bytes).await,
            Ok(Verified::Gone) => return None,
            Err(error) => {
                say!("{hash} cannot be verified: {error}");
                return None;
            }
        }
        Some(size)
    }

    /// Verifies an object by what the disk has, not the page cache.
    async fn look(&self, hash: Hash, size: u64, reason: Reason) -> io::Result<Verified> {
        let files = Arc::new(self.objects.content_files(hash, size)?);
        files.drop_cached();
        let (mut intact, mut at) = (ChunkRanges::empty(), 0);
        while at < size {
            let (part, started) = (at..size.min(at + STEP), Instant::now());
            let length = part.end - part.start;
            at = part.end;
            let reading = Arc::clone(&files);
            intact |=
                spawn_blocking(move || reading.intact(part)).await.map_err(io::Error::other)??;
            self.verified_bytes.add(length);
            sleep(pause(started.elapsed(), self.limits.scrub_share)).await;
            if self.objects.policy().size(&hash).is_none() {
                return Ok(Verified::Gone);
            }
        }
        // What was not in use before is not in the way of what is.
        if reason == Reason::Pass {
            files.drop_cached();
        }
        let missing = chunks(0..size) - intact;
        Ok(match missing.is_empty() {
            true => Verified::Intact,
            false => Verified::Damaged(count_bytes(&missing, size)),
        })
    }

    async fn damaged(&self, hash: Hash, bytes: u64) {
        match self.objects.mark_damaged(hash).await {
            Ok(None) => return,
            Ok(Some(size)) => {
                self.found.add(1);
                say!(
                    "the disk has damaged {hash}: up to {bytes} of its {size} bytes; it is not served until it is repaired"
                );
            }
            Err(error) => say!("that {hash} is damaged cannot be recorded: {error}"),
        }
        self.repair(hash).await;
    }

    async fn repair(&self, hash: Hash) {
        let outcome = loop {
            match self.fetcher.fetch(hash).await {
                // A large one takes longer than a client would wait.
                Err(Missing::OnItsWay) => {}
                outcome => break outcome,
            }
        };
        match outcome {
            Ok(()) => {
                self.state().told.remove(&hash);
            }
            Err(missing) => {
                if self.state().told.insert(hash) {
                    say!("{hash} is damaged, and cannot be repaired yet: {missing}");
                }
            }
        }
    }

    /// Seals an object that is intact.
    async fn seal(&self, hash: Hash, tries: u32) {
        let objects = Arc::clone(&self.objects);
        match spawn_blocking(move || objects.seal(hash)).await {
            Ok(Ok(SealOutcome::InUse)) if tries < SEAL_TRIES => {
                let mut state = self.state();
                if state.later.len() < MAX_SEALED_LATER {
                    state.later.push_back((hash, tries + 1, Instant::now() + SEAL_RETRY));
                }
            }
            Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                say!("{hash} cannot be sealed: {error}");
            }
            _ => {}
        }
    }
}

/// How long to do nothing after the disk was read for so long, so that it is read for `share` percent of the time.
fn pause(took: Duration, share: u32) -> Duration {
    let share = share.clamp(1, 100);
    took * (100 - share) / share
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_read_for_a_part_of_the_time() {
        let took = Duration::from_millis(10);
        for (share, after) in [(5, 190), (50, 10), (100, 0)] {
            assert_eq!(pause(took, share), Duration::from_millis(after), "{share}");
        }
    }
}
