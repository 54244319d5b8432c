//! Runs work on all processors.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Calls `work` for each of `items`, with one thread per processor.
pub fn in_parallel<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync) {
    let items = Mutex::new(VecDeque::from(items));
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let go_on = || {
        while let Some(item) = next() {
            work(item);
        }
    };
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(go_on)).collect();
        for worker in workers {
            // The panic was printed already, so it is passed on without another message.
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}
