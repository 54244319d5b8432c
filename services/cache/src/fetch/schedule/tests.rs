//! Providers in simulated time: one is killed, one stops answering, one flips bits, one is slow.

use iroh_blobs::protocol::{ChunkRanges, ChunkRangesExt};

use super::*;
use crate::fetch::plan::missing_chunks;

/// Data is verified in such units.
const LEAF: u64 = 16 << 10;

/// How long a node may be silent.
const SILENCE: f64 = 2.0;

/// The number of requests of a node at a time.
const SLOTS: usize = 2;

const SEEDS: u64 = 240;

/// SplitMix64.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    /// Between `low` and `high`.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() % 10_000) as f64 / 10_000.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// It is gone from this time on.
    Killed(f64),
    /// It sends nothing from this time on.
    BlackHole(f64),
    /// The leaf after so many has a wrong bit.
    Flips(u64),
}

struct Request {
    piece: u64,
    leaves: Vec<u64>,
    /// When it is asked, and its first byte is on its way.
    begins: f64,
    came: usize,
}

struct Provider {
    key: PublicKey,
    /// Leaves in a second.
    rate: f64,
    round_trip: f64,
    fault: Fault,
    sent: u64,
    /// When its last leaf came, or a request began with none before it.
    heard: f64,
    requests: Vec<Request>,
    is_gone: bool,
}

impl Provider {
    fn new(number: u8, rate: f64, round_trip: f64, fault: Fault) -> Self {
        Self {
            key: PublicKey::new([number; 32]),
            rate: rate / LEAF as f64,
            round_trip,
            fault,
            sent: 0,
            heard: 0.0,
            requests: vec![],
            is_gone: false,
        }
    }

    /// When its next leaf comes, or its fault shows.
    fn next_event(&self) -> Option<f64> {
        if self.is_gone {
            return None;
        }
        let leaf = self.requests.first().map(|it| it.begins.max(self.heard) + 1.0 / self.rate);
        match self.fault {
            Fault::Killed(at) => Some(leaf.map_or(at, |leaf| leaf.min(at))),
            Fault::BlackHole(at) if leaf.is_some_and(|leaf| leaf > at) => {
                Some(self.heard.max(self.requests[0].begins - self.round_trip) + SILENCE)
            }
            _ => leaf,
        }
    }
}

struct Outcome {
    seconds: f64,
    /// The longest time without a leaf.
    stall: f64,
    asked: u64,
    /// Asked, and not received because of a fault or a piece that was given up.
    lost: u64,
    received: u64,
    leaves: u64,
    taken_over: u64,
}

fn simulate(size: u64, mut providers: Vec<Provider>) -> Outcome {
    let start = Instant::now();
    let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
    let mut schedule = FetchSchedule::new(FetchPlan::new(size, &ChunkRanges::empty()));
    let mut present = ChunkRanges::empty();
    let leaves = size.div_ceil(LEAF);
    let mut done =
        Outcome { seconds: 0.0, stall: 0.0, asked: 0, lost: 0, received: 0, leaves, taken_over: 0 };
    for provider in &providers {
        schedule.join(provider.key, GiverSpeed::default());
    }
    let (mut now, mut last_leaf) = (0.0f64, 0.0f64);
    loop {
        // Every node with a free place asks what to do.
        let mut order: Vec<usize> = (0..providers.len()).collect();
        let mut is_done = false;
        while let Some(index) = order.pop() {
            let provider = &providers[index];
            if provider.is_gone || provider.requests.len() >= SLOTS {
                continue;
            }
            match schedule.next(provider.key, at(now)) {
                NextStep::Done => is_done = true,
                NextStep::Wait(_) => {}
                NextStep::Request(piece) => {
                    let lacks = missing_chunks(piece, size, &present);
                    let first = piece * PIECE / LEAF;
                    let wanted = (first..(first + PIECE / LEAF).min(leaves)).filter(|leaf| {
                        !(&lacks & &ChunkRanges::bytes(leaf * LEAF..(leaf + 1) * LEAF)).is_empty()
                    });
                    let request = Request {
                        piece,
                        leaves: wanted.collect(),
                        begins: now + provider.round_trip,
                        came: 0,
                    };
                    done.asked += request.leaves.len() as u64;
                    let provider = &mut providers[index];
                    if provider.requests.is_empty() {
                        provider.heard = now;
                    }
                    provider.requests.push(request);
                    order.push(index);
                }
                NextStep::Stop(piece) => {
                    done.taken_over += 1;
                    for holder in &mut providers {
                        holder.requests.retain(|it| {
                            if it.piece == piece {
                                done.lost += (it.leaves.len() - it.came) as u64;
                                schedule.failed(piece);
                            }
                            it.piece != piece
                        });
                    }
                    order.push(index);
                }
            }
        }
        if is_done {
            done.seconds = now;
            return done;
        }
        let next =
            providers.iter().enumerate().filter_map(|(index, it)| Some((it.next_event()?, index)));
        let next = next.min_by(|(one, _), (other, _)| one.total_cmp(other));
        let check = now + CHECK_INTERVAL.as_secs_f64();
        let Some((time, index)) = next.filter(|(time, _)| *time <= check) else {
            now = check;
            assert!(now < 1000.0, "it never ends");
            continue;
        };
        now = time.max(now);
        let provider = &mut providers[index];
        let fails = match provider.fault {
            Fault::Killed(at) => now >= at,
            Fault::BlackHole(at) => now > at && now - provider.heard >= SILENCE - 0.001,
            Fault::Flips(after) => provider.sent >= after,
            Fault::None => false,
        };
        if fails {
            provider.is_gone = true;
            for request in provider.requests.drain(..) {
                done.lost += (request.leaves.len() - request.came) as u64;
                schedule.failed(request.piece);
            }
            schedule.leave(&provider.key);
            continue;
        }
        let Some(request) = provider.requests.first_mut() else { continue };
        provider.heard = now;
        provider.sent += 1;
        let leaf = request.leaves[request.came];
        request.came += 1;
        let bytes = LEAF.min(size - leaf * LEAF);
        let chunks = ChunkRanges::bytes(leaf * LEAF..leaf * LEAF + bytes);
        assert!((&present & &chunks).is_empty(), "leaf {leaf} has come twice");
        present |= chunks;
        done.received += 1;
        done.stall = done.stall.max(now - last_leaf);
        last_leaf = now;
        schedule.came(request.piece, bytes, at(now));
        if request.came == request.leaves.len() {
            schedule.complete(request.piece, at(now));
            provider.requests.remove(0);
        }
    }
}

