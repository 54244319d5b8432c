//! The timeout of a request's head, and of an idle connection, without a timer for each request.
//!
//! hyper sets a deadline whenever it begins to wait for a head. Here that is one store into a number of the connection,
//! and the connection looks at the number when the deadline that it has last seen is over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time::sleep_until;

/// The deadline of the head that a connection waits for.
#[derive(Debug, Clone)]
pub struct HeadDeadline {
    began: Instant,
    /// In nanoseconds since `began`; [`NONE`] while no head is waited for.
    deadline: Arc<AtomicU64>,
}

const NONE: u64 = u64::MAX;

impl HeadDeadline {
    pub fn new() -> Self {
        Self { began: Instant::now(), deadline: Arc::new(NONE.into()) }
    }

    /// The head has come.
    pub fn clear(&self) {
        self.deadline.store(NONE, Ordering::Relaxed);
    }

    /// Waits until a head has not come by its deadline. Deadlines are `timeout` after they are set.
    pub async fn passed(&self, timeout: Duration) {
        loop {
            let now = Instant::now();
            let next = match self.deadline.load(Ordering::Relaxed) {
                NONE => now + timeout,
                nanoseconds => self.began + Duration::from_nanos(nanoseconds),
            };
            if next <= now {
                return;
            }
            sleep_until(next.into()).await;
        }
    }
}

impl Timer for HeadDeadline {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let after = deadline.saturating_duration_since(self.began).as_nanos();
        self.deadline.store(u64::try_from(after).unwrap_or(NONE), Ordering::Relaxed);
        Box::pin(WatchedElsewhere)
    }
}

/// What hyper polls for a deadline: [`HeadDeadline::passed`] watches it.
struct WatchedElsewhere;

impl Future for WatchedElsewhere {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for WatchedElsewhere {}
