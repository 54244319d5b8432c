//! Work on all processors.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Does `work` for each of `items`, as many at once as there are processors.
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
            // It has said already why, and no other reason is to stand beside that.
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}
