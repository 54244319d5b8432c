//! The section of docs/BENCHMARKS.md on uploads.

use std::fmt::Write;

use super::{ROUND_TRIP, SIZE, Upload};
use crate::page::{BenchGoal, goals, table};
use crate::sample::middle;

/// The heading by which the section is found again.
pub const TITLE: &str = "## Uploads";

/// What goes in a second through the way that takes time, in MB.
const GOAL_DELAYED: f64 = 20.0;

/// What the gate may have: its limit, in MB.
const GOAL_GATE: f64 = 32.0;

impl Upload {
    /// The section, its heading included.
    pub fn markdown(&self) -> String {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let about = ABOUT
            .replace("$processors", &processors.to_string())
            .replace("$size", &(SIZE >> 20).to_string())
            .replace("$round_trip", &ROUND_TRIP.to_string());
        let mut page = format!("{TITLE}\n\n{about}\nMedians of {} runs.\n\n", self.delayed.len());
        let [delayed, direct, tcp, gate, cache] =
            [&self.delayed, &self.direct, &self.tcp, &self.gate, &self.cache]
                .map(|all| middle(all.iter().copied()) / 1e6);
        let goal = |what: String, is: f64, must: String, met: bool| BenchGoal {
            what,
            is: format!("{is:.1}"),
            must,
            met,
        };
        let held = [
            goal(
                format!("`cache add` at {ROUND_TRIP} ms, MB/s"),
                delayed,
                format!("≥ {GOAL_DELAYED}"),
                delayed >= GOAL_DELAYED,
            ),
            goal(
                "the gate's memory at most, MB".to_owned(),
                gate,
                format!("≤ {GOAL_GATE}"),
                gate > 0.0 && gate <= GOAL_GATE,
            ),
        ];
        goals(&mut page, &held);
        page.push('\n');
        let beside = |what: &str, is: f64| {
            [what.to_owned(), format!("{is:.1}"), format!("{:.2} ×", delayed / is)]
        };
        let rows = [
            beside("`cache add` without a delay, MB/s", direct),
            beside("TCP alone through the same proxy, MB/s", tcp),
        ];
        table(&mut page, ["beside it", "", "of this"], rows.into_iter());
        let _ = writeln!(page, "\nCache had {cache:.1} MB at most.");
        page
    }
}

/// What there is so far, in one line.
pub fn brief(all: &Upload) -> String {
    let [delayed, direct] =
        [&all.delayed, &all.direct].map(|all| middle(all.iter().copied()) / 1e6);
    format!("{delayed:.1} MB/s, without a delay {direct:.1}")
}

const ABOUT: &str = "\
```
cargo image bench --only upload
```

`octetctl cache add` of $size MiB through the gate ([control.md](control.md#files)) on this computer itself: gate, cache
and `octetctl` are processes of their own, compiled as what ships, with all files in memory, and share its $processors
processors. Between `octetctl` and the gate is a proxy that forwards each byte half of $round_trip ms after it came, with
no other bound. The time is from the start of `octetctl` to its end, with its connection and the object on the disk. With
2 MiB in flight no more than 41.9 MB/s can go through a round trip of 50 ms. When one want of 64 KiB was in flight, it was
1.2 MB/s. Beside it: the same without the proxy, and as many bytes by TCP alone through the proxy.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_beside_its_goal() {
        let all = Upload {
            delayed: vec![19e6, 30e6, 25e6],
            direct: vec![50e6],
            tcp: vec![500e6],
            gate: vec![33e6],
            cache: vec![12e6],
        };
        let page = all.markdown();
        for line in [
            "`octetctl cache add` of 256 MiB",
            "Medians of 3 runs.",
            "| `cache add` at 50 ms, MB/s | 25.0 | ≥ 20 | met |",
            "| the gate's memory at most, MB | 33.0 | ≤ 32 | **missed** |",
            "| `cache add` without a delay, MB/s | 50.0 | 0.50 × |",
            "| TCP alone through the same proxy, MB/s | 500.0 | 0.05 × |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(page.starts_with(TITLE) && !page.contains('$'), "{page}");
        assert_eq!(brief(&all), "25.0 MB/s, without a delay 50.0");
        // Nothing was measured, and no goal is met.
        assert!(!Upload::default().markdown().contains("| met |"));
    }
}
