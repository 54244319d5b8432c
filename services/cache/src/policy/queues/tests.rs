use super::*;
use proptest::prelude::*;
use std::collections::hash_map::Entry;
use std::collections::{HashSet, VecDeque};

const CAPACITY: u64 = 100;

impl<K: Copy + Eq + Hash> Queues<K> {
    fn holds(&self) -> bool {
        let sum = |queue: &BTreeMap<u64, K>| -> u64 {
            queue.values().map(|key| self.slots[key].cost).sum()
        };
        let listed = self.small.len() + self.main.len();
        self.small_cost == sum(&self.small)
            && self.cost == self.small_cost + sum(&self.main)
            && listed == self.slots.len()
            && self.ghosts.len() == self.ghosts_by_age.len()
            && self.ghosts.len() <= self.slots.len().clamp(GHOSTS.0, GHOSTS.1) + 1
            && self.ghosts.keys().all(|key| !self.slots.contains_key(key))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Ask(u8, u64),
    Leave(u8),
    Choose(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..60, 1u64..20).prop_map(|(key, cost)| Step::Ask(key, cost)),
        1 => (0u8..60).prop_map(Step::Leave),
        2 => (0u64..60).prop_map(Step::Choose),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn what_goes_frees_what_is_lacking_and_no_more(steps in steps()) {
        let mut queues = Queues::new(CAPACITY);
        let mut there = HashMap::<u8, u64>::new();
        for step in steps {
            match step {
                Step::Ask(key, cost) => {
                    if let Entry::Vacant(place) = there.entry(key) {
                        queues.insert(key, cost);
                        place.insert(cost);
                    } else {
                        queues.hit(&key);
                    }
                }
                Step::Leave(key) => {
                    queues.remove(&key);
                    there.remove(&key);
                }
                Step::Choose(lacks) => {
                    let before = queues.cost();
                    let chosen = queues.evict(lacks);
                    let costs: Vec<u64> = chosen.evicted.iter().map(|key| there.remove(key).unwrap()).collect();
                    let freed: u64 = costs.iter().sum();
                    prop_assert!(freed >= lacks.min(before));
                    // Without the last object, too little would have been freed.
                    let last = costs.last().copied().unwrap_or_default();
                    prop_assert!(costs.is_empty() || freed - last < lacks);
                    let moved: HashSet<u8> = chosen.moved.iter().map(|(key, _)| *key).collect();
                    prop_assert!(moved.iter().all(|key| there.contains_key(key)));
                    prop_assert!(chosen.moved.iter().all(|(key, place)| queues.slots[key].position == *place));
                }
            }
            prop_assert!(queues.holds());
            prop_assert_eq!(queues.cost(), there.values().sum::<u64>());
        }
    }

    #[test]
    fn the_order_outlives_a_restart(keys in prop::collection::hash_set(any::<u8>(), 1..40)) {
        let (mut queues, mut restored) = (Queues::new(CAPACITY), Queues::new(CAPACITY));
        for key in &keys {
            queues.insert(*key, 3);
        }
        let mut places: Vec<(u8, QueuePosition)> = queues.slots.iter().map(|(key, slot)| (*key, slot.position)).collect();
        places.reverse();
        for (key, place) in places {
            restored.restore(key, 3, place);
        }
        prop_assert_eq!(queues.evict(50), restored.evict(50));
    }
}

#[test]
fn each_rule() {
    let mut queues = Queues::new(CAPACITY);
    for key in 1..=5 {
        queues.insert(key, 10);
    }
    // One hit is not enough; after two, the object moves to the main queue.
    queues.hit(&1);
    queues.hit(&2);
    queues.hit(&2);
    let chosen = queues.evict(20);
    assert_eq!(chosen.evicted, [1, 3]);
    let [(2, QueuePosition { queue: Queue::Main, .. })] = chosen.moved[..] else {
        panic!("{chosen:?}")
    };
    // A ghost enters the main queue, a new object does not.
    assert_eq!(queues.initial_position(&3).queue, Queue::Main);
    assert_eq!(queues.initial_position(&9).queue, Queue::Small);
    queues.insert(3, 10);
    // Objects are evicted from the small queue while it has at least its share.
    assert_eq!(queues.evict(10).evicted, [4]);
    assert_eq!(queues.evict(10).evicted, [5]);
    // In the main queue, each hit gives another round.
    queues.hit(&2);
    assert_eq!(queues.evict(10).evicted, [3]);
    // It was evicted from the main queue, so it is no ghost.
    assert_eq!(queues.initial_position(&3).queue, Queue::Small);
    assert_eq!(queues.evict(1000).evicted, [2]);
}

/// A pseudo-random number generator.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: f64) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64 * most
    }
}

/// Requests objects with a skewed popularity, a few of them often and most of them seldom, and then
/// in between many objects once each. Returns the hit ratios of the first kind (0 to 1), without
/// and with the scan.
fn ratios(mut ask: impl FnMut(u32) -> bool) -> (f64, f64) {
    const OBJECTS: usize = 20_000;
    let mut sums = vec![0.0];
    for rank in 1..=OBJECTS {
        sums.push(sums[rank - 1] + (rank as f64).powf(-0.9));
    }
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut zipf = || {
        let wanted = chance.below(sums[OBJECTS]);
        sums.partition_point(|sum| *sum <= wanted) as u32
    };
    let mut part = |count: u32, scanned: u32, ask: &mut dyn FnMut(u32) -> bool| {
        let mut hits = 0;
        for at in 0..count {
            hits += u32::from(ask(zipf()));
            for one in 0..scanned {
                ask(1_000_000 + at * scanned + one);
            }
        }
        f64::from(hits) / f64::from(count)
    };
    part(60_000, 0, &mut ask);
    (part(60_000, 0, &mut ask), part(30_000, 2, &mut ask))
}

#[test]
fn more_is_there_than_with_plain_fifo() {
    const ROOM: u64 = 1000;
    let mut queues = Queues::new(ROOM);
    let ours = ratios(|key| {
        if queues.slots.contains_key(&key) {
            queues.hit(&key);
            return true;
        }
        if queues.cost() >= ROOM {
            queues.evict(1);
        }
        queues.insert(key, 1);
        false
    });
    let (mut queue, mut there) = (VecDeque::new(), HashSet::new());
    let fifo = ratios(|key| {
        if there.contains(&key) {
            return true;
        }
        if there.len() as u64 >= ROOM {
            there.remove(&queue.pop_front().unwrap());
        }
        there.insert(key);
        queue.push_back(key);
        false
    });
    println!(
        "of 1: S3-FIFO {:.3}, in a scan {:.3}; FIFO {:.3}, {:.3}",
        ours.0, ours.1, fifo.0, fifo.1
    );
    assert!(ours.0 > fifo.0 && ours.1 > fifo.1);
    // The scan costs less than it costs FIFO.
    assert!(ours.0 - ours.1 < fifo.0 - fifo.1);
}
