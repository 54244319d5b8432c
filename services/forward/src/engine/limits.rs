//! Replay protection and rate limits of set-ups.

use std::collections::BTreeMap;

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
pub const MAX_SET_UPS: u32 = 64;

/// The maximum number of path changes per neighbour and second, because each writes a file in tmpfs. The
/// refreshes of all paths that one neighbour may have are about ten per second.
pub const MAX_CHANGES: u32 = 256;

/// The number of messages per neighbour in the current second; at most `MAX` are processed.
#[derive(Debug, Default)]
pub struct NeighbourRates<const MAX: u32>(BTreeMap<LinkNumber, (u64, u32)>);

impl<const MAX: u32> NeighbourRates<MAX> {
    /// Whether another message of this neighbour is processed.
    pub fn allow(&mut self, from: LinkNumber, now: u64) -> bool {
        let (second, count) = self.0.entry(from).or_insert((now, 0));
        if *second != now {
            (*second, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= MAX
    }
}

#[cfg(test)]
mod tests {
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
        let mut rates = NeighbourRates::default();
        let may = |rates: &mut NeighbourRates<MAX_SET_UPS>, link, now| {
            (0..1000).filter(|_| rates.allow(LinkNumber(link), now)).count()
        };
        assert_eq!(may(&mut rates, 1, 5), 64);
        assert_eq!(may(&mut rates, 2, 5), 64);
        assert_eq!(may(&mut rates, 1, 6), 64);
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
