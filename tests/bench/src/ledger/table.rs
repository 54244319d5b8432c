//! The section of docs/BENCHMARKS.md on a ledger.

use std::fmt::Write;

use super::{ACCOUNTS, CLAIMS, DAY, DEAD, IDLE, LOAD, LedgerRuns, of};
use crate::page::{BenchGoal, goals, table};

/// The heading by which the section is found again.
pub const TITLE: &str = "## Ledger";

/// A second.
const GOAL_CLAIMS: f64 = 500.0;

/// In seconds.
const GOAL_DECISION: f64 = 0.2;
const GOAL_GAP: f64 = 6.0;

/// In MB.
const GOAL_MEMORY: f64 = 40.0;

/// Of a core.
const GOAL_IDLE: f64 = 0.02;

impl LedgerRuns {
    /// The section, its heading included.
    pub fn markdown(&self) -> String {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut about = ABOUT.to_owned();
        for (name, value) in [
            ("$processors", processors),
            ("$accounts", ACCOUNTS),
            ("$claims", CLAIMS),
            ("$load", LOAD as usize),
            ("$idle", IDLE as usize),
            ("$dead", DEAD as usize),
            ("$day", DAY as usize),
        ] {
            about = about.replace(name, &value.to_string());
        }
        let mut page = format!("{TITLE}\n\n{about}\n");
        let s = if self.runs == 1 { "" } else { "s" };
        let _ = writeln!(page, "Of {} run{s}; medians where nothing else is said.\n", self.runs);
        goals(&mut page, &self.goals());
        page.push('\n');
        table(&mut page, ["besides", ""], self.others().into_iter());
        page
    }

    fn goals(&self) -> [BenchGoal; 5] {
        let at_least = |what: String, is: f64, goal: f64| BenchGoal {
            what,
            is: format!("{is:.0}"),
            must: format!("≥ {goal}"),
            met: is >= goal,
        };
        let at_most = |what: &str, shown: String, must: String, met: bool| BenchGoal {
            what: what.to_owned(),
            is: shown,
            must,
            met,
        };
        let (claims, decision) = (of(&self.claims), self.decisions.at(0.99));
        let (_, gap) = self.gap.range();
        let (memory, idle) = (of(&self.peak) / 1e6, of(&self.idle));
        [
            at_least(format!("claims decided in a second, of {CLAIMS}"), claims, GOAL_CLAIMS),
            at_most(
                "from the proposal of a block until it is on all four disks, p99, ms",
                format!("{:.0}", decision * 1e3),
                format!("≤ {:.0}", GOAL_DECISION * 1e3),
                decision > 0.0 && decision <= GOAL_DECISION,
            ),
            at_most(
                "one killed: the longest time without a block beyond the spacing, of all runs, s",
                format!("{gap:.1}"),
                format!("≤ {GOAL_GAP}"),
                gap > 0.0 && gap <= GOAL_GAP,
            ),
            at_most(
                "memory of a validator, the most that was resident, MB",
                format!("{memory:.1}"),
                format!("≤ {GOAL_MEMORY}"),
                memory <= GOAL_MEMORY,
            ),
            at_most(
                "a validator while nothing happens, of a core, %",
                format!("{:.2}", idle * 100.0),
                format!("≤ {:.0}", GOAL_IDLE * 100.0),
                idle <= GOAL_IDLE,
            ),
        ]
    }

    fn others(&self) -> [[String; 2]; 7] {
        let row = |what: &str, is: String| [what.to_owned(), is];
        let mb = |bytes: &[f64]| format!("{:.1} MB", of(bytes) / 1e6);
        [
            row("the same time, median", format!("{:.0} ms", self.decisions.median() * 1e3)),
            row("memory after the load", mb(&self.resident)),
            row("of it anonymous", mb(&self.anonymous)),
            row("written while nothing happens", format!("{:.0} bytes", of(&self.idle_written))),
            row(
                "written in a day of heights without transactions, each 10 s",
                format!("{} ({:.0} heights measured)", mb(&self.day), of(&self.heights)),
            ),
            row("receipts that a core signs in a second", format!("{:.0}", of(&self.signed))),
            row("receipts that a core verifies in a second", format!("{:.0}", of(&self.verified))),
        ]
    }
}

/// What there is so far, in one line.
pub fn brief(all: &LedgerRuns) -> String {
    let figures: Vec<_> = all.goals().into_iter().map(|goal| goal.is).collect();
    format!(
        "{} claims/s, {} ms, {} s, {} MB, {} %",
        figures[0], figures[1], figures[2], figures[3], figures[4]
    )
}

const ABOUT: &str = "\
```
cargo image bench --only ledger
```

Four validators ([ledger.md](ledger.md)) on this computer itself: processes that run the node of the unit `ledger`, compiled
as what ships, without the unit's sockets, with QUIC on loopback and their files on this computer's disk, for which they
wait (`fsync`). They and whoever submits share its $processors processors. Blocks are a second apart at least.

$accounts owners have an account, a bound key and a lock for the next one. In each of $load seconds, $claims claims are
submitted, as many to each validator. The time of a block begins when its proposer begins the height, and ends when the last of
the four has the block on its disk. Memory is that of each validator over all that (`VmHWM`), and `VmRSS` and `RssAnon`
afterwards. While nothing happens for $idle s, the time of the processor is `utime` and `stime`. Then one is killed by SIGKILL
when a transaction was just submitted, and the others go on for $dead s with a transaction in each. Bytes are `write_bytes` of
`/proc/PID/io`; those of a day are from $day s of another ledger, at the default spacing, in which a withdrawal runs.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::TimeSample;

    #[test]
    fn each_stands_beside_its_goal() {
        let all = LedgerRuns {
            runs: 1,
            claims: vec![499.0, 700.0, 690.0],
            decisions: TimeSample::from([150, 201, 120]),
            gap: TimeSample::from([3000, 5900]),
            resident: vec![15e6],
            anonymous: vec![9e6],
            peak: vec![41e6],
            idle: vec![0.021, 0.004, 0.005],
            idle_written: vec![0.0],
            day: vec![9e8],
            heights: vec![6.0],
            signed: vec![60_000.0],
            verified: vec![25_000.0],
        };
        let page = all.markdown();
        for line in [
            "700 owners have",
            "| claims decided in a second, of 700 | 690 | ≥ 500 | met |",
            "p99, ms | 201 | ≤ 200 | **missed** |",
            "of all runs, s | 5.9 | ≤ 6 | met |",
            "resident, MB | 41.0 | ≤ 40 | **missed** |",
            "of a core, % | 0.50 | ≤ 2 | met |",
            "| the same time, median | 150 ms |",
            "each 10 s | 900.0 MB (6 heights measured) |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(page.starts_with(TITLE) && page.ends_with("|\n") && !page.contains('$'), "{page}");
        // Nothing was measured, and no goal is met.
        assert!(!LedgerRuns::default().markdown().contains("| met |"));
    }
}
