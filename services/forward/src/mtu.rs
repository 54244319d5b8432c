//! MTU discovery for links and paths, with probe packets that are answered (RFC 8899: the search of section
//! 5.3). Pure: it has no clock and no socket.
//!
//! There is no other source: WireGuard's own packets may be fragmented by the underlay, and a router drops
//! fragments.

use std::time::{Duration, Instant};

/// The overhead of IPv4, UDP and WireGuard, for a link and for a path (20 + 8 + 32).
const WIREGUARD: u16 = 60;

/// The overhead of a path within a link: MPLS in IP (20), a label (4), and WireGuard.
const PATH: u16 = 24 + WIREGUARD;

/// The MTU of a plain link: Ethernet.
pub const PLAIN: u16 = 1500;

/// The maximum MTU of a link within WireGuard.
pub const LINK: u16 = PLAIN - WIREGUARD;

/// The maximum MTU of a path.
pub const LONGEST_OF_PATH: u16 = LINK - PATH;

/// The minimum MTU of IPv6 (RFC 8200, section 5): each link that is up supports it.
pub const MIN_OF_PATH: u16 = 1280;

/// The probed sizes of a link, for an underlay MTU of 1500 (Ethernet), 1492 (PPPoE, RFC 2516), 1480 and 1460
/// (IPv4 within IPv6, RFC 2473), 1450, 1440, and 1424, the minimum for paths.
const OF_LINK: [u16; 7] = [LINK, 1432, 1420, 1400, 1390, 1380, MIN_OF_PATH + PATH];

/// The probed sizes of a path. WireGuard pads packets below the device's MTU to a multiple of 16, so these are
/// a selection.
const OF_PATH: [u16; 7] = [LONGEST_OF_PATH, 1344, 1328, 1312, 1304, 1296, MIN_OF_PATH];

/// Why a link carries no paths.
pub const NARROW: &str = "packets of 1424 bytes do not pass between the two nodes, which paths need: see the MTU of the uplink";

/// A size that always passes: a neighbour that does not answer it, such as one with an older version, answers
/// no probes.
const SHORT: u16 = 128;

/// A size fails after this many unanswered rounds (`MAX_PROBES`).
const ROUNDS: u32 = 3;

/// The pause between rounds while answers are missing, and otherwise (`CONFIRMATION_TIMER`).
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(30);

/// The interval at which larger sizes are tried again (`PMTU_RAISE_TIMER`), and the first delay after a change:
/// the MTU of a path follows that of its links a moment later.
const RAISE: Duration = Duration::from_secs(600);
const FIRST_RAISE: Duration = Duration::from_secs(60);

/// The MTU discovery of one link, or of one direction of a path.
#[derive(Debug)]
pub struct Discovery {
    /// The sizes, the largest first, each with the round of its last answer.
    sizes: [(u16, Option<u32>); 7],
    short: (u16, Option<u32>),
    round: u32,
    /// The number of rounds since the largest passing size was answered.
    missed: u32,
    due: Option<Instant>,
    /// Whether the last round is known to be answered.
    rests: bool,
    /// When larger sizes are tried again.
    raise: Option<Instant>,
}

impl Discovery {
    /// For a link: sizes of IPv4 packets within WireGuard.
    pub fn of_link() -> Self {
        Self::of(OF_LINK)
    }

    /// For a path: sizes of IPv6 packets within it.
    pub fn of_path() -> Self {
        Self::of(OF_PATH)
    }

    fn of(sizes: [u16; 7]) -> Self {
        let [sizes, [short, ..]] = [sizes, [SHORT; 7]].map(|it| it.map(|size| (size, None)));
        Self { sizes, short, round: 0, missed: 0, due: None, rests: false, raise: None }
    }

    /// Whether the due probes only confirm the current MTU, and can wait while the link is idle.
    pub fn may_wait(&self, now: Instant) -> bool {
        self.is_due(now) && (self.rests || self.missed > ROUNDS)
    }

    /// Probes all sizes now, because the underlay has changed.
    pub fn restart(&mut self) {
        (self.due, self.raise, self.rests, self.missed) = (None, None, false, 0);
        // Answers to earlier rounds are outdated.
        self.round += 1;
    }

    /// Pauses the probes.
    pub fn wait(&mut self, now: Instant) {
        self.due = Some(now + LATER);
    }

