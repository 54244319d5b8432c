//! Deletes unreferenced blobs. The store only does that in its garbage collection, which is
//! triggered here on demand, because it has no call to delete one blob.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iroh_blobs::Hash;
use iroh_blobs::store::{GcConfig, ProtectCb, ProtectOutcome};
use tokio::sync::watch;

use super::{ObjectError, broken};

/// The pause between two collections, and the maximum delay of a request.
const GC_INTERVAL: Duration = Duration::from_millis(1);

/// The number of a collection, and the blobs to spare without a tag.
type SweepRequest = (u64, Vec<Hash>);

#[derive(Debug)]
pub struct Sweeper {
    requests: watch::Sender<SweepRequest>,
    done: watch::Receiver<u64>,
}

impl Sweeper {
    /// A sweeper, and the store's configuration for it.
    pub fn new() -> (Self, GcConfig) {
        let (requests, asks) = watch::channel((0, vec![]));
        let (finished, done) = watch::channel(0);
        let (finished, current) = (Arc::new(finished), Arc::new(AtomicU64::new(0)));
        // The store calls this before each collection, when the previous one has ended.
        let next: ProtectCb = Arc::new(move |live| {
            let before = current.load(Ordering::Relaxed);
            finished.send_replace(before);
            let (mut asks, current) = (asks.clone(), Arc::clone(&current));
            Box::pin(async move {
                if let Ok(request) = asks.wait_for(|(number, _)| *number > before).await {
                    live.extend(&request.1);
                    current.store(request.0, Ordering::Relaxed);
                    return ProtectOutcome::Continue;
                }
                // Nobody will ask again. If this ended, the store would call it after each pause, for ever.
                pending().await
            })
        });
        (Self { requests, done }, GcConfig { interval: GC_INTERVAL, add_protected: Some(next) })
    }

    /// Deletes all blobs without a tag, except `spared`, and waits for that.
    ///
    /// # Errors
    /// The store's collection has ended.
    pub async fn sweep(&self, spared: Vec<Hash>) -> Result<(), ObjectError> {
        let mut number = 0;
        self.requests.send_modify(|request| {
            number = request.0 + 1;
            *request = (number, spared);
        });
        let mut done = self.done.clone();
        done.wait_for(|done| *done >= number).await.map_err(broken)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn the_store_waits_for_a_request_and_for_ever_when_none_can_come() {
        let (sweeper, config) = Sweeper::new();
        let next = config.add_protected.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut is_asked = || {
            let mut live = HashSet::new();
            let mut asked = next(&mut live);
            match asked.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => Some(matches!(outcome, ProtectOutcome::Continue)),
                Poll::Pending => None,
            }
        };
        assert_eq!(is_asked(), None);
        sweeper.requests.send_replace((1, vec![]));
        assert_eq!(is_asked(), Some(true));
        assert_eq!(is_asked(), None);
        drop(sweeper);
        assert_eq!(is_asked(), None);
    }
}
