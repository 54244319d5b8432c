//! The section of docs/BENCHMARKS.md on objects.

use std::fmt::Write;

use super::{BETWEEN, CONNECTIONS, CacheRuns, LARGE, Pairs, ROUNDS, SECONDS};
use crate::page::table;
use crate::sample::middle;

/// The heading by which the section is found again.
pub const TITLE: &str = "## Objects";

/// How many times as much as nginx cache is to do at least: of a large object, and of small ones.
const GOAL_WHOLE: f64 = 0.9;
const GOAL_SMALL: f64 = 0.8;

const GOAL_FETCHED: f64 = 1.0;

/// The same of a web origin's responses, beside nginx with `proxy_cache`.
const GOAL_THROUGH: f64 = 0.95;
const GOAL_THROUGH_SMALL: f64 = 0.9;

/// How much later than from the origin the first byte may come, in ms.
const GOAL_MISSED: f64 = 10.0;

/// What the process may have for all that, in MB.
const GOAL_THROUGH_PEAK: f64 = 64.0;

/// What the process may have, in MB: idle, and while it gives the large object.
const GOAL_IDLE: f64 = 16.0;
const GOAL_PEAK: f64 = 40.0;

impl CacheRuns {
    /// The section, its heading included.
    pub fn markdown(&self) -> String {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let about = ABOUT
            .replace("$processors", &processors.to_string())
            .replace("$nginx", &self.nginx)
            .replace("$seconds", &SECONDS.to_string());
        let mut page = format!("{TITLE}\n\n{about}\n");
        let _ = writeln!(page, "Medians of {} runs, in each {ROUNDS} times in turn.\n", self.runs);
        let head = ["", "cache", "beside it", "cache / this", "goal", ""];
        table(&mut page, head, self.pairs().into_iter());
        let _ = writeln!(page, "\n{MEMORY}");
        table(&mut page, ["", "MB", "goal", ""], self.memory().into_iter());
        let _ = writeln!(page, "\n{THROUGH}");
        table(&mut page, head, self.through_pairs().into_iter());
        page.push('\n');
        table(&mut page, ["", "", "goal", ""], self.through_limits().into_iter());
        page
    }

    fn through_pairs(&self) -> Vec<[String; 6]> {
        let what = format!("{} MiB, stored, MB/s", BETWEEN >> 20);
        let mut rows = vec![row(what, &self.through.whole, 1e6, GOAL_THROUGH)];
        for (pairs, connections) in self.through.small.iter().zip(CONNECTIONS) {
            let s = if connections == 1 { "" } else { "s" };
            let what = format!("16 KiB, stored, by {connections} connection{s}, requests/s");
            rows.push(row(what, pairs, 1.0, GOAL_THROUGH_SMALL));
        }
        rows
    }

    fn through_limits(&self) -> [[String; 4]; 2] {
        let limit = |what: &str, is: f64, goal: f64, unit: &str| {
            let is_met = is <= goal && !self.through.peak.is_empty();
            let is = format!("{is:.1} {unit}");
            [what.to_owned(), is, format!("≤ {goal} {unit}"), met(is_met)]
        };
        let [missed, peak] =
            [self.through.missed.excess(), middle(self.through.peak.iter().copied())];
        [
            limit(
                "first byte of what is not stored, after the origin's",
                missed * 1e3,
                GOAL_MISSED,
                "ms",
            ),
            limit("memory at most (`VmHWM`)", peak / 1e6, GOAL_THROUGH_PEAK, "MB"),
        ]
    }

    fn pairs(&self) -> Vec<[String; 6]> {
        let what = format!("{} GiB by HTTP, beside nginx, MB/s", LARGE >> 30);
        let mut rows = vec![row(what, &self.whole, 1e6, GOAL_WHOLE)];
        for (pairs, connections) in self.small.iter().zip(CONNECTIONS) {
            let s = if connections == 1 { "" } else { "s" };
            let what = format!("16 KiB by {connections} connection{s}, beside nginx, requests/s");
            rows.push(row(what, pairs, 1.0, GOAL_SMALL));
        }
        let what = format!("{} MiB from node to node, beside iroh-blobs, MB/s", BETWEEN >> 20);
        rows.push(row(what, &self.fetched, 1e6, GOAL_FETCHED));
        rows
    }

    fn memory(&self) -> [[String; 4]; 2] {
        let row = |what: String, bytes: &[f64], goal: f64| {
            let is = middle(bytes.iter().copied()) / 1e6;
            [what, format!("{is:.1}"), format!("≤ {goal}"), met(is <= goal)]
        };
        [
            row("idle".to_owned(), &self.idle, GOAL_IDLE),
            row(
                format!("at most, while it gives {} GiB by HTTP", LARGE >> 30),
                &self.peak,
                GOAL_PEAK,
            ),
        ]
    }
}

fn row(what: String, pairs: &Pairs, unit: f64, goal: f64) -> [String; 6] {
    let [cache, other] = [pairs.cache(), pairs.other()].map(|it| format!("{:.0}", it / unit));
    let ratio = pairs.ratio();
    [what, cache, other, format!("{ratio:.2} ×"), format!("≥ {goal} ×"), met(ratio >= goal)]
}

