//! Replay protection and rate limits of set-ups.

use std::collections::BTreeMap;

use octet_node::limits::{Rate, RateLimiter};

use super::LinkNumber;

/// The maximum number of remembered set-ups: a minute's at a thousand a second.
const MAX_REPLAYS: usize = 65_536;

/// Set-ups that could be replayed, with the second after which they are too old in any case.
#[derive(Debug, Default)]
pub struct Replays(BTreeMap<[u8; 16], u64>);

impl Replays {
    /// Whether the set-up is new; `false` also if there is no room to remember it.
    pub fn is_first(&mut self, replay: [u8; 16], until: u64) -> bool {
        if self.0.contains_key(&replay) || self.0.len() >= MAX_REPLAYS {
            return false;
        }
        self.0.insert(replay, until).is_none()
    }

    pub fn expire(&mut self, now: u64) {
        self.0.retain(|_, until| *until > now);
    }
}

/// The maximum number of set-ups per neighbour and second, because each costs cryptographic work.
const SET_UPS: Rate = Rate::per_second(64);

/// The maximum number of path changes per neighbour and second, because each writes a file in tmpfs. The
/// refreshes of all paths that one neighbour may have are about ten per second.
const CHANGES: Rate = Rate::per_second(256);

/// The maximum number of remembered neighbours; a node has fewer links.
const MAX_NEIGHBOURS: usize = 1024;

/// The rate limits of each neighbour's messages.
#[derive(Debug)]
pub struct NeighbourRates {
    pub set_ups: RateLimiter<LinkNumber>,
    pub changes: RateLimiter<LinkNumber>,
}

impl Default for NeighbourRates {
    fn default() -> Self {
        let [set_ups, changes] =
            [SET_UPS, CHANGES].map(|rate| RateLimiter::new(rate, MAX_NEIGHBOURS));
        Self { set_ups, changes }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_counts_once_and_is_forgotten_when_it_is_too_old() {
        let mut replays = Replays::default();
        assert!(replays.is_first([1; 16], 100));
        assert!(replays.is_first([2; 16], 200));
        assert!(!replays.is_first([1; 16], 100));
        replays.expire(100);
        assert!(replays.is_first([1; 16], 300));
        assert!(!replays.is_first([2; 16], 200));
    }

    #[test]
    fn one_neighbour_takes_nothing_from_another() {
        let mut rates = NeighbourRates::default().set_ups;
        let mut allowed = |link, now| {
            let now = Duration::from_secs(now);
            (0..1000).filter(|_| rates.allows(LinkNumber(link), now)).count()
        };
        assert_eq!([allowed(1, 5), allowed(2, 5), allowed(1, 6)], [64; 3]);
    }

    #[test]
    fn without_room_none_is_taken() {
        let mut replays = Replays::default();
        for number in 0..MAX_REPLAYS as u128 {
            assert!(replays.is_first(number.to_be_bytes(), 10));
        }
        assert!(!replays.is_first([0xff; 16], 10));
    }
}
