//! The entries in memory, and which of them are on disk.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::entry::Entry;
use crate::store::Marks;

/// The size of entries that stay in memory after they are on disk, in bytes.
const RECENT: usize = 256 << 10;

/// An entry, with its positions in the inputs.
#[derive(Debug)]
pub struct RingItem {
    pub entry: Entry,
    /// Its position in the journal.
    pub start: u64,
    /// The positions in the inputs after it.
    pub marks: Marks,
}

/// Entries in the order of their sequence numbers. The oldest are on disk (*stored*), the next are
/// being written (*taken*), the others wait.
#[derive(Debug)]
pub struct TailRing {
    items: VecDeque<Arc<RingItem>>,
    capacity: usize,
    bytes: usize,
    next: u64,
    /// Entries before this sequence number are on disk.
    stored: u64,
    /// Entries before this sequence number are on disk or being written.
    taken: u64,
    /// The bytes per unit that are not on disk.
    waiting: HashMap<Arc<str>, usize>,
}

impl TailRing {
    /// An empty ring of about `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            capacity,
            bytes: 0,
            next: 0,
            stored: 0,
            taken: 0,
            waiting: HashMap::new(),
        }
    }

    /// Increases the sequence numbers of all entries by `step`, because the disk has older ones.
    pub fn renumber(&mut self, step: u64) {
        for shared in &mut self.items {
            let item = RingItem {
                entry: Entry { sequence: shared.entry.sequence + step, ..shared.entry.clone() },
                ..**shared
            };
            *shared = Arc::new(item);
        }
        self.next += step;
        self.stored += step;
        self.taken += step;
    }

    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The sequence number of the oldest entry.
    pub fn first_sequence(&self) -> u64 {
        self.items.front().map_or(self.next, |item| item.entry.sequence)
    }

    /// Adds `item`, and returns the entries that were removed for it before they were on disk.
    pub fn push(&mut self, item: RingItem) -> Vec<Arc<RingItem>> {
        let cost = item.entry.cost();
        self.next = item.entry.sequence + 1;
        self.bytes += cost;
        *self.waiting.entry(item.entry.unit.clone()).or_default() += cost;
        self.items.push_back(Arc::new(item));
        self.forget_stored();
        let mut gone = vec![];
        while self.bytes > self.capacity {
            let Some(victim) = self.eviction_candidate() else { break };
            let Some(item) = self.items.remove(victim) else { break };
            self.bytes -= item.entry.cost();
            self.remove_waiting(&item);
            gone.push(item);
        }
        gone
    }

    /// The index of the entry to remove: the oldest of the unit with the most waiting bytes, so
    /// that a flooding unit does not displace others. Entries that are being written stay.
    fn eviction_candidate(&self) -> Option<usize> {
        let most = self.waiting.iter().max_by_key(|(_, bytes)| **bytes).map(|(unit, _)| unit);
        let from = self.index_of(self.taken);
        let mut untaken = self.items.range(from..);
        let of_most = untaken.position(|item| Some(&item.entry.unit) == most);
        of_most.map(|at| at + from).or_else(|| (from < self.items.len()).then_some(from))
    }

    fn index_of(&self, sequence: u64) -> usize {
        self.items.partition_point(|item| item.entry.sequence < sequence)
    }

    fn forget_stored(&mut self) {
        while self.bytes > RECENT.min(self.capacity)
            && let Some(item) = self.items.front()
            && item.entry.sequence < self.stored
        {
            self.bytes -= item.entry.cost();
            self.items.pop_front();
        }
    }

    fn remove_waiting(&mut self, item: &RingItem) {
        if let Some(bytes) = self.waiting.get_mut(&item.entry.unit) {
            *bytes = bytes.saturating_sub(item.entry.cost());
            if *bytes == 0 {
                self.waiting.remove(&item.entry.unit);
            }
        }
    }

    /// The bytes that are not on disk.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.values().sum()
    }

    /// The journal position of the first byte that is still needed.
    pub fn needed_input(&self) -> Option<u64> {
        let waiting = self.items.range(self.index_of(self.stored)..);
        waiting.map(|item| item.start).min()
    }

    /// Whether there are entries that were not taken for writing.
    pub fn has_unqueued(&self) -> bool {
        self.items.back().is_some_and(|item| item.entry.sequence >= self.taken)
    }

    /// The entries that were not taken for writing.
    pub fn unqueued(&self) -> impl Iterator<Item = &Arc<RingItem>> {
        self.items.range(self.index_of(self.taken)..)
    }

    /// The sequence number of the first entry that is not on disk.
    pub fn first_waiting(&self) -> u64 {
        self.stored
    }

    /// Records that the entries before `sequence` are being written.
    pub fn taken(&mut self, sequence: u64) {
        self.taken = sequence;
    }

    /// Records that the taken entries are on disk.
    pub fn stored(&mut self) {
        let range = self.index_of(self.stored)..self.index_of(self.taken);
        let now_stored: Vec<Arc<RingItem>> = self.items.range(range).cloned().collect();
        for item in now_stored {
            self.remove_waiting(&item);
        }
        self.stored = self.taken;
        self.forget_stored();
    }

    /// Records that writing the taken entries has failed: they wait again.
    pub fn not_stored(&mut self) {
        self.taken = self.stored;
    }

    /// The entries from `sequence` on.
    pub fn from(&self, sequence: u64) -> impl DoubleEndedIterator<Item = &Arc<RingItem>> {
        self.items.range(self.index_of(sequence)..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::LogSource;
    use proptest::prelude::*;

    fn item(sequence: u64, unit: &str, length: usize) -> RingItem {
        let entry = Entry {
            sequence,
            wall: 0,
            uptime: 0,
            unit: unit.into(),
            source: LogSource::Output,
            text: vec![b'x'; length].into(),
        };
        RingItem { entry, start: sequence * 10, marks: Marks::default() }
    }

    #[test]
    fn a_flood_takes_no_other_units_room() {
        let mut ring = TailRing::new(100_000);
        for sequence in 0..50 {
            assert!(ring.push(item(sequence, "calm", 100)).is_empty());
        }
        let gone: Vec<_> =
            (50..5000).flat_map(|sequence| ring.push(item(sequence, "flood", 100))).collect();
        assert!(gone.len() > 1000 && gone.iter().all(|item| &*item.entry.unit == "flood"));
        assert_eq!(ring.from(0).filter(|item| &*item.entry.unit == "calm").count(), 50);
    }

    proptest! {
        /// For any sequence of steps: the size limit and the order hold, waiting entries are only
        /// removed by returning them, and the counts are correct.
        #[test]
        fn books_are_kept(steps in prop::collection::vec((0u8..6, 0usize..4000), 1..300)) {
            const CAPACITY: usize = 40_000;
            let mut ring = TailRing::new(CAPACITY);
            let (mut next, mut gone, mut stored) = (0, 0, 0);
            for (kind, amount) in steps {
                match kind {
                    0..3 => {
                        let unit = ["a", "b", "c"][usize::from(kind)];
                        gone += ring.push(item(next, unit, amount)).len();
                        next += 1;
                    }
                    3 => {
                        let count = ring.unqueued().take(amount % 7).count();
                        let last = ring.unqueued().take(count).last().map(|i| i.entry.sequence + 1);
                        if let Some(last) = last {
                            ring.taken(last);
                        }
                    }
                    4 => {
                        let before = ring.index_of(ring.stored)..ring.index_of(ring.taken);
                        stored += before.len();
                        ring.stored();
                    }
                    _ => ring.not_stored(),
                }
                let items: Vec<_> = ring.from(0).collect();
                prop_assert!(items.windows(2).all(|w| w[0].entry.sequence < w[1].entry.sequence));
                let bytes: usize = items.iter().map(|item| item.entry.cost()).sum();
                prop_assert_eq!(bytes, ring.bytes);
                let waiting = items.iter().filter(|item| item.entry.sequence >= ring.stored);
                prop_assert_eq!(
                    waiting.clone().map(|item| item.entry.cost()).sum::<usize>(),
                    ring.waiting_bytes()
                );
                prop_assert_eq!(waiting.count() + gone + stored, next as usize);
                let on_their_way: usize = ring.items.iter()
                    .filter(|item| item.entry.sequence < ring.taken).map(|item| item.entry.cost()).sum();
                prop_assert!(ring.bytes <= CAPACITY + on_their_way);
            }
        }
    }
}
