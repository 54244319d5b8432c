//! What waits to be sent to a peer. If it is too much, the oldest goes: consensus repeats its votes, and blocks are
//! fetched.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::consensus::MAX_FRAME;

/// The most bytes that wait for one peer.
pub const MAX_OUTBOX: usize = 4 * MAX_FRAME;

#[derive(Debug, Default)]
pub(crate) struct PeerOutbox {
    frames: Mutex<(VecDeque<Arc<[u8]>>, usize)>,
    arrived: Notify,
}

impl PeerOutbox {
    pub(crate) fn push(&self, frame: Arc<[u8]>) {
        let (frames, bytes) = &mut *self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        *bytes += frame.len();
        frames.push_back(frame);
        while *bytes > MAX_OUTBOX
            && let Some(oldest) = frames.pop_front()
        {
            *bytes -= oldest.len();
        }
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<Arc<[u8]>> {
        let (frames, bytes) = &mut *self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = frames.pop_front()?;
        *bytes -= frame.len();
        Some(frame)
    }

    /// The oldest frame, once there is one.
    pub(crate) async fn next(&self) -> Arc<[u8]> {
        loop {
            if let Some(frame) = self.pop() {
                return frame;
            }
            self.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_frames_go_first() {
        let outbox = PeerOutbox::default();
        for number in 0..6u8 {
            outbox.push(vec![number; MAX_FRAME].into());
        }
        let left: Vec<u8> = std::iter::from_fn(|| outbox.pop()).map(|frame| frame[0]).collect();
        assert_eq!(left, [2, 3, 4, 5]);
    }
}
