//! Work on all processors.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Does `work` for each of `items`, as many at once as there are processors.
///
/// # Panics
/// `work` does.
pub fn in_parallel<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync) {
    let items = Mutex::new(VecDeque::from(items));
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(item);
                }
            });
        }
    });
}
