//! Measures the capacity of a link from the dispersion of packet trains.
//!
//! A link that is slower than its sender spreads the messages of a train. The receiver divides the bits of all
//! messages but the first by the time between the first and the last, and reports the result to the sender,
//! which cannot measure it itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::control::{LONGEST, LinkMessage};

/// The number of messages in a train: 41 kB, a third of a second at 1 Mbit/s.
pub const TRAIN: u8 = 32;

/// The minimum number of messages that must arrive, the last among them. With fewer, the gaps say too little.
const MIN_MESSAGES: u32 = 16;

/// The pause between trains, and before the first train once a link is up.
const INTERVAL: Duration = Duration::from_secs(60);
const FIRST_DELAY: Duration = Duration::from_secs(3);

/// The number of recent results that the median covers.
const WINDOW: usize = 5;

/// The size of one message on the link, in bits, with the headers of UDP (8) and IPv4 (20).
const BITS: u64 = 8 * (LONGEST as u64 + 28);

/// Measures a link's capacity in both directions. The transmit capacity is announced; the receive capacity is
/// reported to the neighbour.
#[derive(Debug, Default)]
pub struct Trains {
    /// When the next train is due.
    due: Option<Instant>,
    number: u32,
    /// Whether the last train was answered.
    is_answered: bool,
    /// The last results, in kbit/s.
    answers: VecDeque<u32>,
    receiving: Option<ReceivedTrain>,
}

#[derive(Debug, Clone, Copy)]
struct ReceivedTrain {
    number: u32,
    /// When the first message of the train arrived, by the kernel's clock.
    since: Duration,
    /// The position of the last received message, and how many were received.
    position: u8,
    received: u32,
}

impl Trains {
    /// The messages of the next train, if it is due. The link must be up.
    pub fn next(&mut self, now: Instant) -> Vec<LinkMessage> {
        match self.due {
            Some(due) if due <= now => {}
            Some(_) => return vec![],
            None => {
                self.due = Some(now + FIRST_DELAY);
                return vec![];
            }
        }
        self.due = Some(now + INTERVAL);
        self.number = self.number.wrapping_add(1);
        self.is_answered = false;
        (0..TRAIN).map(|position| LinkMessage::Train { number: self.number, position }).collect()
    }

    /// Handles the neighbour's result for train `number`. Only the first result for the last train counts.
    pub fn handle_result(&mut self, number: u32, kilobits: u32) {
        if number != self.number || self.is_answered || self.due.is_none() {
            return;
        }
        self.is_answered = true;
        if self.answers.len() == WINDOW {
            self.answers.pop_front();
        }
        self.answers.push_back(kilobits);
    }

    /// The capacity towards the neighbour in kbit/s: the median of the last results.
    pub fn capacity(&self) -> Option<u32> {
        let mut answers: Vec<_> = self.answers.iter().copied().collect();
        answers.sort_unstable();
        answers.get(answers.len() / 2).copied()
    }

    /// Handles a message of a train that was received at `at`, by the kernel's clock. Returns the rate in
    /// kbit/s once the last message and enough others were received. Messages are received in order or lost;
    /// one out of order starts a new measurement.
    pub fn receive(&mut self, number: u32, position: u8, at: Duration) -> Option<u32> {
        let coming = match self.receiving {
            Some(it) if it.number == number && it.position < position => {
                ReceivedTrain { position, received: it.received.saturating_add(1), ..it }
            }
            _ => ReceivedTrain { number, since: at, position, received: 1 },
        };
        self.receiving = (position < TRAIN - 1).then_some(coming);
        if self.receiving.is_some() || coming.received < MIN_MESSAGES {
            return None;
        }
        // The interval is useless if the clock was set back or has not advanced.
        let took = u64::try_from(at.checked_sub(coming.since)?.as_micros()).ok()?;
        let bits = u64::from(coming.received - 1) * BITS;
        let kilobits = (bits * 1000).checked_div(took)?;
        Some(u32::try_from(kilobits).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The result of a train whose messages arrive at intervals of `each`, except the lost ones.
    fn came(trains: &mut Trains, number: u32, each: Duration, lost: &[u8]) -> Option<u32> {
        let begins = Duration::from_secs(1_795_000_000);
        let places = (0..TRAIN).filter(|place| !lost.contains(place));
        let all: Vec<_> = places
            .map(|place| trains.receive(number, place, begins + each * place.into()))
            .collect();
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
        // With half of the messages lost, the measured rate is halved.
        let half: Vec<_> = (1..TRAIN - 1).step_by(2).collect();
        assert_eq!(came(&mut trains, 8, each, &half), Some(5_400));
        // Too few messages, or no last message, give no result, and do not affect the next train.
        assert_eq!(came(&mut trains, 9, each, &(1..20).collect::<Vec<_>>()), None);
        assert_eq!(came(&mut trains, 10, each, &[TRAIN - 1]), None);
        assert_eq!(came(&mut trains, 11, each, &[]), Some(10_464));
        assert_eq!(came(&mut trains, 12, Duration::ZERO, &[]), None);
    }

    #[test]
    fn one_answer_to_each_counts() {
        let (mut trains, begin) = (Trains::default(), Instant::now());
        trains.handle_result(0, 1);
        assert_eq!(trains.capacity(), None);
        let mut now = begin;
        for (number, kilobits) in [(1, 900), (2, 100), (3, 1000)] {
            assert!(trains.next(now).is_empty());
            now += if number == 1 { FIRST_DELAY } else { INTERVAL };
            let train = trains.next(now);
            assert_eq!(train.len(), usize::from(TRAIN));
            assert!(train.iter().all(|it| it.to_bytes().len() == LONGEST));
            assert_eq!(train[3], LinkMessage::Train { number, position: 3 });
            assert!(trains.next(now).is_empty());
            trains.handle_result(number + 1, 5);
            trains.handle_result(number, kilobits);
            trains.handle_result(number, 7);
        }
        assert_eq!(trains.capacity(), Some(900));
    }

    proptest! {
        #[test]
        fn whatever_comes(messages in prop::collection::vec((0u32..3, any::<u8>(), any::<u64>()), 0..200)) {
            let mut trains = Trains::default();
            for (number, place, at) in messages {
                trains.receive(number, place, Duration::from_nanos(at));
            }
        }
    }
}
