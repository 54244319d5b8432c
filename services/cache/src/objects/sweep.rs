//! Blobs that nothing names any more are let go of. The store does that by itself, in turns, and here a turn begins
//! when somebody asks for one: it has no call that deletes one blob.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iroh_blobs::Hash;
use iroh_blobs::store::{GcConfig, ProtectCb, ProtectOutcome};
use tokio::sync::watch;

use super::{ObjectError, broken};

/// The pause between two turns: who asks waits no longer for one.
const RETRY_DELAY: Duration = Duration::from_millis(1);

/// What a turn is about: its number, and what is spared though no tag names it.
type Asked = (u64, Vec<Hash>);

#[derive(Debug)]
pub struct Sweeper {
    asked: watch::Sender<Asked>,
    done: watch::Receiver<u64>,
}

impl Sweeper {
    /// A sweeper, and what makes the store listen to it.
    pub fn new() -> (Self, GcConfig) {
        let (asked, asks) = watch::channel((0, vec![]));
        let (finished, done) = watch::channel(0);
        let (finished, current) = (Arc::new(finished), Arc::new(AtomicU64::new(0)));
        // The store calls it before each turn, so the one before has ended then.
        let next: ProtectCb = Arc::new(move |live| {
            let before = current.load(Ordering::Relaxed);
            finished.send_replace(before);
            let (mut asks, current) = (asks.clone(), Arc::clone(&current));
            Box::pin(async move {
                let Ok(asked) = asks.wait_for(|(number, _)| *number > before).await else {
                    return ProtectOutcome::Abort;
                };
                live.extend(&asked.1);
                current.store(asked.0, Ordering::Relaxed);
                ProtectOutcome::Continue
            })
        });
        (Self { asked, done }, GcConfig { interval: RETRY_DELAY, add_protected: Some(next) })
    }

    /// Has everything go that no tag names, but `spared`, and waits for that.
    ///
    /// # Errors
    /// The store does not do that any more.
    pub async fn sweep(&self, spared: Vec<Hash>) -> Result<(), ObjectError> {
        let mut number = 0;
        self.asked.send_modify(|asked| {
            number = asked.0 + 1;
            *asked = (number, spared);
        });
        let mut done = self.done.clone();
        done.wait_for(|done| *done >= number).await.map_err(broken)?;
        Ok(())
    }
}
