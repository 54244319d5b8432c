//! How much a link carries: what of a train of messages, sent at once, comes in which time.
//!
//! A link that is slower than who sends spreads them: from when the first has come to when the last has, it has
//! carried all but the first, and nothing of ours besides. Who sends cannot see that, and is told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::control::{LONGEST, LinkMessage};

/// How many messages a train has: 41 kB, a third of a second of 1 Mbit/s.
pub const TRAIN: u8 = 32;

/// How many must come, the last among them: of fewer the pauses between say little.
const ENOUGH: u32 = 16;

/// The pause between trains, and that before the first one, when a link is up.
const RETRY_DELAY: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_secs(3);

/// How many answers are looked back at.
const WINDOW: usize = 5;

/// What one message has on the link, in bits: with the headers of UDP (8) and IPv4 (20).
const BITS: u64 = 8 * (LONGEST as u64 + 28);

/// How much a link carries, both ways: what goes is announced, and of what comes the neighbour is told.
#[derive(Debug, Default)]
pub struct Trains {
    /// When the next one goes.
    due: Option<Instant>,
    number: u32,
    /// Whether the last one is answered.
    is_answered: bool,
    /// The last answers, in kbit/s.
    answers: VecDeque<u32>,
    coming: Option<Coming>,
}

#[derive(Debug, Clone, Copy)]
struct Coming {
    number: u32,
    /// When the first one of it came, by the kernel's clock.
    since: Duration,
    /// The place of the last that came, and how many came.
    place: u8,
    came: u32,
}

impl Trains {
    /// The next one, if it is time for it: the link is up.
    pub fn next(&mut self, now: Instant) -> Vec<LinkMessage> {
        match self.due {
            Some(due) if due <= now => {}
            Some(_) => return vec![],
            None => {
                self.due = Some(now + FIRST);
                return vec![];
            }
        }
        self.due = Some(now + RETRY_DELAY);
        self.number = self.number.wrapping_add(1);
        self.is_answered = false;
        (0..TRAIN).map(|place| LinkMessage::Train { number: self.number, place }).collect()
    }

    /// The neighbour says how much of the train `number` came: one answer counts, to the last one.
    pub fn answered(&mut self, number: u32, kilobits: u32) {
        if number != self.number || self.is_answered || self.due.is_none() {
            return;
        }
        self.is_answered = true;
        if self.answers.len() == WINDOW {
            self.answers.pop_front();
        }
        self.answers.push_back(kilobits);
    }

    /// What the link carries to the neighbour, in kbit/s: the median of the last answers.
    pub fn capacity(&self) -> Option<u32> {
        let mut answers: Vec<_> = self.answers.iter().copied().collect();
        answers.sort_unstable();
        answers.get(answers.len() / 2).copied()
    }

    /// A message of a train has come at `at`, by the kernel's clock. With the last one, and enough of the others,
    /// it is known how fast they came, in kbit/s. Messages come in the order in which they were sent, or not at
    /// all: one that does not begins a train anew.
    pub fn came(&mut self, number: u32, place: u8, at: Duration) -> Option<u32> {
        let coming = match self.coming {
            Some(it) if it.number == number && it.place < place => {
                Coming { place, came: it.came.saturating_add(1), ..it }
            }
            _ => Coming { number, since: at, place, came: 1 },
        };
        self.coming = (place < TRAIN - 1).then_some(coming);
        if self.coming.is_some() || coming.came < ENOUGH {
            return None;
        }
        // A clock that was set meanwhile says nothing, nor does one that has not gone on.
        let took = u64::try_from(at.checked_sub(coming.since)?.as_micros()).ok()?;
        let bits = u64::from(coming.came - 1) * BITS;
        let kilobits = (bits * 1000).checked_div(took)?;
        Some(u32::try_from(kilobits).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes of a train of which one message each so often comes, but for those that are lost.
    fn came(trains: &mut Trains, number: u32, each: Duration, lost: &[u8]) -> Option<u32> {
        let begins = Duration::from_secs(1_795_000_000);
        let places = (0..TRAIN).filter(|place| !lost.contains(place));
        let all: Vec<_> =
            places.map(|place| trains.came(number, place, begins + each * place.into())).collect();
        let (last, others) = all.split_last().unwrap();
        assert!(others.iter().all(Option::is_none), "only the last one says something");
        *last
    }

    #[test]
    fn what_comes_in_which_time() {
        let mut trains = Trains::default();
        // 1308 bytes each millisecond.
        let each = Duration::from_millis(1);
        assert_eq!(came(&mut trains, 7, each, &[]), Some(10_464));
        // Half of it is lost: so much less comes.
        let half: Vec<_> = (1..TRAIN - 1).step_by(2).collect();
        assert_eq!(came(&mut trains, 8, each, &half), Some(5_400));
        // Of too few, or without the last one, nothing is known; and the next one is not concerned.
        assert_eq!(came(&mut trains, 9, each, &(1..20).collect::<Vec<_>>()), None);
        assert_eq!(came(&mut trains, 10, each, &[TRAIN - 1]), None);
        assert_eq!(came(&mut trains, 11, each, &[]), Some(10_464));
        assert_eq!(came(&mut trains, 12, Duration::ZERO, &[]), None);
    }

    #[test]
    fn one_answer_to_each_counts() {
        let (mut trains, begin) = (Trains::default(), Instant::now());
        trains.answered(0, 1);
        assert_eq!(trains.capacity(), None);
        let mut now = begin;
        for (number, kilobits) in [(1, 900), (2, 100), (3, 1000)] {
            assert!(trains.next(now).is_empty());
            now += if number == 1 { FIRST } else { RETRY_DELAY };
            let train = trains.next(now);
            assert_eq!(train.len(), usize::from(TRAIN));
            assert!(train.iter().all(|it| it.to_bytes().len() == LONGEST));
            assert_eq!(train[3], LinkMessage::Train { number, place: 3 });
            assert!(trains.next(now).is_empty());
            trains.answered(number + 1, 5);
            trains.answered(number, kilobits);
            trains.answered(number, 7);
        }
        assert_eq!(trains.capacity(), Some(900));
    }

    proptest! {
        #[test]
        fn whatever_comes(messages in prop::collection::vec((0u32..3, any::<u8>(), any::<u64>()), 0..200)) {
            let mut trains = Trains::default();
            for (number, place, at) in messages {
                trains.came(number, place, Duration::from_nanos(at));
            }
        }
    }
}
