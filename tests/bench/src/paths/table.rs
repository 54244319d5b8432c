//! The section of docs/BENCHMARKS.md on paths.

use std::fmt::Write;

use octet_machine::has_kvm;

use super::chain::ROUNDS;
use super::many::{PATHS, SOME};
use super::site::BOARDS;
use super::{CarriedBytes, PathRuns, WAYS, failover, set_up};
use crate::page::table;
use crate::sample::{TimeSample, middle};

/// The heading by which the section is found again.
pub const TITLE: &str = "## Paths";

/// Places in [`WAYS`].
const PLAIN: usize = 0;
const WIREGUARD: usize = 1;
const LABELS_PLAIN: usize = 2;
const LABELS_WIREGUARD: usize = 3;
const PATH_PLAIN: usize = 4;
const PATH_WIREGUARD: usize = 5;
const YGGDRASIL: usize = 6;

/// Which way is to be at least how many times as fast as which other one.
const LIMITS: [(usize, usize, f64); 4] = [
    (LABELS_PLAIN, PLAIN, 0.95),
    (LABELS_WIREGUARD, WIREGUARD, 0.95),
    (PATH_WIREGUARD, WIREGUARD, 0.78),
    (PATH_PLAIN, YGGDRASIL, 1.0),
];

/// In how many seconds a path over four hops is to stand.
const SET_UP_LIMIT: f64 = 0.150;

/// For how many seconds packets may have no way.
const GAP_LIMIT: f64 = 1.0;

const MB: f64 = 1e6;
const KIB: f64 = 1024.0;

impl CarriedBytes {
    /// Bytes in a second of this computer.
    fn rate(&self) -> f64 {
        self.bytes as f64 / self.took.as_secs_f64()
    }

    /// Seconds of a processor of this computer for a byte.
    fn cost(&self) -> f64 {
        self.used.as_secs_f64() / self.bytes as f64
    }
}

impl PathRuns {
    /// The section, its heading included.
    pub fn markdown(&self) -> String {
        let under = if has_kvm() { "KVM" } else { "TCG, which makes cryptography slow" };
        let mut page = format!("{TITLE}\n\n{ABOUT}\n");
        let _ = writeln!(page, "Under {under}. Medians of {} runs.\n", self.runs);
        table(&mut page, ["what", "measured", "goal", ""], self.goals().into_iter());
        let _ = writeln!(page, "\n{}", CARRIED.replace("$rounds", &ROUNDS.to_string()));
        let head =
            ["", "MB/s", "least", "most", "beside plain", "processor, µs/KiB", "beside plain"];
        table(&mut page, head, (0..WAYS.len()).map(|way| self.carried(way)));
        let boards = BOARDS.to_string();
        let set_ups = SET_UPS.replace("$rounds", &set_up::ROUNDS.to_string());
        let _ = writeln!(page, "\n{}", set_ups.replace("$boards", &boards));
        table(&mut page, ["", "median, ms", "least", "most"], self.set_ups().into_iter());
        let failovers = FAILOVERS.replace("$rounds", &failover::ROUNDS.to_string());
        let _ = writeln!(page, "\n{failovers}");
        table(&mut page, ["", "median, ms", "least", "most"], self.failovers().into_iter());
        let many = MANY.replace("$paths", &PATHS.to_string()).replace("$some", &SOME.to_string());
        let _ = writeln!(page, "\n{many}");
        table(&mut page, ["", ""], self.many().into_iter());
        page
    }

    fn goals(&self) -> Vec<[String; 4]> {
        let goal = |what: String, is: String, must: String, met: bool| {
            let met = if met { "met" } else { "**missed**" };
            [what, is, must, met.to_owned()]
        };
        let mut goals = vec![];
        for (way, other, limit) in LIMITS {
            let is = self.beside(way, other, CarriedBytes::rate);
            let what = format!("{}, beside {}", self.name(way), self.name(other));
            goals.push(goal(what, format!("{is:.2} ×"), format!("≥ {limit} ×"), is >= limit));
        }
        let is = self.set_ups.adds.median();
        goals.push(goal(
            "a path over 4 hops, until it is said that it stands".into(),
            format!("{:.0} ms", is * 1e3),
            format!("≤ {:.0} ms", SET_UP_LIMIT * 1e3),
            is <= SET_UP_LIMIT,
        ));
        let failovers = &self.failovers;
        for (what, of) in
            [("its cable pulled", &failovers.pulled), ("all that it says lost", &failovers.mute)]
        {
            let is = of.median();
            goals.push(goal(
                format!("a relay gone, {what}, until packets take another path"),
                format!("{is:.2} s"),
                format!("≤ {GAP_LIMIT} s"),
                is <= GAP_LIMIT,
            ));
        }
        let many = &self.many;
        let is = many.relayed.min(many.answered.into());
        goals.push(goal(
            "paths through one relay, whose ends answer".into(),
            is.to_string(),
            PATHS.to_string(),
            is >= u64::from(PATHS),
        ));
        goals
    }

