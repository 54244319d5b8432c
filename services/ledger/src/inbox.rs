//! What waits for the thread of the consensus, and the newest state for all others. Each peer has room of its own, so
//! none fills up that of others, and they take turns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use octet_coins::{LedgerState, SignedTransaction};
use octet_node::control::PublicKey;
use tokio::sync::Notify;

use crate::consensus::MAX_FRAME;
use crate::store::StoredBlock;

/// The most bytes of one peer that wait. The largest frame fits beside others.
pub const MAX_PEER_BYTES: usize = 2 * MAX_FRAME;

/// The most requests for blocks that wait.
const MAX_REQUESTS: usize = 8;

/// The most transactions of this machine that wait.
const MAX_SUBMISSIONS: usize = 1024;

#[derive(Debug)]
pub enum LedgerInput {
    Frame(PublicKey, Vec<u8>),
    Transaction(Box<SignedTransaction>),
    /// Somebody asks for blocks from a height on.
    Blocks(u64, SyncSender<BlockRange>),
    /// The node is to end.
    Stop,
}

/// Blocks from a height on, each with the certificate with which it was decided, as they are stored.
#[derive(Debug, Clone, Default)]
pub struct BlockRange {
    /// The height of the newest block.
    pub newest: u64,
    pub blocks: Vec<(u64, StoredBlock)>,
}

/// When the newest height was begun here, and when its block was on the disk here.
#[derive(Debug, Clone, Copy)]
pub struct HeightTimes {
    pub height: u64,
    pub began: Instant,
    pub decided: Instant,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: BTreeMap<PublicKey, (VecDeque<Vec<u8>>, usize)>,
    turns: VecDeque<PublicKey>,
    submissions: VecDeque<SignedTransaction>,
    newest: Option<Arc<LedgerState>>,
    times: Option<HeightTimes>,
    requests: VecDeque<(u64, SyncSender<BlockRange>)>,
    /// Requests and frames take turns.
    is_request_next: bool,
    is_stopped: bool,
}

#[derive(Debug, Default)]
pub struct LedgerInbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// There may be room again.
    drained: Notify,
    decided: Condvar,
}

impl LedgerInbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame, once there is room: until then the peer's stream is not read.
    pub async fn frame(&self, from: PublicKey, frame: Vec<u8>) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            {
                let waiting = &mut *self.lock();
                let (frames, bytes) = waiting.frames.entry(from).or_default();
                if frames.is_empty() || *bytes + frame.len() <= MAX_PEER_BYTES {
                    if frames.is_empty() {
                        waiting.turns.push_back(from);
                    }
                    *bytes += frame.len();
                    frames.push_back(frame);
                    break;
                }
            }
            drained.await;
        }
        self.arrived.notify_one();
    }

    /// Adds a transaction of this machine. Returns whether there was room.
    pub fn submit(&self, transaction: SignedTransaction) -> bool {
        let mut waiting = self.lock();
        let has_room = waiting.submissions.len() < MAX_SUBMISSIONS;
        if has_room {
            waiting.submissions.push_back(transaction);
            self.arrived.notify_one();
        }
        has_room
    }

    /// Blocks from the height `from` on, as many as fit into one answer. `None`: too many ask, or the node has ended.
    pub fn blocks(&self, from: u64) -> Option<BlockRange> {
        let (sender, receiver) = sync_channel(1);
        let mut waiting = self.lock();
        if waiting.is_stopped || waiting.requests.len() >= MAX_REQUESTS {
            return None;
        }
        waiting.requests.push_back((from, sender));
        self.arrived.notify_one();
        drop(waiting);
        receiver.recv().ok()
    }

    /// Ends the node.
    pub fn stop(&self) {
        self.lock().is_stopped = true;
        self.arrived.notify_one();
    }

    /// The next input; `None` after `patience`.
    pub fn next(&self, patience: Duration) -> Option<LedgerInput> {
        let waiting = self.lock();
        let is_empty = |it: &mut Waiting| {
            let is_idle = it.turns.is_empty() && it.submissions.is_empty();
            is_idle && it.requests.is_empty() && !it.is_stopped
        };
        let waited = self.arrived.wait_timeout_while(waiting, patience, is_empty);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.is_stopped {
            // Whoever waits for blocks gets none.
            waiting.requests.clear();
            return Some(LedgerInput::Stop);
        }
        let is_idle = waiting.turns.is_empty() && waiting.submissions.is_empty();
        waiting.is_request_next = is_idle || !waiting.is_request_next;
        if waiting.is_request_next
            && let Some((from, sender)) = waiting.requests.pop_front()
        {
            return Some(LedgerInput::Blocks(from, sender));
        }
        if let Some(transaction) = waiting.submissions.pop_front() {
            return Some(LedgerInput::Transaction(Box::new(transaction)));
        }
        let from = waiting.turns.pop_front()?;
        let (frames, bytes) = waiting.frames.get_mut(&from)?;
        let frame = frames.pop_front()?;
        *bytes -= frame.len();
        if !frames.is_empty() {
            waiting.turns.push_back(from);
        }
        drop(waiting);
        self.drained.notify_waiters();
        Some(LedgerInput::Frame(from, frame))
    }

    /// The state after the newest block; `None` until the node has opened its store.
    pub fn newest(&self) -> Option<Arc<LedgerState>> {
        self.lock().newest.clone()
    }

    /// The state after the newest block, once that is after `height`; `None` after `patience`.
    pub fn newest_after(&self, height: u64, patience: Duration) -> Option<Arc<LedgerState>> {
        let is_old = |it: &mut Waiting| it.newest.as_ref().is_none_or(|it| it.height() <= height);
        let waited = self.decided.wait_timeout_while(self.lock(), patience, is_old);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if is_old(&mut waiting) { None } else { waiting.newest.clone() }
    }

    /// The times of the newest height; `None` if this process has decided none.
    pub fn times(&self) -> Option<HeightTimes> {
        self.lock().times
    }

    pub(crate) fn set_newest(&self, state: &Arc<LedgerState>, times: Option<HeightTimes>) {
        let waiting = &mut *self.lock();
        if waiting.newest.as_ref().is_none_or(|newest| newest.height() < state.height()) {
            waiting.newest = Some(state.clone());
            waiting.times = times;
            self.decided.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(of: u8) -> PublicKey {
        PublicKey::new([of; 32])
    }

    #[test]
    fn a_peer_that_sends_much_waits_alone() {
        let inbox = LedgerInbox::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..2 {
                inbox.frame(key(1), vec![1; MAX_FRAME]).await;
            }
            let more = inbox.frame(key(1), vec![9]);
            tokio::pin!(more);
            assert!(poll_once(more.as_mut()).await.is_none());
            inbox.frame(key(2), vec![2]).await;
            let next = |inbox: &LedgerInbox| match inbox.next(Duration::ZERO) {
                Some(LedgerInput::Frame(from, frame)) => (from, frame[0]),
                other => panic!("{other:?}"),
            };
            assert_eq!(next(&inbox), (key(1), 1));
            assert_eq!(next(&inbox), (key(2), 2));
            assert!(poll_once(more.as_mut()).await.is_some());
            assert_eq!(next(&inbox), (key(1), 1));
            assert_eq!(next(&inbox), (key(1), 9));
            assert!(inbox.next(Duration::ZERO).is_none());
        });
    }

    /// What a future has now.
    async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
