//! The newest entries in memory: those that are not on disk yet, and some that are, for followers.
//!
//! Three threads share it: the event loop adds entries, the [storage thread](crate::storage_thread) takes them to
//! write them to disk, and the [reader](crate::read) reads. No thread holds the lock during disk
//! I/O, so that reading the pipes never waits for the disk.

mod ring;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use octet_node::boot::BootId;

use crate::clock::BothClocks;
use crate::entry::{Entry, LOGD, LogSource};
use crate::stats::Stats;
use crate::store::{Header, Marks, Segment, fit};
use crate::wake::Wake;

pub use ring::{RingItem, TailRing};

/// The maximum time that an entry waits for others to share its block. Including the write, a line
/// is on disk within a second.
const TIMEOUT: Duration = Duration::from_millis(750);

/// A block is written earlier if so many bytes wait.
const ENOUGH: usize = 64 << 10;

#[derive(Debug)]
pub struct Tail {
    state: Mutex<State>,
    changed: Condvar,
    wake: Wake,
}

/// The state behind the lock.
#[derive(Debug)]
pub struct State {
    pub ring: TailRing,
    /// The positions in the inputs up to the last entry.
    pub marks: Marks,
    pub stats: Stats,
    /// The segments on disk; empty while the disk is not in use.
    pub segments: Vec<Segment>,
    pub boot: BootId,
    /// By how much sequence numbers have been increased in total: see [`Tail::opened`].
    pub generation: u64,
    /// Why nothing is written to disk.
    pub trouble: Option<String>,
    /// Whether there is no disk: then removing old entries is not a loss.
    in_memory: bool,
    /// When the first of the waiting entries was added.
    waiting_since: Option<Instant>,
    /// Whether all waiting entries must be written now.
    flush: bool,
    /// Whether the keeper must end.
    stop: bool,
}

impl Tail {
    /// An empty tail in `boot` with room for `capacity` bytes; other threads wake the loop by
    /// `wake`.
    pub fn new(capacity: usize, boot: BootId, wake: Wake) -> Self {
        let state = State {
            ring: TailRing::new(capacity),
            marks: Marks::default(),
            stats: Stats::default(),
            segments: vec![],
            boot,
            generation: 0,
            trouble: None,
            in_memory: false,
            waiting_since: None,
            flush: false,
            stop: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), wake }
    }

    /// Locks the state. After a panic of another thread, its state is used as it is.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line. `start` is its position in the journal, and `marks` are the positions in the
    /// inputs after it.
    pub fn push(&self, line: NewLine, start: u64, marks: Marks) {
        let mut state = self.lock();
        state.marks = marks;
        let keeper_sleeps = state.waiting_since.is_none();
        state.push(line, start);
        if keeper_sleeps || state.is_block_due() {
            self.changed.notify_one();
        }
    }

    /// Adds a line of logd itself.
    pub fn log(&self, text: &str) {
        let line =
            NewLine::new(LOGD.into(), LogSource::Logd, text.as_bytes().into(), BothClocks::read());
        let mut state = self.lock();
        let start = state.marks.input;
        state.push(line, start);
        self.changed.notify_one();
        self.wake.notify();
    }

    /// Tells the keeper to write all waiting entries and end.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stop = true;
        state.flush = true;
        self.changed.notify_one();
    }

    /// Waits until a block must be written (`true`) or the keeper must end (`false`).
    pub fn wait_for_block(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.is_block_due() {
                return true;
            }
            if state.stop {
                return false;
            }
            if state.ring.waiting_bytes() == 0 {
                state.waiting_since = None; // all waiting entries were removed
            }
            let left = state.waiting_since.map(|since| TIMEOUT.saturating_sub(since.elapsed()));
            state = match left {
                Some(left) => self
                    .changed
                    .wait_timeout(state, left)
                    .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state),
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Waits for `pause`; returns `false` early if the keeper must end.
    pub fn sleep(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        while !state.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
        false
    }

    /// Takes the entries of the next block; they stay in the tail until they are
    /// [`stored`](Self::stored).
    pub fn take_block(&self) -> Vec<Arc<RingItem>> {
        let mut state = self.lock();
        let count = fit(state.ring.unqueued().map(|item| &item.entry));
        let taken: Vec<Arc<RingItem>> = state.ring.unqueued().take(count).cloned().collect();
        if let Some(last) = taken.last() {
            state.ring.taken(last.entry.sequence + 1);
        }
        state.waiting_since = state.ring.has_unqueued().then(Instant::now);
        taken
    }

    /// Handles an opened store: `last` is its last block, `segments` are all of its segments. The
    /// first time, the entries in memory are renumbered to follow those on disk; later, entries
    /// that a failed write has left on disk completely count as stored.
    pub fn set_opened(
        &self,
        last: Option<&Header>,
        segments: &[Segment],
        boot: BootId,
        first: bool,
    ) {
        let mut state = self.lock();
        let next = last.map_or(0, |last| last.last + 1);
        if first {
            let this_boot = last.filter(|last| last.boot == boot);
            if let Some(last) = this_boot.filter(|_| state.marks == Marks::default()) {
                state.marks = last.marks;
            }
            state.ring.renumber(next);
            state.generation += next;
        } else if next > state.ring.first_waiting() {
            state.ring.taken(next);
            state.ring.stored();
        }
        state.segments = segments.to_vec();
        state.trouble = None;
    }

    /// Records that there is no disk, for this reason.
    pub fn stay_in_memory(&self, reason: &str) {
        {
            let mut state = self.lock();
            state.in_memory = true;
            state.trouble = Some(reason.to_owned());
        }
        self.log(&format!("the log is kept in memory only: {reason}"));
    }

    /// Records that the disk has failed, for this reason.
    pub fn set_failed(&self, trouble: &str) {
        let mut state = self.lock();
        state.ring.not_stored();
        state.waiting_since = state.ring.has_unqueued().then(Instant::now);
        state.trouble = Some(trouble.to_owned());
    }

    /// Records that all taken entries are on disk, in `segments`.
    pub fn stored(&self, segments: &[Segment], blocks: u64) {
        let mut state = self.lock();
        state.ring.stored();
        state.segments = segments.to_vec();
        state.stats.blocks += blocks;
        state.flush = state.flush && state.ring.waiting_bytes() > 0;
        self.wake.notify();
    }
}

impl State {
    fn push(&mut self, line: NewLine, start: u64) {
        let entry = Entry {
            sequence: self.ring.next_sequence(),
            wall: line.now.wall,
            uptime: line.now.uptime,
            unit: line.unit,
            source: line.source,
            text: line.text,
        };
        self.stats.unit(&entry.unit).count_line(entry.text.len());
        let item = RingItem { entry, start, marks: self.marks };
        for gone in self.ring.push(item) {
            if !self.in_memory {
                self.stats.unit(&gone.entry.unit).count_evicted(gone.entry.text.len());
            }
        }
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    fn is_block_due(&self) -> bool {
        let waiting = self.ring.waiting_bytes();
        waiting > 0
            && (self.flush
                || waiting >= ENOUGH
                || self.waiting_since.is_some_and(|since| since.elapsed() >= TIMEOUT))
    }
}

/// A new line.
#[derive(Debug, Clone)]
pub struct NewLine {
    unit: Arc<str>,
    source: LogSource,
    text: Box<[u8]>,
    now: BothClocks,
}

impl NewLine {
    pub fn new(unit: Arc<str>, source: LogSource, text: Box<[u8]>, now: BothClocks) -> Self {
        Self { unit, source, text, now }
    }
}