    /// Whether probes are due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| now >= due)
    }

    /// Whether the largest passing size was answered in the last round.
    fn is_settled(&self) -> bool {
        let found = self.sizes.iter().find(|size| self.passes(size));
        found.is_some_and(|(_, answered)| *answered == Some(self.round))
    }

    /// The sizes of the probes to send now.
    pub fn due_sizes(&mut self, now: Instant) -> Vec<u16> {
        if !self.is_due(now) {
            return vec![];
        }
        let (found, is_settled) = (self.found(), self.is_settled());
        // After each round, a moment is left for the answers.
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

    /// Handles the answer to a probe of this size.
    pub fn handle_reply(&mut self, size: u16) {
        let round = self.round;
        let mut sizes = self.sizes.iter_mut().chain([&mut self.short]);
        if let Some((_, answered)) = sizes.find(|(it, _)| *it == size) {
            *answered = Some(round);
        }
    }

    /// The largest size known to pass.
    pub fn found(&self) -> Option<u16> {
        self.sizes.iter().find(|size| self.passes(size)).map(|(size, _)| *size)
    }

    /// Whether packets pass, but none of the size that paths need.
    pub fn is_narrow(&self) -> bool {
        self.missed > ROUNDS && self.found().is_none() && self.passes(&self.short)
    }

    /// Whether a size was answered in one of the last rounds.
    fn passes(&self, (_, answered): &(u16, Option<u32>)) -> bool {
        answered.is_some_and(|round| round > 0 && round + ROUNDS > self.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Simulates an underlay with this MTU for a while. Returns the discovered MTU and the number of probes.
    fn passes(
        discovery: &mut Discovery,
        now: &mut Instant,
        longest: u16,
        seconds: u64,
    ) -> (Option<u16>, usize) {
        let mut sent = 0;
        for _ in 0..seconds {
            for size in discovery.due_sizes(*now) {
                sent += 1;
                if size <= longest {
                    discovery.handle_reply(size);
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

    /// A lower MTU is detected within two minutes, a higher one within ten.
    #[test]
    fn a_way_that_changes() {
        let (mut discovery, mut now) = (Discovery::of_link(), Instant::now());
        assert_eq!(discovery.found(), None);
        assert_eq!(passes(&mut discovery, &mut now, 1440, 3), (Some(1440), 8));
        // One probe in half a minute, and all sizes once.
        assert_eq!(passes(&mut discovery, &mut now, 1440, 297).1, 9 + 7);
        assert_eq!(passes(&mut discovery, &mut now, 1432, 40).0, Some(1432));
        assert_eq!(passes(&mut discovery, &mut now, 1440, 650).0, Some(1440));
        assert_eq!(passes(&mut discovery, &mut now, 1000, 40).0, None);
        assert!(discovery.is_narrow());
        assert_eq!(passes(&mut discovery, &mut now, 1364, 40).0, Some(1364));
        assert!(!discovery.is_narrow());
        // A known change is probed immediately.
        discovery.restart();
        assert_eq!(passes(&mut discovery, &mut now, 1440, 2).0, Some(1440));
        discovery.restart();
        assert_eq!(passes(&mut discovery, &mut now, 1380, 5).0, Some(1380));
        // A neighbour that answers nothing is unreachable or has an older version.
        assert_eq!(passes(&mut discovery, &mut now, 0, 200).0, None);
        assert!(!discovery.is_narrow());
    }

    /// An idle link is not probed once its MTU is known, or it is found dead.
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

    /// Two probes in a row of each size may be lost.
    #[test]
    fn what_is_lost_now_and_then() {
        let (mut discovery, mut now) = (Discovery::of_link(), Instant::now());
        passes(&mut discovery, &mut now, 1440, 5);
        for _ in 0..100 {
            for round in 0..3 {
                for size in discovery.due_sizes(now) {
                    if round == 0 {
                        discovery.handle_reply(size);
                    }
                }
                assert_eq!(discovery.found(), Some(1440), "{round}");
                now += LATER;
            }
        }
    }

    proptest! {
        /// With arbitrary answers, only an answered size is reported, and the number of probes is bounded.
        #[test]
        fn whatever_is_answered(answers in prop::collection::vec((any::<u16>(), 0..60u64), 1..300)) {
            let (mut discovery, mut now) = (Discovery::of_path(), Instant::now());
            let (mut all, begin, mut sent) = (vec![], now, 0);
            for (size, pause) in answers {
                let size = if size % 2 == 0 { size } else { 1280 + 16 * (size % 4) };
                discovery.handle_reply(size);
                all.push(size);
                sent += discovery.due_sizes(now).len();
                prop_assert!(discovery.found().is_none_or(|found| all.contains(&found)));
                now += Duration::from_secs(pause);
            }
            let seconds = usize::try_from((now - begin).as_secs()).unwrap();
            prop_assert!(sent <= 8 * (seconds + 1));
        }
    }
}