    /// A way, with the version of whose it is.
    fn name(&self, way: usize) -> String {
        let what = WAYS[way].what;
        let version = self.versions[way].as_ref();
        version.map_or_else(|| what.to_owned(), |version| format!("{what} ({version})"))
    }

    /// What of one way is how many times that of another: the median over rounds, in which both were measured.
    fn beside(&self, one: usize, other: usize, of: fn(&CarriedBytes) -> f64) -> f64 {
        middle(self.rounds.iter().map(|round| of(&round[one]) / of(&round[other])))
    }

    fn carried(&self, way: usize) -> [String; 7] {
        let rates = || self.rounds.iter().map(|round| round[way].rate() / MB);
        let megabytes = |it: f64| format!("{it:.2}");
        let cost = middle(self.rounds.iter().map(|round| round[way].cost()));
        let times = |of: fn(&CarriedBytes) -> f64| format!("{:.2} ×", self.beside(way, PLAIN, of));
        [
            self.name(way),
            megabytes(middle(rates())),
            megabytes(rates().fold(f64::NAN, f64::min)),
            megabytes(rates().fold(f64::NAN, f64::max)),
            times(CarriedBytes::rate),
            format!("{:.1}", cost * KIB * 1e6),
            times(CarriedBytes::cost),
        ]
    }

    fn set_ups(&self) -> [[String; 4]; 3] {
        let all = &self.set_ups;
        [
            row("`path-add`: asked for, and it stands", &all.adds),
            row("`ping`: its other end answers", &all.pings),
            row("`status`: nobody else is asked", &all.asks),
        ]
    }

    fn failovers(&self) -> [[String; 4]; 2] {
        let all = &self.failovers;
        [row("its cable pulled", &all.pulled), row("all that it says lost, its link up", &all.mute)]
    }

    fn many(&self) -> Vec<[String; 2]> {
        let many = &self.many;
        let [first, last] = many.adds.each_ref().map(|it| format!("{:.0} ms", it.median() * 1e3));
        let [used, forward] =
            many.memory.map(|bytes| format!("{:.1} kB", bytes as f64 / f64::from(PATHS) / 1e3));
        let rows = [
            ("asked for", many.asked.to_string()),
            ("the relay has", many.relayed.to_string()),
            ("other ends that answer", many.answered.to_string()),
            ("`path-add`, the first ones", first),
            ("`path-add`, the last ones", last),
            ("memory of the relay, for a path", used),
            ("of that, charged to `forward`", forward),
        ];
        rows.map(|(what, is)| [what.to_owned(), is]).into()
    }
}

fn row(what: &str, it: &TimeSample) -> [String; 4] {
    let (least, most) = it.range();
    let [median, least, most] = [it.median(), least, most].map(|s| format!("{:.1}", s * 1e3));
    [what.to_owned(), median, least, most]
}

/// What the ways carry so far, in one line.
pub fn brief(all: &PathRuns) -> String {
    let goals = all.goals();
    let said = goals.iter().take(LIMITS.len()).map(|[what, is, ..]| format!("{what}: {is}"));
    let said: Vec<_> = said.collect();
    said.join("; ")
}

