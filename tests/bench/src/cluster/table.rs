//! The section of docs/BENCHMARKS.md on a whole box.

use std::fmt::Write;

use octet_machine::has_kvm;

use super::spread::ROUNDS;
use super::{BOARDS, ClusterRuns, MAX, RouterMemory, UNITS};
use crate::page::table;
use crate::sample::TimeSample;

/// The heading by which the section is found again.
pub const TITLE: &str = "## The box";

const MB: f64 = 1e6;

impl ClusterRuns {
    /// The section, its heading included.
    pub fn markdown(&self) -> String {
        let under = if has_kvm() { "KVM" } else { "TCG, which makes cryptography slow" };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut page = format!("{TITLE}\n\n{ABOUT}\n");
        let _ = writeln!(page, "Under {under}. Medians of {} runs, in turn.\n", self.runs);
        let _ = writeln!(page, "{}", POWER.replace("$processors", &processors.to_string()));
        let head = ["", "median, s", "least", "most", "this / the slowest board alone"];
        table(&mut page, head, self.power().into_iter());
        let _ = writeln!(page, "\n{LEASES}");
        let head =
            ["", "no lease, MB", "32 leases, MB", "a lease, kB", "may have, MB", "has of that"];
        table(&mut page, head, self.leases().into_iter());
        let bytes = self.maps.bytes.to_string();
        let maps = MAPS.replace("$bytes", &bytes).replace("$rounds", &ROUNDS.to_string());
        let _ = writeln!(page, "\n{maps}");
        table(
            &mut page,
            ["", "median, ms", "least", "most", "this / bare"],
            self.maps().into_iter(),
        );
        page
    }

    fn power(&self) -> [[String; 5]; 2] {
        let (_, slowest) = self.alone.range();
        let row = |what: String, it: &TimeSample| {
            let (least, most) = it.range();
            let seconds = |it: f64| format!("{it:.2}");
            let ratio = format!("{:.2} ×", it.median() / slowest);
            [what, seconds(it.median()), seconds(least), seconds(most), ratio]
        };
        [
            row("one board alone, until it is ready".to_owned(), &self.alone),
            row(format!("a router and {BOARDS} blank boards, until they are one box"), &self.whole),
        ]
    }

    fn leases(&self) -> Vec<[String; 6]> {
        let mut rows = vec![self.row("the whole machine", |it| it.used, 0)];
        for (at, unit) in UNITS.iter().enumerate() {
            let most = self.routers.last().map_or(0, |[_, it]| it.most[at]);
            rows.push(self.row(&format!("`{unit}`"), |it| it.units[at], most));
        }
        rows
    }

    /// What one has of `most` bytes; of as many as it likes, if that is 0.
    fn row(&self, what: &str, of: impl Fn(&RouterMemory) -> u64, most: u64) -> [String; 6] {
        let [before, after] = [0, 1].map(|at| median(self.routers.iter().map(|it| of(&it[at]))));
        let megabytes = |bytes: f64| format!("{:.2}", bytes / MB);
        let (limit, part) = match most {
            0 => ("–".to_owned(), "–".to_owned()),
            most => (megabytes(most as f64), format!("{:.0} %", 100.0 * after / most as f64)),
        };
        let each = format!("{:.1}", (after - before) / f64::from(MAX) / 1e3);
        [what.to_owned(), megabytes(before), megabytes(after), each, limit, part]
    }

    fn maps(&self) -> [[String; 5]; 2] {
        let row = |what: &str, it: &TimeSample| {
            let (least, most) = it.range();
            let [median, least, most] =
                [it.median(), least, most].map(|s| format!("{:.1}", s * 1e3));
            let ratio = format!("{:.1} ×", it.median() / self.maps.bare.median());
            [what.to_owned(), median, least, most, ratio]
        };
        [
            row("`drain`, until all 32 boards have said that they have the map", &self.maps.maps),
            row("as many bytes by 32 bare TCP connections, and an answer on each", &self.maps.bare),
        ]
    }
}