/// Three providers with a fault each, and one without: all comes, what was lost is asked once more,
/// and nothing else is.
#[test]
fn faults_cost_what_was_under_way() {
    let (mut all_lost, mut all_flipped) = (0, 0);
    for seed in 0..SEEDS {
        let mut random = Seeded(seed);
        let size = (random.between(4.0, 18.0) * PIECE as f64) as u64 + random.next() % 5000;
        let rate = |random: &mut Seeded| random.between(2e6, 2e7);
        let [one, two, three, four] =
            [(); 4].map(|()| (rate(&mut random), random.between(0.001, 0.2)));
        // A bit is flipped in 100 MB, somewhere.
        let flips = random.next() % (100_000_000 / LEAF);
        all_flipped += u64::from(flips < size / LEAF / 4);
        let faults = [
            Fault::Killed(random.between(0.0, 1.0)),
            Fault::BlackHole(random.between(0.0, 1.0)),
            Fault::Flips(flips),
            Fault::None,
        ];
        let providers = [one, two, three, four].into_iter().zip(faults).zip(1..);
        let providers = providers
            .map(|(((rate, trip), fault), number)| Provider::new(number, rate, trip, fault));
        let done = simulate(size, providers.collect());
        assert_eq!(done.received, done.leaves, "seed {seed}: every leaf comes");
        assert_eq!(
            done.asked,
            done.leaves + done.lost,
            "seed {seed}: only what was lost is asked again"
        );
        assert!(done.stall <= SILENCE + 0.5, "seed {seed}: a stall of {} s", done.stall);
        all_lost += done.lost;
    }
    assert!(all_lost > 10 * SEEDS && all_flipped > 0, "{all_lost} {all_flipped}");
}

/// A slow provider that is never silent does not hold the object up.
#[test]
fn a_slow_one_loses_its_pieces() {
    let mut taken_over = 0;
    for seed in 0..SEEDS {
        let mut random = Seeded(1_000_000 + seed);
        let size = (random.between(4.0, 18.0) * PIECE as f64) as u64;
        let [fast, other] = [(); 2].map(|()| random.between(8e6, 2e7));
        let slow = random.between(2e4, 2e5);
        let rates = [(1, slow), (2, fast), (3, other)];
        let providers = rates.map(|(number, rate)| Provider::new(number, rate, 0.02, Fault::None));
        let done = simulate(size, providers.into());
        let best = size as f64 / (fast + other);
        assert!(done.seconds < 2.0 * best + 1.0, "seed {seed}: {} s of {best}", done.seconds);
        assert_eq!(done.asked, done.leaves + done.lost, "seed {seed}");
        taken_over += done.taken_over;
    }
    assert!(taken_over > SEEDS, "{taken_over}");
}

/// Providers that are about as fast keep their pieces, but for some that they have not begun.
#[test]
fn equals_keep_their_pieces() {
    let mut taken_over = 0;
    for seed in 0..SEEDS {
        let mut random = Seeded(2_000_000 + seed);
        let size = (random.between(4.0, 18.0) * PIECE as f64) as u64;
        let rates = [1, 2, 3].map(|number| (number, random.between(8e6, 1e7)));
        let providers = rates.map(|(number, rate)| Provider::new(number, rate, 0.02, Fault::None));
        let done = simulate(size, providers.into());
        assert_eq!(done.asked, done.leaves + done.lost, "seed {seed}");
        taken_over += done.taken_over;
        let best = size as f64 / rates.iter().map(|(_, rate)| rate).sum::<f64>();
        assert!(done.seconds < 2.0 * best + 0.5, "seed {seed}: {} s of {best}", done.seconds);
    }
    assert!(taken_over < SEEDS / 2, "{taken_over}");
}

#[test]
fn a_place_is_lost_to_a_much_faster_one_only() {
    let speed = |rate| GiverSpeed { first_byte: Some(0.0), rate };
    let order = |rates: &[Option<f64>]| {
        let mut givers: Vec<_> = rates.iter().copied().enumerate().collect();
        by_speed(&mut givers, |(_, rate)| speed(*rate));
        givers.into_iter().map(|(at, _)| at).collect::<Vec<_>>()
    };
    assert_eq!(order(&[Some(1e6), Some(1.4e6), Some(1.1e6)]), [0, 1, 2]);
    assert_eq!(order(&[Some(1e6), Some(1.6e6), Some(1e6)]), [1, 0, 2]);
    assert_eq!(order(&[None, Some(1e6), Some(9e6)]), [0, 2, 1]);
}
