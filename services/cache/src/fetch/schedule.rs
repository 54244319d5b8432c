//! Which node is asked for which piece, by measured time. It has no clock and no socket: a
//! [fetch](super) tells it what happened when, and a simulation does the same.
//!
//! A node that is free takes the next piece, unless the others are expected to have all that is left
//! much earlier than it would have this one. When every piece is requested, a free node takes a piece
//! over whose node is expected to need more than twice as long for the rest of it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use octet_node::control::PublicKey;

use super::plan::{FetchPlan, PIECE};

/// How many times as fast as a node the others have to be expected to take a piece from it.
const HYSTERESIS: f64 = 1.5;

/// How many times as long as the fastest a node may be expected to need for a requested piece.
const PATIENCE_AT_THE_END: f64 = 2.0;

/// What taking a piece over has to save: it costs a round trip.
const MIN_GAIN: f64 = 0.1;

/// The shortest time in which a rate is measured, in seconds.
const MIN_WINDOW: f64 = 0.05;

/// The weight of a new measurement in an estimate.
const WEIGHT: f64 = 0.3;

/// When a node for which there is no piece asks again, if nothing happens before.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// What is expected of a node, from its pieces so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GiverSpeed {
    /// Seconds from a request to its first byte.
    first_byte: Option<f64>,
    /// Bytes of all its requests in a second.
    rate: Option<f64>,
}

impl GiverSpeed {
    /// The expected seconds of a piece; `None` if nothing was measured.
    pub fn piece(self) -> Option<f64> {
        self.rate.map(|rate| self.first_byte.unwrap_or_default() + PIECE as f64 / rate)
    }
}

/// Orders nodes: one loses its place only to another that is expected to be much faster. One that
/// was not measured keeps its place.
pub fn by_speed<T>(givers: &mut [T], speed: impl Fn(&T) -> GiverSpeed) {
    for end in (1..givers.len()).rev() {
        for at in 0..end {
            let [first, second] = [at, at + 1].map(|at| speed(&givers[at]).piece());
            if first.zip(second).is_some_and(|(first, second)| first > HYSTERESIS * second) {
                givers.swap(at, at + 1);
            }
        }
    }
}

/// What a free node does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// It is asked for this piece.
    Request(u64),
    /// The node that was asked for this piece gives it up; the free node will get the rest.
    Stop(u64),
    /// There is nothing for it now.
    Wait(Duration),
    /// All pieces have arrived.
    Done,
}

#[derive(Debug, Default)]
struct GiverState {
    speed: GiverSpeed,
    requests: usize,
    /// When the current measurement of the rate began, and the bytes since then.
    window: Option<(Instant, u64)>,
    /// Whether a piece was taken from it, and none has been completed since.
    is_late: bool,
}

impl GiverState {
    /// The expected bytes in a second. A node that falls behind its estimate is no longer expected
    /// to be as fast.
    fn rate(&self, now: Instant) -> Option<f64> {
        let current = self.window.map(|(since, bytes)| {
            (now.saturating_duration_since(since).as_secs_f64(), bytes as f64)
        });
        match (self.speed.rate, current) {
            (Some(rate), Some((elapsed, bytes))) if elapsed > 2.0 * PIECE as f64 / rate => {
                Some(rate.min(bytes / elapsed)).filter(|rate| *rate > 0.0)
            }
            (Some(rate), _) => Some(rate),
            (None, Some((elapsed, bytes))) if bytes > 0.0 && elapsed >= MIN_WINDOW => {
                Some(bytes / elapsed)
            }
            (None, _) => None,
        }
    }

    fn first_byte(&self) -> f64 {
        self.speed.first_byte.unwrap_or_default()
    }
}

/// A requested piece.
#[derive(Debug)]
struct PieceRequest {
    giver: PublicKey,
    asked: Instant,
    /// Whether the node had no other request then.
    was_idle: bool,
    /// Bytes that have arrived.
    came: u64,
    is_stopped: bool,
}

/// The pieces of an object, and the nodes that give them.
#[derive(Debug)]
pub struct FetchSchedule {
    plan: FetchPlan,
    givers: BTreeMap<PublicKey, GiverState>,
    requests: BTreeMap<u64, PieceRequest>,
    taken_over: BTreeMap<u64, TakenOver>,
}

