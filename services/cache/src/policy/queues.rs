//! The eviction order: S3-FIFO (Yang and others, "FIFO queues are all you need for cache eviction",
//! SOSP 2023), by cost instead of by number.
//!
//! A new object enters the small queue. At the end of it, an object with at least two hits moves to
//! the main queue; others are evicted and remembered as ghosts. A ghost that is added again enters
//! the main queue. A scan, whatever its size, therefore does not evict the objects that are
//! requested often.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Further hits do not count.
const MAX_HITS: u8 = 3;

/// The share of the small queue: one part in this many.
const SMALL: u64 = 10;

/// The bounds of the number of ghosts, which otherwise equals that of objects.
const GHOSTS: (usize, usize) = (64, 1 << 16);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    Small,
    /// Objects that were requested again.
    Main,
}

/// The position of an object: within a queue, the lowest number is evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePosition {
    pub queue: Queue,
    /// Unique among all objects.
    pub number: u64,
}

#[derive(Debug)]
struct Slot {
    cost: u64,
    hits: u8,
    position: QueuePosition,
}

/// The evicted objects, and those that changed their position.
#[derive(Debug, PartialEq, Eq)]
pub struct Eviction<K> {
    pub evicted: Vec<K>,
    pub moved: Vec<(K, QueuePosition)>,
}

/// The queues of all evictable objects.
#[derive(Debug)]
pub struct Queues<K> {
    capacity: u64,
    slots: HashMap<K, Slot>,
    small: BTreeMap<u64, K>,
    main: BTreeMap<u64, K>,
    small_cost: u64,
    cost: u64,
    ghosts: HashMap<K, u64>,
    ghosts_by_age: BTreeMap<u64, K>,
    next: u64,
}

impl<K: Copy + Eq + Hash> Queues<K> {
    /// Empty queues for a total cost of `capacity`.
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            slots: HashMap::new(),
            small: BTreeMap::new(),
            main: BTreeMap::new(),
            small_cost: 0,
            cost: 0,
            ghosts: HashMap::new(),
            ghosts_by_age: BTreeMap::new(),
            next: 0,
        }
    }

    pub fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    /// The total cost.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Restores an object at its position.
    pub fn restore(&mut self, key: K, cost: u64, position: QueuePosition) {
        self.remove(&key);
        self.next = self.next.max(position.number + 1);
        self.put(key, Slot { cost, hits: 0, position });
    }

    /// The position of a new object.
    pub fn initial_position(&self, key: &K) -> QueuePosition {
        let queue = if self.ghosts.contains_key(key) { Queue::Main } else { Queue::Small };
        QueuePosition { queue, number: self.next }
    }

    /// Inserts an object at its [position](Self::initial_position).
    pub fn insert(&mut self, key: K, cost: u64) {
        let place = self.initial_position(&key);
        if let Some(age) = self.ghosts.remove(&key) {
            self.ghosts_by_age.remove(&age);
        }
        self.restore(key, cost, place);
    }

    pub fn hit(&mut self, key: &K) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.hits = (slot.hits + 1).min(MAX_HITS);
        }
    }

    /// Removes an object from any position.
    pub fn remove(&mut self, key: &K) {
        let Some(slot) = self.slots.remove(key) else { return };
        self.cost -= slot.cost;
        match slot.position.queue {
            Queue::Small => {
                self.small_cost -= slot.cost;
                self.small.remove(&slot.position.number);
            }
            Queue::Main => drop(self.main.remove(&slot.position.number)),
        }
    }

    /// Removes objects until `lacks` is free, or all.
    pub fn evict(&mut self, lacks: u64) -> Eviction<K> {
        let mut chosen = Eviction { evicted: vec![], moved: vec![] };
        let mut moved = HashMap::new();
        let wanted = self.cost.saturating_sub(lacks);
        while self.cost > wanted {
            let of_small = self.main.is_empty() || self.small_cost * SMALL >= self.capacity;
            let queue = match of_small && !self.small.is_empty() {
                true => &self.small,
                false => &self.main,
            };
            let Some(key) = queue.values().next().copied() else { break };
            let Some(slot) = self.slots.get(&key) else { break };
            let (cost, hits, from) = (slot.cost, slot.hits, slot.position.queue);
            self.remove(&key);
            // The small queue requires two hits; in the main queue each hit gives another round.
            let stays = match from {
                Queue::Small => (hits > 1).then_some(0),
                Queue::Main => hits.checked_sub(1),
            };
            match stays {
                Some(hits) => {
                    let position = QueuePosition { queue: Queue::Main, number: self.next };
                    self.next += 1;
                    self.put(key, Slot { cost, hits, position });
                    moved.insert(key, position);
                }
                None => {
                    if from == Queue::Small {
                        self.add_ghost(key);
                    }
                    moved.remove(&key);
                    chosen.evicted.push(key);
                }
            }
        }
        chosen.moved = moved.into_iter().collect();
        chosen
    }

    fn put(&mut self, key: K, slot: Slot) {
        self.cost += slot.cost;
        match slot.position.queue {
            Queue::Small => {
                self.small_cost += slot.cost;
                self.small.insert(slot.position.number, key);
            }
            Queue::Main => drop(self.main.insert(slot.position.number, key)),
        }
        self.slots.insert(key, slot);
    }

    fn add_ghost(&mut self, key: K) {
        self.ghosts.insert(key, self.next);
        self.ghosts_by_age.insert(self.next, key);
        self.next += 1;
        let most = self.slots.len().clamp(GHOSTS.0, GHOSTS.1);
        while self.ghosts.len() > most {
            let Some((_, oldest)) = self.ghosts_by_age.pop_first() else { break };
            self.ghosts.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
