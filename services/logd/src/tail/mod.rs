//! The newest entries, in memory: those the disk does not have yet, and some that it has, for
//! whoever follows.
//!
//! Three threads meet here. The event loop pushes entries, the [keeper](crate::keeper) takes those
//! that wait for the disk, the [reader](crate::read) looks. Nobody holds the lock while it waits
//! for a disk, so that reading pipes never does.

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

/// How long an entry waits for others to share its block, at most. With the time to write it, a
/// line is on disk within the second.
const TIMEOUT: Duration = Duration::from_millis(750);

/// A block is written before that when this much waits, in bytes.
const ENOUGH: usize = 64 << 10;

#[derive(Debug)]
pub struct Tail {
    state: Mutex<State>,
    changed: Condvar,
    wake: Wake,
}

/// What is behind the lock.
#[derive(Debug)]
pub struct State {
    pub ring: TailRing,
    /// How far what comes in has been taken.
    pub marks: Marks,
    pub stats: Stats,
    /// The segments on disk; none while the disk is not used.
    pub segments: Vec<Segment>,
    pub boot: BootId,
    /// By how much sequence numbers have been moved, in all: see [`Tail::opened`].
    pub moved: u64,
    /// Why nothing is written to disk, if so.
    pub trouble: Option<String>,
    /// There is no disk to write to: what is old goes, and that is no loss.
    in_memory: bool,
    /// When the first of the entries that wait came.
    waiting_since: Option<Instant>,
    /// Everything that waits is to be written now.
    flush: bool,
    /// The keeper is to end.
    stop: bool,
}

impl Tail {
    /// A tail in `boot` that holds `capacity` bytes, and whose other threads wake the loop by `wake`.
    pub fn new(capacity: usize, boot: BootId, wake: Wake) -> Self {
        let state = State {
            ring: TailRing::new(capacity),
            marks: Marks::default(),
            stats: Stats::default(),
            segments: vec![],
            boot,
            moved: 0,
            trouble: None,
            in_memory: false,
            waiting_since: None,
            flush: false,
            stop: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), wake }
    }

    /// The state. Nobody panics with it in hand; if somebody did, what is there is still the best
    /// there is.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line. `start` is the position of its first byte in the journal, and `marks` is how
    /// far everything has been taken with it.
    pub fn push(&self, line: NewLine, start: u64, marks: Marks) {
        let mut state = self.lock();
        state.marks = marks;
        let keeper_sleeps = state.waiting_since.is_none();
        state.push(line, start);
        if keeper_sleeps || state.wants_writing() {
            self.changed.notify_one();
        }
    }

    /// Adds a line of logd itself.
    pub fn say(&self, text: &str) {
        let line =
            NewLine::new(LOGD.into(), LogSource::Logd, text.as_bytes().into(), BothClocks::read());
        let mut state = self.lock();
        let start = state.marks.input;
        state.push(line, start);
        self.changed.notify_one();
        self.wake.ring();
    }

    /// Has the keeper write all that waits, and end.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stop = true;
        state.flush = true;
        self.changed.notify_one();
    }

    /// Waits until a block is to be written (`true`) or the keeper is to end (`false`).
    pub fn wait_for_block(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.wants_writing() {
                return true;
            }
            if state.stop {
                return false;
            }
            if state.ring.waiting_bytes() == 0 {
                state.waiting_since = None; // what waited had to go
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

    /// Waits for `pause`; `false` if the keeper is to end before.
    pub fn pause(&self, pause: Duration) -> bool {
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
        let count = fit(state.ring.untaken().map(|item| &item.entry));
        let taken: Vec<Arc<RingItem>> = state.ring.untaken().take(count).cloned().collect();
        if let Some(last) = taken.last() {
            state.ring.taken(last.entry.sequence + 1);
        }
        state.waiting_since = state.ring.has_untaken().then(Instant::now);
        taken
    }

    /// The disk can be used: `last` is its last block, `segments` are all that it has. The first
    /// time, entries that are here are made to come after those of the disk; later, what a write
    /// that failed has left there whole is stored.
    pub fn opened(&self, last: Option<&Header>, segments: &[Segment], boot: BootId, first: bool) {
        let mut state = self.lock();
        let next = last.map_or(0, |last| last.last + 1);
        if first {
            let this_boot = last.filter(|last| last.boot == boot);
            if let Some(last) = this_boot.filter(|_| state.marks == Marks::default()) {
                state.marks = last.marks;
            }
            state.ring.renumber(next);
            state.moved += next;
        } else if next > state.ring.first_waiting() {
            state.ring.taken(next);
            state.ring.stored();
        }
        state.segments = segments.to_vec();
        state.trouble = None;
    }

    /// There will never be a disk, for this reason.
    pub fn stay_in_memory(&self, reason: &str) {
        {
            let mut state = self.lock();
            state.in_memory = true;
            state.trouble = Some(reason.to_owned());
        }
        self.say(&format!("the log is kept in memory only: {reason}"));
    }

    /// The disk cannot be used, for this reason.
    pub fn failed(&self, trouble: &str) {
        let mut state = self.lock();
        state.ring.not_stored();
        state.waiting_since = state.ring.has_untaken().then(Instant::now);
        state.trouble = Some(trouble.to_owned());
    }

    /// All that was taken is on disk, in `segments`.
    pub fn stored(&self, segments: &[Segment], blocks: u64) {
        let mut state = self.lock();
        state.ring.stored();
        state.segments = segments.to_vec();
        state.stats.blocks += blocks;
        state.flush = state.flush && state.ring.waiting_bytes() > 0;
        self.wake.ring();
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
        self.stats.unit(&entry.unit).kept(entry.text.len());
        let item = RingItem { entry, start, marks: self.marks };
        for gone in self.ring.push(item) {
            if !self.in_memory {
                self.stats.unit(&gone.entry.unit).no_room(gone.entry.text.len());
            }
        }
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    fn wants_writing(&self) -> bool {
        let waiting = self.ring.waiting_bytes();
        waiting > 0
            && (self.flush
                || waiting >= ENOUGH
                || self.waiting_since.is_some_and(|since| since.elapsed() >= TIMEOUT))
    }
}

/// A line that comes in.
#[derive(Debug, Clone)]
pub struct NewLine {
    unit: Arc<str>,
    source: LogSource,
    text: Box<[u8]>,
    now: BothClocks,
}

impl NewLine {
    /// A line of `unit` that came at `now`.
    pub fn new(unit: Arc<str>, source: LogSource, text: Box<[u8]>, now: BothClocks) -> Self {
        Self { unit, source, text, now }
    }
}