/// A piece that one node gives up for another.
#[derive(Debug, Clone, Copy)]
struct TakenOver {
    from: PublicKey,
    to: PublicKey,
}

impl FetchSchedule {
    pub fn new(plan: FetchPlan) -> Self {
        let (givers, requests, taken_over) = Default::default();
        Self { plan, givers, requests, taken_over }
    }

    pub fn plan(&self) -> &FetchPlan {
        &self.plan
    }

    /// Moves the piece with the byte `at` to the front, if it is not requested yet.
    pub fn prioritise(&mut self, at: u64) {
        self.plan.prioritise(at);
    }

    /// A node can be asked from now on; `speed` is what is known of it.
    pub fn join(&mut self, giver: PublicKey, speed: GiverSpeed) {
        self.givers.insert(giver, GiverState { speed, ..GiverState::default() });
    }

    /// A node is not asked any more; its requests have [failed](Self::failed). Returns what is known
    /// of it now.
    pub fn leave(&mut self, giver: &PublicKey) -> Option<GiverSpeed> {
        self.givers.remove(giver).map(|it| it.speed)
    }

    /// What `giver`, which has a free place, does next.
    pub fn next(&mut self, giver: PublicKey, now: Instant) -> NextStep {
        if self.plan.is_done() {
            return NextStep::Done;
        }
        if self.plan.pending() == 0 {
            return match self.slower_piece(&giver, now) {
                Some(piece) => {
                    if let Some(request) = self.requests.get_mut(&piece) {
                        request.is_stopped = true;
                        let taken_over = TakenOver { from: request.giver, to: giver };
                        self.taken_over.insert(piece, taken_over);
                        if let Some(state) = self.givers.get_mut(&taken_over.from) {
                            state.is_late = true;
                        }
                    }
                    NextStep::Stop(piece)
                }
                None => NextStep::Wait(CHECK_INTERVAL),
            };
        }
        let Some(piece) = self.take(&giver, now) else { return NextStep::Wait(CHECK_INTERVAL) };
        self.taken_over.remove(&piece);
        let state = self.givers.entry(giver).or_default();
        let was_idle = state.requests == 0;
        if was_idle {
            state.window = Some((now, 0));
        }
        state.requests += 1;
        let request = PieceRequest { giver, asked: now, was_idle, came: 0, is_stopped: false };
        self.requests.insert(piece, request);
        NextStep::Request(piece)
    }

    /// Takes a piece for `giver` that is not requested yet: one that was given up for it, or else
    /// the next, unless the others have all that is left earlier.
    fn take(&mut self, giver: &PublicKey, now: Instant) -> Option<u64> {
        let (taken_over, givers) = (&self.taken_over, &self.givers);
        let is_for_it = |piece| taken_over.get(&piece).is_some_and(|it| it.to == *giver);
        if let Some(piece) = self.plan.take_if(is_for_it) {
            return Some(piece);
        }
        if self.others_are_faster(giver, now) {
            return None;
        }
        let is_alone = givers.len() == 1;
        self.plan.take_if(|piece| match taken_over.get(&piece) {
            Some(it) => is_alone || !givers.contains_key(&it.to) && it.from != *giver,
            None => true,
        })
    }

    /// `bytes` of a requested piece have arrived.
    pub fn came(&mut self, piece: u64, bytes: u64, now: Instant) {
        let Some(request) = self.requests.get_mut(&piece) else { return };
        let Some(state) = self.givers.get_mut(&request.giver) else { return };
        if request.came == 0 && request.was_idle {
            let waited = now.saturating_duration_since(request.asked).as_secs_f64();
            state.speed.first_byte = Some(average(state.speed.first_byte, waited));
            state.window = Some((now, 0));
        }
        request.came += bytes;
        if let Some((_, all)) = &mut state.window {
            *all += bytes;
        }
    }

    /// A requested piece is complete.
    pub fn complete(&mut self, piece: u64, now: Instant) {
        self.plan.complete();
        let Some(giver) = self.end(piece) else { return };
        self.taken_over.remove(&piece);
        let Some(state) = self.givers.get_mut(&giver) else { return };
        state.is_late = false;
        let is_idle = state.requests == 0;
        if let Some((since, bytes)) = state.window {
            let elapsed = now.saturating_duration_since(since).as_secs_f64();
            if bytes > 0 && (elapsed >= MIN_WINDOW || is_idle && elapsed > 0.0) {
                state.speed.rate = Some(average(state.speed.rate, bytes as f64 / elapsed));
                state.window = Some((now, 0));
            }
        }
        if is_idle {
            state.window = None;
        }
    }