/// The middle one; of an even number, the mean of the middle two. 0 of none.
fn median(of: impl Iterator<Item = u64>) -> f64 {
    let mut all: Vec<u64> = of.collect();
    all.sort_unstable();
    let of_two = [all.len().saturating_sub(1) / 2, all.len() / 2];
    let [low, high] = of_two.map(|at| all.get(at).copied().unwrap_or_default());
    u64::midpoint(low, high) as f64
}

/// What there is so far, in one line.
pub fn brief(all: &ClusterRuns) -> String {
    let [_, [.., power]] = all.power();
    let [[.., maps], _] = all.maps();
    let lan = &all.leases()[1];
    format!(
        "{} machines {power} of the slowest board alone; lan has {} MB with {MAX} leases, {} of what it may; \
         maps {maps} of bare TCP",
        BOARDS + 1,
        lan[2],
        lan[5],
    )
}

const ABOUT: &str = "\
```
cargo image bench --only cluster
```

A router and its boards on x86_64 ([segments.md](segments.md), [cluster.md](cluster.md)), as one.
";

const POWER: &str = "\
From power-on, without disks, so that every board is blank; 256 MiB each. A box is one when each machine is
ready, each board has its number, is enrolled and has the newest map, and answers the router under its name
(`cargo image run --cluster 8`; the router is asked three times a second). All nine share $processors
processors, which the board alone has for itself: with a processor each, as in a box, there would be less
between the two. It is alone with a cable at whose other end is nobody.
";

const LEASES: &str = "\
The router of the largest box, with 2 GiB and a card for each of 32 boards, ten seconds after it was ready, and
again ten seconds after each board has asked for its address (DHCP) and got it. The boards are this program;
they ask for nothing else, so `cluster` has nobody to take in. Of a unit that stands which is charged to it, as
`status` shows it (`memory.current`): pages of files that it was the first to need and the kernel's own for it
are in it. At what it may have (`memory_max` of its unit file) the kernel takes back what it can, and then ends
the unit.
";

const MAPS: &str = "\
A box of 32 boards, on this computer itself: 33 processes of cluster's own code, compiled as what ships, that
speak TLS by loopback, verify each map and write it down (in memory: each board has a flash of its own). The time
is from the operator's `drain` or `undrain` until the coordinator shows that all have the new map, as often as it can be
asked with a pause of 1 ms; all processes share its processors.
Beside it, in turn: a program that writes as many bytes ($bytes) to each of 32 processes by TCP, and reads an
answer of each. $rounds of both in each run.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Maps;

    #[test]
    fn each_stands_beside_what_it_is_measured_by() {
        let router = |lan| RouterMemory {
            used: 100_000_000 + lan,
            units: [lan, 7_000_000, 3_000_000],
            most: [8_000_000, 64_000_000, 0],
        };
        let pair = |before, after| [router(before), router(after)];
        let all = ClusterRuns {
            runs: 3,
            alone: [4000, 3000, 5000].into(),
            whole: [20_000, 30_000, 25_000].into(),
            routers: vec![
                pair(2_000_000, 2_320_000),
                pair(1_000_000, 1_000_000),
                pair(2_000_000, 9_000_000),
            ],
            maps: Maps { bytes: 11_754, maps: [30, 40, 50].into(), bare: [2, 1, 3].into() },
        };
        let page = all.markdown();
        for line in [
            "| one board alone, until it is ready | 4.00 | 3.00 | 5.00 | 0.80 × |",
            "| a router and 8 blank boards, until they are one box | 25.00 | 20.00 | 30.00 | 5.00 × |",
            "| `lan` | 2.00 | 2.32 | 10.0 | 8.00 | 29 % |",
            "| `cluster` | 3.00 | 3.00 | 0.0 | – | – |",
            "map | 40.0 | 30.0 | 50.0 | 20.0 × |",
            "bytes (11754)",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(brief(&all).contains("5.00 ×") && !page.contains('$'));
        // Nothing was measured, and nothing is divided by nothing.
        ClusterRuns::default().markdown();
    }
}