const ABOUT: &str = "\
```
cargo image bench --only paths
```

What `forward` makes of its kernel ([forwarding.md](forwarding.md)), beside what else could carry the same bytes as
far.
";

const CARRIED: &str = "\
Four nodes in a row, in one guest: each is a network of its own, and two network cards, joined by a hub of QEMU's,
are the wire from one to the next. So a wire has frames of 1500 bytes, as in a box. Links, labels and ends of paths are
made and counted by forward's own code, compiled as what ships; there are no rules of netd's. TCP from the first node
to the last one, by every way in turn, about 5 seconds each time, $rounds times in a run: bytes in a second of this
computer, whose processor time is what QEMU uses (/proc/PID/stat) less what the guest takes anyway, with both ends of
TCP in it. Ratios are medians over the rounds in which all were measured one right after the other.

Yggdrasil runs at all four nodes, each of which knows its neighbours, by TCP without TLS. Nebula hands on over one of
its nodes at most, so it runs at the ends, and the two between forward plainly: that is beside the path by plain
links. Both have the settings that they come with otherwise.
";

const SET_UPS: &str = "\
A router and $boards boards that run what ships, with what `appliance.toml` says. Board 1 is asked for a path to board 5
over 2, 3 and 4 (`path-add 5 --via 2,3,4 --alone`), $rounds times in a run, and drops it: from the question at its port
(virtio-serial) until it answers, by the clock of this computer. The machines share its processors, on which all hops
of a box would work at once. Beside it, in turn, the same program is asked what takes less.
";

const FAILOVERS: &str = "\
In the same box board 1 is asked for a path to board 5 over board 2. When packets take it and the one to fall back on
stands, the relay is cut off, $rounds times in a run each way: from then until board 1 says (`paths`, asked without a
pause) that packets take another path, by the clock of this computer. Whatever was under way over the relay is lost;
TCP sends it again.
";

const MANY: &str = "\
In the same box, $paths paths through board 3, one after the other: half of them from board 1 to board 4, half from
board 2 to board 5. Then each is asked for its other end (`ping`). First and last: $some each. Memory is what the relay
has less than before.
";

#[cfg(test)]
mod tests {
    use super::super::{Failovers, Many, SetUps};
    use super::*;
    use std::time::Duration;

    /// All ways as fast as the first, and at as much cost, but for those that are named.
    fn all(faster: &[(usize, f64)]) -> PathRuns {
        let round = |host: f64| {
            let mut round = [CarriedBytes::default(); WAYS.len()];
            for (way, carried) in round.iter_mut().enumerate() {
                let times = faster.iter().find(|(it, _)| *it == way).map_or(1.0, |(_, it)| *it);
                let took = Duration::from_secs_f64(host / times);
                *carried = CarriedBytes { bytes: 10_240_000, took, used: took / 2 };
            }
            round
        };
        let mut versions: [Option<String>; WAYS.len()] = Default::default();
        versions[YGGDRASIL] = Some("0.4.7-1".into());
        PathRuns {
            runs: 3,
            rounds: [2.0, 20.0, 4.0].map(round).into(),
            versions,
            set_ups: SetUps { adds: [140].into(), pings: [9].into(), asks: [7].into() },
            failovers: Failovers { pulled: [800].into(), mute: [900].into() },
            many: Many {
                asked: 1018,
                relayed: 960,
                answered: 960,
                adds: [[150].into(), [250].into()],
                memory: [7_680_000, 1_920_000],
            },
        }
    }

    #[test]
    fn everything_stands_beside_its_limit() {
        let page = all(&[(WIREGUARD, 0.5), (PATH_WIREGUARD, 0.4), (YGGDRASIL, 0.8)]).markdown();
        assert!(page.starts_with(TITLE) && page.ends_with("|\n"), "{page}");
        for row in [
            "| WireGuard from each node to the next, forwarding | 1.28 | 0.26 | 2.56 | 0.50 × | 400.0 | 2.00 × |",
            "| Yggdrasil at all four (0.4.7-1) |",
            "WireGuard from end to end, beside WireGuard from each node to the next, forwarding | 0.80 × | ≥ 0.78 × | met |",
            "beside Yggdrasil at all four (0.4.7-1) | 1.25 × | ≥ 1 × | met |",
            "| a path over 4 hops, until it is said that it stands | 140 ms | ≤ 150 ms | met |",
            "| a relay gone, all that it says lost, until packets take another path | 0.90 s | ≤ 1 s | met |",
            "| its cable pulled | 800.0 | 800.0 | 800.0 |",
            "| paths through one relay, whose ends answer | 960 | 960 | met |",
            "| `ping`: its other end answers | 9.0 | 9.0 | 9.0 |",
            "| memory of the relay, for a path | 8.0 kB |",
        ] {
            assert!(page.contains(row), "{row}\n{page}");
        }
        assert!(!page.contains("missed"), "{page}");
        // No run at all is no reason to fail.
        PathRuns::default().markdown();
    }

    #[test]
    fn a_limit_can_be_missed() {
        let mut slow = all(&[
            (LABELS_PLAIN, 0.94),
            (LABELS_WIREGUARD, 0.94),
            (PATH_WIREGUARD, 0.7),
            (PATH_PLAIN, 0.9),
        ]);
        slow.set_ups.adds = [151].into();
        slow.many.answered = 959;
        slow.failovers = Failovers { pulled: [1001].into(), mute: [1001].into() };
        assert_eq!(slow.markdown().matches("**missed**").count(), 8);
    }
}
