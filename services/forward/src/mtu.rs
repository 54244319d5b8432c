//! How long packets may be that pass a link or a path, found out by packets of this length that are answered (RFC 8899:
//! the search of section 5.3). No clock and no socket in here.
//!
//! Nothing else tells: WireGuard's own packets may be fragmented on their way, and a router drops fragments.

use std::time::{Duration, Instant};

/// IPv4, UDP and WireGuard, of a link and of a path (20 + 8 + 32).
const WIREGUARD: u16 = 60;

/// What a packet within a path has around it within the link: MPLS in IP (20), a label (4), and WireGuard.
const PATH: u16 = 24 + WIREGUARD;

/// The longest packet of a plain link: Ethernet.
pub const PLAIN: u16 = 1500;

/// The longest packet of another link, within WireGuard.
pub const LINK: u16 = PLAIN - WIREGUARD;

/// The longest packet of a path.
pub const LONGEST_OF_PATH: u16 = LINK - PATH;

/// One that passes each link that is up: what IPv6 takes for granted (RFC 8200, section 5).
pub const MIN_OF_PATH: u16 = 1280;

/// Lengths that are tried at a link: where the way between the two nodes takes 1500 bytes (Ethernet), 1492 (PPPoE,
/// RFC 2516), 1480 and 1460 (IPv4 within IPv6, RFC 2473), 1450, 1440, and what a path needs at least, 1424.
const OF_LINK: [u16; 7] = [LINK, 1432, 1420, 1400, 1390, 1380, MIN_OF_PATH + PATH];

/// Lengths that are tried at a path. WireGuard fills up what is shorter than the device's MTU to a multiple of 16, so these
/// are some.
const OF_PATH: [u16; 7] = [LONGEST_OF_PATH, 1344, 1328, 1312, 1304, 1296, MIN_OF_PATH];

/// Why a link carries no paths.
pub const NARROW: &str = "packets of 1424 bytes do not pass between the two nodes, which paths need: see the MTU of the uplink";

/// A length that passes everywhere: who does not answer this one answers none, as older versions do not.
const SHORT: u16 = 128;

/// An answer is missed after so many rounds (`MAX_PROBES`).
const ROUNDS: u32 = 3;

/// The pause between two rounds while something is missed, and else (`CONFIRMATION_TIMER`).
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(30);

/// How often it is tried whether longer ones pass by now (`PMTU_RAISE_TIMER`); and when first after a change: what a path
/// takes follows a moment after what its links take.
const RAISE: Duration = Duration::from_secs(600);
const FIRST_RAISE: Duration = Duration::from_secs(60);

/// What is found out about one link, or one direction of a path.
#[derive(Debug)]
pub struct Discovery {
    /// The lengths, the longest first, each with the round in which it was answered last.
    sizes: [(u16, Option<u32>); 7],
    short: (u16, Option<u32>),
    round: u32,
    /// Rounds since the longest that is known to pass was answered.
    missed: u32,
    due: Option<Instant>,
    /// Whether it was seen that the last round was answered.
    rests: bool,
    /// When longer ones are tried again.
    raise: Option<Instant>,
}

impl Discovery {
    /// Of a link: lengths of IPv4 packets within WireGuard.
    pub fn of_link() -> Self {
        Self::of(OF_LINK)
    }

    /// Of a path: lengths of IPv6 packets within it.
    pub fn of_path() -> Self {
        Self::of(OF_PATH)
    }

    fn of(sizes: [u16; 7]) -> Self {
        let [sizes, [short, ..]] = [sizes, [SHORT; 7]].map(|it| it.map(|size| (size, None)));
        Self { sizes, short, round: 0, missed: 0, due: None, rests: false, raise: None }
    }

    /// Whether packets are to be sent now, and only to see that nothing has changed: nobody needs that who sends nothing
    /// else.
    pub fn may_wait(&self, now: Instant) -> bool {
        self.is_due(now) && (self.rests || self.missed > ROUNDS)
    }

    /// Something has changed on the way: all lengths are tried now.
    pub fn again(&mut self) {
        (self.due, self.raise, self.rests, self.missed) = (None, None, false, 0);
        // The answers to the last round say nothing of what is so now.
        self.round += 1;
    }

    /// Nothing is sent for a while.
    pub fn wait(&mut self, now: Instant) {
        self.due = Some(now + LATER);
    }

