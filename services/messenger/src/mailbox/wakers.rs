//! Who is told when a message has arrived.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

/// Is called when a message has arrived. It must not call the mailbox.
pub type WakeCallback = Arc<Callback>;

type Callback = dyn Fn() + Send + Sync;

/// The callbacks by the owner of the mailbox. Whoever has added one keeps it: when it is dropped
/// there, it is forgotten here.
#[derive(Default)]
pub struct Wakers(BTreeMap<[u8; 32], Vec<Weak<Callback>>>);

impl Wakers {
    pub fn add(&mut self, name: &[u8; 32], waker: &WakeCallback) {
        self.0.retain(|_, all| {
            all.retain(|one| one.strong_count() > 0);
            !all.is_empty()
        });
        let (all, waker) = (self.0.entry(*name).or_default(), Arc::downgrade(waker));
        if !all.iter().any(|one| one.ptr_eq(&waker)) {
            all.push(waker);
        }
    }

    pub fn wake(&self, name: &[u8; 32]) {
        for waker in self.0.get(name).into_iter().flatten().filter_map(Weak::upgrade) {
            waker();
        }
    }
}

impl fmt::Debug for Wakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn those_that_are_kept_are_called() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&calls);
        let waker: WakeCallback = Arc::new(move || {
            counts.fetch_add(1, Ordering::Relaxed);
        });
        let mut wakers = Wakers::default();
        wakers.add(&[1; 32], &waker);
        wakers.add(&[1; 32], &waker);
        let other = waker.clone();
        wakers.add(&[2; 32], &other);
        wakers.wake(&[1; 32]);
        wakers.wake(&[3; 32]);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        drop((waker, other));
        wakers.wake(&[1; 32]);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        let third: WakeCallback = Arc::new(|| {});
        wakers.add(&[3; 32], &third);
        assert_eq!(wakers.0.len(), 1, "the others are forgotten");
    }
}
