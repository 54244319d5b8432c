//! Several threads over one list.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::buffer::Buffer;
use super::error::FlashFault;
use super::pieces::PIECE;
use super::watch::Watch;

/// How many threads: enough that the medium always has something to do while others compare.
const THREADS: usize = 4;

/// What one thread works with.
pub struct PieceBuffers {
    /// Room for a piece of the image.
    pub ours: Buffer,
    /// Room for the same piece of the target.
    pub theirs: Buffer,
    /// Whether all of its last piece differed.
    pub all_differed: bool,
}

/// Does `work` on each of `items`, by several threads, about in order. It ends early at the first
/// fault, or when `watch` says so; no thread is left behind.
pub fn for_each<T: Sync>(
    items: &[T],
    watch: &dyn Watch,
    work: impl Fn(&mut PieceBuffers, &T) -> Result<(), FlashFault> + Sync,
) -> Result<(), FlashFault> {
    let next = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let faults = Mutex::new(vec![]);
    let one = || {
        let room = || Buffer::new(PIECE as usize);
        let mut hands = PieceBuffers { ours: room(), theirs: room(), all_differed: false };
        while !over.load(Ordering::Relaxed) {
            let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let done =
                if watch.stopped() { Err(FlashFault::Stopped) } else { work(&mut hands, item) };
            if let Err(fault) = done {
                over.store(true, Ordering::Relaxed);
                faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(items.len()) {
            scope.spawn(one);
        }
    });
    let faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    faults.into_iter().min_by_key(FlashFault::at).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::super::watch::Unwatched;
    use super::*;

    struct StopAfter(AtomicUsize);

    impl Watch for StopAfter {
        fn stopped(&self) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed) >= 5
        }
    }

    #[test]
    fn does_all_once_or_stops() {
        let items: Vec<usize> = (0..1000).collect();
        let done: Vec<AtomicUsize> = items.iter().map(|_| AtomicUsize::new(0)).collect();
        let work = |_: &mut PieceBuffers, item: &usize| {
            done[*item].fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        for_each(&items, &Unwatched, work).unwrap();
        assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));

        let stopped = for_each(&items, &StopAfter(AtomicUsize::new(0)), work);
        assert!(matches!(stopped, Err(FlashFault::Stopped)));
        assert_eq!(done.iter().filter(|count| count.load(Ordering::Relaxed) == 2).count(), 5);
    }

    #[test]
    fn tells_the_first_fault_and_ends() {
        let items: Vec<u64> = (0..100_000).collect();
        let done = AtomicUsize::new(0);
        let result = for_each(&items, &Unwatched, |_, item| {
            done.fetch_add(1, Ordering::Relaxed);
            if *item >= 10 {
                Err(FlashFault::Mismatch { at: *item, ours: 0, theirs: 1 })
            } else {
                Ok(())
            }
        });
        assert!(matches!(result, Err(FlashFault::Mismatch { at: 10, .. })), "{result:?}");
        assert!(done.load(Ordering::Relaxed) < 100);
    }
}