    /// A requested piece was given up, or its node has failed: the rest of it is the next to be
    /// requested.
    pub fn failed(&mut self, piece: u64) {
        self.plan.retry(piece);
        if let Some(giver) = self.end(piece)
            && let Some(state) = self.givers.get_mut(&giver)
            && state.requests == 0
        {
            state.window = None;
        }
    }

    /// Takes the request of a piece off its node.
    fn end(&mut self, piece: u64) -> Option<PublicKey> {
        let giver = self.requests.remove(&piece)?.giver;
        if let Some(state) = self.givers.get_mut(&giver) {
            state.requests -= 1;
        }
        Some(giver)
    }

    fn length(&self, piece: u64) -> u64 {
        PIECE.min(self.plan.size() - piece * PIECE)
    }

    /// The bytes that are requested from `giver`, and have not arrived.
    fn left(&self, giver: &PublicKey) -> u64 {
        let own = self.requests.iter().filter(|(_, it)| it.giver == *giver);
        own.map(|(piece, it)| self.length(*piece).saturating_sub(it.came)).sum()
    }

    /// The expected seconds in which `giver` has sent what is requested from it, and `more` bytes.
    fn expected(&self, giver: &PublicKey, more: u64, now: Instant) -> Option<f64> {
        let state = self.givers.get(giver)?;
        Some(state.first_byte() + (self.left(giver) + more) as f64 / state.rate(now)?)
    }

    /// Whether the other nodes are expected to have all that is left much earlier than `giver` would
    /// have one more piece.
    fn others_are_faster(&self, giver: &PublicKey, now: Instant) -> bool {
        let is_late = |giver| self.givers.get(giver).is_some_and(|it: &GiverState| it.is_late);
        if is_late(giver) && self.givers.keys().any(|it| !is_late(it)) {
            return true;
        }
        let Some(own) = self.expected(giver, PIECE, now) else { return false };
        let (mut rates, mut left) = (0.0, self.plan.pending() as u64 * PIECE);
        let mut first = f64::INFINITY;
        // Nobody waits for one that is late.
        let others = self.givers.iter().filter(|(other, it)| *other != giver && !it.is_late);
        for (other, state) in others {
            left += self.left(other);
            rates += state.rate(now).unwrap_or_default();
            // The next piece comes from one of them.
            first = self.expected(other, PIECE, now).unwrap_or(first).min(first);
        }
        first.is_finite() && own > HYSTERESIS * first.max(left as f64 / rates)
    }

    /// The requested piece that is expected last, if `giver` is the fastest of the other nodes and
    /// would have the rest of it in less than half of the time.
    fn slower_piece(&self, giver: &PublicKey, now: Instant) -> Option<u64> {
        if self.givers.get(giver)?.is_late {
            return None;
        }
        let candidates =
            self.requests.iter().filter(|(_, it)| it.giver != *giver && !it.is_stopped);
        let expected = candidates.filter_map(|(piece, request)| {
            let rest = self.length(*piece).saturating_sub(request.came);
            let own = self.expected(giver, rest, now)?;
            let others = self.givers.iter().filter(|(_, it)| !it.is_late).map(|(other, _)| other);
            let is_fastest = others
                .filter(|other| **other != request.giver && *other != giver)
                .filter_map(|other| self.expected(other, rest, now))
                .all(|other| own <= HYSTERESIS * other);
            // Of a node that was not measured, what it has taken so far is expected once more.
            let since = now.saturating_duration_since(request.asked).as_secs_f64();
            let theirs = self.expected(&request.giver, 0, now).unwrap_or(since);
            let is_slow = theirs > PATIENCE_AT_THE_END * own && theirs - own > MIN_GAIN;
            (is_fastest && is_slow).then_some((theirs, *piece))
        });
        expected.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, piece)| piece)
    }
}

fn average(before: Option<f64>, measured: f64) -> f64 {
    before.map_or(measured, |before| before + WEIGHT * (measured - before))
}
