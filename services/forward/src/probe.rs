//! Measures the latency and loss of links, and detects dead neighbours.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::announcement::AnnouncedLink;
use octet_node::address::NodeAddress;

/// The number of the first probe: the sender has seen no answer yet.
pub const FIRST: u32 = 1;

/// The number of recent probes that count.
const WINDOW: usize = 32;

/// The neighbour counts as dead after this many unanswered probes.
const SILENCE: usize = 3;

#[derive(Debug, Default)]
pub struct Probes {
    last: u32,
    /// The recent probes, with their answers' times.
    sent: VecDeque<(u32, Instant, Option<Duration>)>,
}

/// The measured quality of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    pub is_up: bool,
    /// The median of the round-trip times.
    pub round_trip: Option<Duration>,
    /// The numbers of lost probes, and of probes.
    pub lost: (usize, usize),
}

impl Quality {
    /// The announcement of a link to `neighbour` with this capacity in kbit/s; 0: unknown.
    pub fn announcement(&self, neighbour: NodeAddress, capacity: u32) -> AnnouncedLink {
        let tenths = self.round_trip.map_or(0, |it| it.as_micros() / 200);
        let (lost, of) = self.lost;
        AnnouncedLink {
            neighbour,
            capacity,
            latency: u16::try_from(tenths).unwrap_or(u16::MAX),
            loss: u8::try_from(lost * 255 / of.max(1)).unwrap_or(u8::MAX),
        }
    }
}

impl Probes {
    /// The number of the next probe, which is sent now.
    pub fn next(&mut self, now: Instant) -> u32 {
        self.last = self.last.wrapping_add(1);
        if self.sent.len() == WINDOW {
            self.sent.pop_front();
        }
        self.sent.push_back((self.last, now, None));
        self.last
    }

    /// Handles the answer to probe `number`.
    pub fn handle_reply(&mut self, number: u32, now: Instant) {
        let found = self.sent.iter_mut().find(|(it, ..)| *it == number);
        if let Some((_, sent, answered @ None)) = found {
            *answered = Some(now.saturating_duration_since(*sent));
        }
    }

    /// Whether the neighbour counts as dead: three times the maximum number of probes in flight are unanswered.
    pub fn is_silent(&self, interval: Duration) -> bool {
        let trip = self.quality().round_trip.unwrap_or_default();
        let under_way = trip.as_micros() / interval.as_micros().max(1);
        let judged = SILENCE + 1 + 3 * usize::try_from(under_way).unwrap_or(WINDOW);
        let judged = judged.min(WINDOW);
        let recent = self.sent.iter().rev().take(judged);
        self.sent.len() >= judged && recent.clone().all(|(.., answered)| answered.is_none())
    }

    /// The quality of the link. The last probe does not count yet: its answer may be in flight.
    pub fn quality(&self) -> Quality {
        let judged = self.sent.len().saturating_sub(1);
        let answered = self.sent.iter().filter(|(.., answered)| answered.is_some());
        let recent = self.sent.iter().rev().take(SILENCE + 1);
        let mut trips: Vec<_> = answered.clone().filter_map(|(.., trip)| *trip).collect();
        trips.sort_unstable();
        let missing =
            self.sent.iter().take(judged).filter(|(.., answered)| answered.is_none()).count();
        Quality {
            is_up: recent.clone().any(|(.., answered)| answered.is_some()),
            round_trip: trips.get(trips.len() / 2).copied(),
            lost: (missing, judged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_as_long_as_it_answers() {
        let (mut probes, start) = (Probes::default(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(!probes.quality().is_up);
        for round in 0..10 {
            let number = probes.next(at(round * 1000));
            probes.handle_reply(number, at(round * 1000 + 5));
            // A duplicate answer, or one to an unknown probe, is ignored.
            probes.handle_reply(number, at(round * 1000 + 500));
            probes.handle_reply(number + 7, at(round * 1000 + 500));
        }
        let quality = probes.quality();
        assert_eq!(
            quality,
            Quality { is_up: true, round_trip: Some(Duration::from_millis(5)), lost: (0, 9) }
        );
        for round in 10..14 {
            assert!(probes.quality().is_up, "{round}");
            probes.next(at(round * 1000));
        }
        assert!(!probes.quality().is_up);
        assert_eq!(probes.quality().lost, (3, 13));
    }
}