    /// Whether there is something to be done now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| now >= due)
    }

    /// Whether the longest that passes was answered in the last round.
    fn is_settled(&self) -> bool {
        let found = self.sizes.iter().find(|size| self.passes(size));
        found.is_some_and(|(_, answered)| *answered == Some(self.round))
    }

    /// The lengths of the packets that are to be sent now.
    pub fn next(&mut self, now: Instant) -> Vec<u16> {
        if !self.is_due(now) {
            return vec![];
        }
        let (found, is_settled) = (self.found(), self.is_settled());
        // A moment after each round it is seen whether it was answered.
        self.rests = is_settled && !self.rests;
        if self.rests {
            (self.missed, self.due) = (0, Some(now + LATER));
            return vec![];
        }
        self.missed = if is_settled { 0 } else { self.missed + 1 };
        self.due = Some(now + if self.missed <= ROUNDS { SOON } else { LATER });
        self.round += 1;
        let raises = !is_settled || self.raise.is_none_or(|raise| now >= raise);
        if raises {
            self.raise = Some(now + if is_settled { RAISE } else { FIRST_RAISE });
        }
        let sizes = self.sizes.iter().chain([&self.short]).map(|(size, _)| *size);
        sizes.filter(|size| raises || found == Some(*size)).collect()
    }

    /// One of this length has come to the other end.
    pub fn answered(&mut self, size: u16) {
        let round = self.round;
        let mut sizes = self.sizes.iter_mut().chain([&mut self.short]);
        if let Some((_, answered)) = sizes.find(|(it, _)| *it == size) {
            *answered = Some(round);
        }
    }

    /// The longest that passes, as far as is known.
    pub fn found(&self) -> Option<u16> {
        self.sizes.iter().find(|size| self.passes(size)).map(|(size, _)| *size)
    }

    /// Whether packets pass, and not even the shortest of those that paths need.
    pub fn is_narrow(&self) -> bool {
        self.missed > ROUNDS && self.found().is_none() && self.passes(&self.short)
    }

    /// Whether it was answered in one of the last rounds.
    fn passes(&self, (_, answered): &(u16, Option<u32>)) -> bool {
        answered.is_some_and(|round| round > 0 && round + ROUNDS > self.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A way that takes packets of up to some length, for a while. Returns what was found, and how many were sent.
    fn passes(
        discovery: &mut Discovery,
        now: &mut Instant,
        longest: u16,
        seconds: u64,
    ) -> (Option<u16>, usize) {
        let mut sent = 0;
        for _ in 0..seconds {
            for size in discovery.next(*now) {
                sent += 1;
                if size <= longest {
                    discovery.answered(size);
                }
            }
            *now += Duration::from_secs(1);
        }
        (discovery.found(), sent)
    }

    #[test]
    fn sizes_of_links_and_paths() {
        assert_eq!((LINK, LONGEST_OF_PATH), (1440, 1356));
        let mut now = Instant::now();
        for (uplink, link, path) in [
            (1500, Some(1440), Some(1356)),
            (1492, Some(1432), Some(1344)),
            (1430, Some(1364), Some(1280)),
            (1424, Some(1364), Some(1280)),
            (1423, None, None),
        ] {
            let (mut of_link, mut of_path) = (Discovery::of_link(), Discovery::of_path());
            assert_eq!(passes(&mut of_link, &mut now, uplink - 60, 10).0, link);
            assert_eq!(passes(&mut of_path, &mut now, uplink - 144, 10).0, path);
            assert_eq!([&of_link, &of_path].map(Discovery::is_narrow), [link.is_none(); 2]);
        }
    }

    /// A way that changes is noticed: a shorter one within two minutes, a longer one within ten.
    #[test]
    fn a_way_that_changes() {
        let (mut discovery, mut now) = (Discovery::of_link(), Instant::now());
        assert_eq!(discovery.found(), None);
        assert_eq!(passes(&mut discovery, &mut now, 1440, 3), (Some(1440), 8));
        // One in half a minute, and all of them once more.
        assert_eq!(passes(&mut discovery, &mut now, 1440, 297).1, 9 + 7);
        assert_eq!(passes(&mut discovery, &mut now, 1432, 40).0, Some(1432));
        assert_eq!(passes(&mut discovery, &mut now, 1440, 650).0, Some(1440));
        assert_eq!(passes(&mut discovery, &mut now, 1000, 40).0, None);
        assert!(discovery.is_narrow());
        assert_eq!(passes(&mut discovery, &mut now, 1364, 40).0, Some(1364));
        assert!(!discovery.is_narrow());
        // Who knows that it has changed need not wait.
        discovery.again();
        assert_eq!(passes(&mut discovery, &mut now, 1440, 2).0, Some(1440));
        discovery.again();
        assert_eq!(passes(&mut discovery, &mut now, 1380, 5).0, Some(1380));
        // Whoever answers nothing is of an older version, or is not there.
        assert_eq!(passes(&mut discovery, &mut now, 0, 200).0, None);
        assert!(!discovery.is_narrow());
    }

    /// What nobody uses is silent once it is known, or found to be dead.
    #[test]
    fn nothing_is_sent_for_nobody() {
        for (longest, rounds) in [(1440, 1), (0, 4)] {
            let (mut discovery, mut now, mut sent) = (Discovery::of_link(), Instant::now(), 0);
            for _ in 0..1000 {
                match discovery.may_wait(now) {
                    true => discovery.wait(now),
                    false => sent += passes(&mut discovery, &mut now.clone(), longest, 1).1,
                }
                now += SOON;
            }
            assert_eq!(sent, rounds * (OF_LINK.len() + 1), "{longest}");
        }
    }

    /// Of each length two packets in a row may be lost.
    #[test]
    fn what_is_lost_now_and_then() {
        let (mut discovery, mut now) = (Discovery::of_link(), Instant::now());
        passes(&mut discovery, &mut now, 1440, 5);
        for _ in 0..100 {
            for round in 0..3 {
                for size in discovery.next(now) {
                    if round == 0 {
                        discovery.answered(size);
                    }
                }
                assert_eq!(discovery.found(), Some(1440), "{round}");
                now += LATER;
            }
        }
    }

    proptest! {
        /// Whatever is answered: only a length that was, and few packets for all of it.
        #[test]
        fn whatever_is_answered(answers in prop::collection::vec((any::<u16>(), 0..60u64), 1..300)) {
            let (mut discovery, mut now) = (Discovery::of_path(), Instant::now());
            let (mut all, begin, mut sent) = (vec![], now, 0);
            for (size, pause) in answers {
                let size = if size % 2 == 0 { size } else { 1280 + 16 * (size % 4) };
                discovery.answered(size);
                all.push(size);
                sent += discovery.next(now).len();
                prop_assert!(discovery.found().is_none_or(|found| all.contains(&found)));
                now += Duration::from_secs(pause);
            }
            let seconds = usize::try_from((now - begin).as_secs()).unwrap();
            prop_assert!(sent <= 8 * (seconds + 1));
        }
    }
}
