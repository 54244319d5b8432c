//! More than anybody means well by: frames without end, each another one, so many in a second.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::Switchboard;
use crate::panel::port::Out;

/// No sleep is shorter: frames that are due so soon are sent at once.
const MIN_SLEEP: Duration = Duration::from_millis(1);

/// What was not sent in time is not made up for beyond this.
const MAX_BACKLOG: Duration = Duration::from_millis(20);

/// Frames under way on one leg, until it is [`end`](Self::end)ed.
#[derive(Debug)]
pub struct Storm {
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Switchboard {
    /// Sends on `leg` what `frame` makes of 0, 1 and so on: `rate` of them in a second, fewer if the router does not
    /// take as many. Meanwhile other legs can be used; this one is to be [`quiet`](Self::quiet).
    ///
    /// # Panics
    /// There is no such leg, or `rate` is 0.
    pub fn storm(
        &self,
        leg: usize,
        rate: u32,
        frame: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> Storm {
        let out = Arc::clone(&self.outs[leg]);
        let (step, sent, ended) = (Duration::from_secs(1) / rate, Arc::default(), Arc::default());
        let (count, end) = (Arc::clone(&sent), Arc::clone(&ended));
        let thread = Some(thread::spawn(move || send(&out, step, &frame, &count, &end)));
        Storm { sent, ended, thread }
    }
}

impl Storm {
    /// How many frames have been sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Ends it. Returns how many frames were sent.
    pub fn end(mut self) -> io::Result<u64> {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| io::Error::other("a sender has panicked"))??;
        }
        Ok(self.sent())
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

/// Sends until it is ended. What a router does not take for long is tried again.
fn send(
    out: &Out,
    step: Duration,
    frame: &impl Fn(u64) -> Vec<u8>,
    sent: &AtomicU64,
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut due = Instant::now();
    for number in 0.. {
        let frame = frame(number);
        let early = due.saturating_duration_since(Instant::now());
        if early >= MIN_SLEEP {
            sleep(early);
        }
        loop {
            if ended.load(Ordering::SeqCst) {
                return Ok(());
            }
            match out.send(&frame) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        sent.fetch_add(1, Ordering::SeqCst);
        due = (due + step).max(Instant::now() - MAX_BACKLOG);
    }
    Ok(())
}
