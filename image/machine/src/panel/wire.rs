//! Two ports joined: what goes by is recorded, and can be dropped, delayed or cut off.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::port::{Out, Port};

/// How soon a wire notices that it is to end.
const TICK: Duration = Duration::from_millis(20);

/// An end of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    A,
    /// The second one.
    B,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Drop,
    /// It goes on after this time; those behind it do not overtake it.
    Delay(Duration),
}

/// A frame that went by, or did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedFrame {
    pub from: End,
    /// Its bytes.
    pub frame: Vec<u8>,
    pub verdict: Verdict,
}

type Rule = Box<dyn FnMut(End, &[u8]) -> Verdict + Send>;

struct Shared {
    rule: Mutex<Rule>,
    recorded: Mutex<Vec<RecordedFrame>>,
    cut: AtomicBool,
    ended: AtomicBool,
}

/// Two ports joined. When the value goes, the wire is cut for good.
pub struct Wire(Arc<Shared>);

impl Wire {
    /// Joins `a` and `b`; everything passes.
    pub fn join(a: Port, b: Port) -> Self {
        let shared = Arc::new(Shared {
            rule: Mutex::new(Box::new(|_, _| Verdict::Pass)),
            recorded: Mutex::new(vec![]),
            cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let ((to_a, from_a), (to_b, from_b)) = (a.split(), b.split());
        for (from, frames, to) in [(End::A, from_a, to_b), (End::B, from_b, to_a)] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || carry(from, &frames, &to, &shared));
        }
        Self(shared)
    }

    /// Has `rule` decide about every frame from now on.
    pub fn rule(&self, rule: impl FnMut(End, &[u8]) -> Verdict + Send + 'static) {
        *lock(&self.0.rule) = Box::new(rule);
    }

    /// Cuts it: nothing passes until it is [restored](Self::restore).
    pub fn cut(&self) {
        self.0.cut.store(true, Ordering::SeqCst);
    }

    pub fn restore(&self) {
        self.0.cut.store(false, Ordering::SeqCst);
    }

    /// All frames so far, in the order in which they came.
    pub fn recorded(&self) -> Vec<RecordedFrame> {
        lock(&self.0.recorded).clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn decide(&self, from: End, frame: &[u8]) -> Verdict {
        let verdict = match self.cut.load(Ordering::SeqCst) {
            true => Verdict::Drop,
            false => lock(&self.rule)(from, frame),
        };
        lock(&self.recorded).push(RecordedFrame { from, frame: frame.to_vec(), verdict });
        verdict
    }
}

/// One direction, until the wire ends or the end that frames come from is gone.
fn carry(from: End, frames: &Receiver<Vec<u8>>, to: &Out, shared: &Shared) {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    while !shared.ended.load(Ordering::SeqCst) {
        let now = Instant::now();
        let due = waiting.iter().take_while(|(due, _)| *due <= now).count();
        for (_, frame) in waiting.drain(..due) {
            // A guest that is gone takes nothing; what is sent to it is lost, as on a wire.
            let _ = to.send(&frame);
        }
        let next = waiting.front().map_or(TICK, |(due, _)| due.saturating_duration_since(now));
        match frames.recv_timeout(next.min(TICK)) {
            Ok(frame) => {
                let delay = match shared.decide(from, &frame) {
                    Verdict::Drop => continue,
                    Verdict::Pass => Duration::ZERO,
                    Verdict::Delay(time) => time,
                };
                let due = Instant::now() + delay;
                let due = waiting.back().map_or(due, |(last, _)| due.max(*last));
                waiting.push_back((due, frame));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if waiting.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => thread::sleep(next.min(TICK)),
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Two ends of two cards, and the wire between the cards.
    fn wired() -> (Port, Wire, Port) {
        let ((left, a), (b, right)) = (Port::pair().unwrap(), Port::pair().unwrap());
        (left, Wire::join(a, b), right)
    }

    #[test]
    fn what_passes_is_recorded() {
        let (left, wire, right) = wired();
        left.send(b"ping").unwrap();
        assert_eq!(right.receive(soon()).as_deref(), Some(&b"ping"[..]));
        right.send(b"pong").unwrap();
        assert_eq!(left.receive(soon()).as_deref(), Some(&b"pong"[..]));
        let passed = |from, frame: &[u8]| RecordedFrame {
            from,
            frame: frame.into(),
            verdict: Verdict::Pass,
        };
        assert_eq!(wire.recorded(), [passed(End::A, b"ping"), passed(End::B, b"pong")]);
    }

    #[test]
    fn a_rule_decides_about_every_frame() {
        let (left, wire, right) = wired();
        let delay = Duration::from_millis(30);
        wire.rule(move |_, frame| match frame {
            b"lost" => Verdict::Drop,
            b"late" => Verdict::Delay(delay),
            _ => Verdict::Pass,
        });
        let began = Instant::now();
        for frame in [&b"one"[..], b"lost", b"late", b"two"] {
            left.send(frame).unwrap();
        }
        for expected in [&b"one"[..], b"late", b"two"] {
            assert_eq!(right.receive(soon()).as_deref(), Some(expected));
        }
        assert!(began.elapsed() >= delay);
    }

    #[test]
    fn nothing_passes_a_wire_that_is_cut() {
        let (left, wire, right) = wired();
        wire.cut();
        left.send(b"one").unwrap();
        // The record tells that it came, so the next one cannot overtake it.
        while wire.recorded().is_empty() {
            thread::yield_now();
        }
        wire.restore();
        left.send(b"two").unwrap();
        assert_eq!(right.receive(soon()).as_deref(), Some(&b"two"[..]));
    }
}