fn met(is_met: bool) -> String {
    (if is_met { "met" } else { "**missed**" }).to_owned()
}

/// What there is so far, in one line.
pub fn brief(all: &CacheRuns) -> String {
    let pairs = [all.pairs(), all.through_pairs()].concat();
    let ratios: Vec<_> = pairs.iter().map(|[.., ratio, _, _]| ratio.as_str()).collect();
    let [idle, peak] = all.memory().map(|[_, is, ..]| is);
    let [missed, through] = all.through_limits().map(|[_, is, ..]| is);
    format!("{}; {idle} MB idle, {peak} MB at most; {missed}, {through}", ratios.join(", "))
}

const ABOUT: &str = "\
```
cargo image bench --only cache
```

Objects ([cache.md](cache.md)) on this computer itself: processes of cache's own code, compiled as what ships, with all
files in memory, reached by TCP and QUIC on loopback. Whoever asks, cache and what stands beside it share its
$processors processors, so what asking takes is in each figure. Ratios are medians over pairs that were measured one
right after the other, each of the two first in every other one.

By HTTP it stands beside nginx $nginx with a worker for each processor, `sendfile` and `tcp_nopush`, which
remembers open files and writes no log. A board seals the files of objects; this computer may not be able to, so cache
is told to take them for sealed. The large object is the same file for both; the time is from the connection to the last
byte. The small one is asked for by wrk for $seconds s each time, by connections that stay; cache has it in memory
by then, and takes more connections here than the 128 (32 of one address) that ship. From node to node an object goes
into an empty store, of cache by `get`, and of iroh-blobs (the same version, with its own settings) by its `fetch`.
";

const THROUGH: &str = "\
A web origin ([origin.md](origin.md)) through a node with the unit `origin`, beside nginx with `proxy_cache`; a further server of
that nginx is the origin of both. Large and small responses are stored by then. Of 64 files of 64 KiB that nobody has asked for, each is
read once from the origin itself and once through the cache: the difference is the median, from the request to the first byte of
the body.
";

const MEMORY: &str = "\
The process (`VmRSS` and `VmHWM`), just started with these objects in its store: ten seconds after it was reached, and
then while the large one is read once.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ThroughRuns;

    #[test]
    fn each_stands_beside_its_goal() {
        let all = CacheRuns {
            runs: 1,
            nginx: "1.22".to_owned(),
            idle: vec![12e6, 14e6, 13e6],
            peak: vec![41e6],
            whole: Pairs(vec![[900e6, 1000e6], [2000e6, 1000e6], [950e6, 1000e6]]),
            small: [
                Pairs(vec![[800.0, 1000.0]]),
                Pairs(vec![[790.0, 1000.0]]),
                Pairs(vec![[3000.0, 1000.0]]),
            ],
            fetched: Pairs(vec![[90e6, 100e6]]),
            through: ThroughRuns {
                missed: Pairs(vec![[0.004, 0.001], [0.012, 0.001], [0.003, 0.001]]),
                whole: Pairs(vec![[960e6, 1000e6]]),
                small: [[800.0, 1000.0], [900.0, 1000.0], [1000.0, 1000.0]]
                    .map(|pair| Pairs(vec![pair])),
                peak: vec![65e6],
            },
        };
        let page = all.markdown();
        for line in [
            "beside nginx 1.22 with",
            "| 1 GiB by HTTP, beside nginx, MB/s | 950 | 1000 | 0.95 × | ≥ 0.9 × | met |",
            "| 16 KiB by 1 connection, beside nginx, requests/s | 800 | 1000 | 0.80 × | ≥ 0.8 × | met |",
            "| 16 KiB by 16 connections, beside nginx, requests/s | 790 | 1000 | 0.79 × | ≥ 0.8 × | **missed** |",
            "| 256 MiB from node to node, beside iroh-blobs, MB/s | 90 | 100 | 0.90 × | ≥ 1 × | **missed** |",
            "| idle | 13.0 | ≤ 16 | met |",
            "| at most, while it gives 1 GiB by HTTP | 41.0 | ≤ 40 | **missed** |",
            "| 256 MiB, stored, MB/s | 960 | 1000 | 0.96 × | ≥ 0.95 × | met |",
            "| 16 KiB, stored, by 1 connection, requests/s | 800 | 1000 | 0.80 × | ≥ 0.9 × | **missed** |",
            "| first byte of what is not stored, after the origin's | 3.0 ms | ≤ 10 ms | met |",
            "| memory at most (`VmHWM`) | 65.0 MB | ≤ 64 MB | **missed** |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(page.starts_with(TITLE) && page.ends_with("|\n") && !page.contains('$'), "{page}");
        assert_eq!(
            brief(&all),
            "0.95 ×, 0.80 ×, 0.79 ×, 3.00 ×, 0.90 ×, 0.96 ×, 0.80 ×, 0.90 ×, 1.00 ×; 13.0 MB idle, 41.0 MB at most; \
             3.0 ms, 65.0 MB"
        );
        // Nothing was measured, and no goal is met.
        assert!(!CacheRuns::default().markdown().contains("| met |"));
    }
}
