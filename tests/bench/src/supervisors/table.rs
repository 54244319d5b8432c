//! The section of docs/BENCHMARKS.md on supervisors.

use std::fmt::Write;

use super::line::Run;
use super::{KILLS, QUIET, Supervisors, SystemRuns, UNITS};
use crate::page::table;

/// The heading by which the section is found again.
pub const TITLE: &str = "## Supervisors";

const MB: f64 = 1e6;

/// One column: its head, its value for a system, and how the value is written. Less is better in all.
type Column = (&'static str, fn(&SystemRuns, f64) -> f64, fn(f64) -> String);

/// Columns that are no goals: what PID 1 has is one peer's whole supervision and next to nothing of
/// another's, and a process costs nothing but what the other columns count.
const PROCESSES: &str = "processes";
const INIT: &str = "resident, PID 1, MB";

/// How many there are, and how many cells a row has with the system's name.
const COUNT: usize = 9;
const CELLS: usize = COUNT + 1;

const COLUMNS: [Column; COUNT] = [
    ("all up, s", |it, bare| it.middle(|run| run.up) - bare, |value| format!("{value:.2}")),
    ("death to replacement, ms", |it, _| it.death(0.5) * 1e3, |value| format!("{value:.1}")),
    ("the same, p99", |it, _| it.death(0.99) * 1e3, |value| format!("{value:.1}")),
    (PROCESSES, |it, _| it.middle(|run| run.processes.into()), |value| format!("{value:.0}")),
    (INIT, |it, _| it.middle(|run| run.init as f64) / MB, megabytes),
    ("resident, all, MB", |it, _| it.middle(|run| run.rss as f64) / MB, megabytes),
    ("proportional, all, MB", |it, _| it.middle(|run| run.pss as f64) / MB, megabytes),
    ("the guest, MB", |it, _| it.middle(|run| run.used as f64) / MB, |value| format!("{value:.0}")),
    ("wake-ups a minute", |it, _| it.middle(|run| run.wakeups), |value| format!("{value:.0}")),
];

fn megabytes(value: f64) -> String {
    format!("{value:.1}")
}

impl SystemRuns {
    /// The median over the runs.
    fn middle(&self, of: impl Fn(&Run) -> f64) -> f64 {
        quantile(self.runs.iter().map(of), 0.5)
    }

    /// A quantile over all deaths of all runs.
    fn death(&self, part: f64) -> f64 {
        quantile(self.runs.iter().flat_map(|run| run.deaths.iter().copied()), part)
    }
}

impl Supervisors {
    /// The section, its heading included.
    pub fn markdown(&self) -> String {
        let mut page = format!("{TITLE}\n\n{}\n", about());
        let _ = writeln!(page, "Medians of {} runs; less is better everywhere.\n", self.runs);
        let bare = quantile(self.bare.iter().copied(), 0.5);
        let values: Vec<[f64; COUNT]> =
            self.systems.iter().map(|system| COLUMNS.map(|(_, of, _)| of(system, bare))).collect();
        let row = |name: &str, cells: [String; COUNT]| {
            let mut row = [const { String::new() }; CELLS];
            row[0] = name.to_owned();
            row[1..].clone_from_slice(&cells);
            row
        };
        let mut rows: Vec<_> = self
            .systems
            .iter()
            .zip(&values)
            .map(|(system, values)| {
                row(&system.name, std::array::from_fn(|at| COLUMNS[at].2(values[at])))
            })
            .collect();
        let ratios = ratios(&values);
        rows.push(row("Octet / the best of the others", ratios.map(|it| format!("{it:.2} ×"))));
        let heads: [&str; CELLS] =
            std::array::from_fn(|at| if at == 0 { "" } else { COLUMNS[at - 1].0 });
        table(&mut page, heads, rows.into_iter());
        page.push('\n');
        table(&mut page, ["what", "measured", "goal", ""], self.goals(&ratios).into_iter());
        page
    }

    fn goals(&self, ratios: &[f64; COUNT]) -> Vec<[String; 4]> {
        let goal = |what: &str, is: String, must: &str, met: bool| {
            let met = if met { "met" } else { "**missed**" };
            [what.to_owned(), is, must.to_owned(), met.to_owned()]
        };
        let mut goals: Vec<_> = COLUMNS
            .iter()
            .zip(ratios)
            .filter(|((head, ..), _)| !matches!(*head, PROCESSES | INIT))
            .map(|((head, ..), ratio)| {
                let what = format!("{head}, beside the best of the others");
                goal(&what, format!("{ratio:.2} ×"), "≤ 1 ×", *ratio <= 1.0)
            })
            .collect();
        let size = self.init as f64 / MB;
        goals.push(goal("PID 1 as a file", format!("{size:.2} MB"), "≤ 3 MB", size <= 3.0));
        let init = self.systems.first().map_or(0.0, |it| it.middle(|run| run.init as f64) / MB);
        let what = format!("PID 1 resident, with {UNITS} units");
        goals.push(goal(&what, format!("{init:.1} MB"), "≤ 4 MB", init <= 4.0));
        goals
    }
}

/// Of each column, what the first system has beside the least that another has. Where both have
/// nothing they are alike.
fn ratios(values: &[[f64; COUNT]]) -> [f64; COUNT] {
    std::array::from_fn(|at| {
        let best = values.iter().skip(1).map(|values| values[at]).fold(f64::INFINITY, f64::min);
        match values.first().map_or(0.0, |values| values[at]) {
            own if own == best => 1.0,
            own => own / best,
        }
    })
}

/// The value below which so large a part of `values` is (nearest rank); of a median of an even
/// number, the mean of the middle two. 0 of none.
fn quantile(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = values.len() as f64 * part;
    let value = |rank: f64| {
        let rank = rank.clamp(1.0, values.len().max(1) as f64);
        values.get(rank as usize - 1).copied().unwrap_or_default()
    };
    if part == 0.5 {
        f64::midpoint(value((at).ceil()), value((at + 1.0).floor()))
    } else {
        value(at.ceil())
    }
}

/// One run in one line.
pub fn brief(run: &Run) -> String {
    format!(
        "up after {:.2} s, deaths {} of {:.1} ms, {} processes with {:.1} MB, {:.0} wake-ups a minute",
        run.up,
        run.deaths.len(),
        quantile(run.deaths.iter().copied(), 0.5) * 1e3,
        run.processes,
        run.rss as f64 / MB,
        run.wakeups,
    )
}

fn about() -> String {
    format!(
        "\
```
cargo image bench --only supervisors
```

Each is PID 1 of a guest of its own, on x86_64, with the same kernel and the same {UNITS} units: one
static program that appends its number, the time and its process to a file in memory, then waits.
One more unit, the same in all guests, measures from beside: it reads that file and /proc. The
others are Debian 12's; they start the program directly, without a shell or another script, find
their libraries by a cache, and wait as little before a restart as they can. /proc, /sys, /dev and
/run are mounted for them by a first stage of ours, and nothing else is started. Octet has its
shipped initramfs, mounts its root as always, keeps the output of each unit, and restarts without a
pause; only its list of units is another.

All up: from the kernel's start to the last unit's own record, less what the same kernel takes to
start an init that does nothing. Death: from SIGKILL to the record of the replacement, {KILLS} units one
after the other, none twice, each up for longer than the first second, in which s6 and runit would
wait before a restart; s6 does so always unless a unit has told it when it was ready, so its units do.
Resident and proportional size (shared pages divided among their users) and
wake-ups (voluntary context switches in {QUIET} s of rest) are those of PID 1 and all its helpers. The
guest: what of its 512 MiB is not available, the units included.

Where Octet is behind: each unit has a control group of its own, in which the kernel counts memory (most of
what the guest has more), and a pipe of its own for what it says, both ends of which PID 1 keeps. A
replacement is cloned into its group, told apart from one that could not be executed, and its predecessor's
group is seen to be empty first; runit's `runsv` forks once, for one service, and does none of that.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(name: &str, up: f64, deaths: &[f64], wakeups: f64) -> SystemRuns {
        let run = Run { up, deaths: deaths.to_vec(), wakeups, ..Run::default() };
        let run = Run {
            processes: 1,
            init: 2_000_000,
            rss: 2_000_000,
            pss: 1_000_000,
            used: 50_000_000,
            ..run
        };
        SystemRuns { name: name.into(), runs: vec![run] }
    }

    fn all() -> Supervisors {
        let systems = vec![
            system("Octet", 2.0, &[0.002, 0.003, 0.004], 0.0),
            system("s6", 3.0, &[0.004, 0.006, 0.008], 0.0),
            system("runit", 4.0, &[0.004, 0.009, 0.010], 12.0),
        ];
        Supervisors { runs: 1, systems, bare: vec![1.0], init: 1_500_000 }
    }

    #[test]
    fn quantiles() {
        let values = || [4.0, 1.0, 3.0, 2.0].into_iter();
        assert_eq!(quantile(values(), 0.5), 2.5);
        assert_eq!(quantile(values().take(3), 0.5), 3.0);
        assert_eq!(quantile(values(), 0.99), 4.0);
        assert_eq!(quantile((1..=200).map(f64::from), 0.99), 198.0);
        assert_eq!(quantile([].into_iter(), 0.5), 0.0);
    }

    #[test]
    fn octet_stands_beside_the_best() {
        let page = all().markdown();
        assert!(page.starts_with(TITLE));
        assert!(
            page.contains("| Octet | 1.00 | 3.0 | 4.0 | 1 | 2.0 | 2.0 | 1.0 | 50 | 0 |"),
            "{page}"
        );
        assert!(page.contains("| Octet / the best of the others | 0.50 × | 0.50 × |"), "{page}");
        assert!(page.contains("| PID 1 as a file | 1.50 MB | ≤ 3 MB | met |"), "{page}");
        assert!(!page.contains("missed"), "{page}");
        let mut late = all();
        late.systems[0].runs[0].up = 9.0;
        late.systems[0].runs[0].wakeups = 1.0;
        assert_eq!(late.markdown().matches("**missed**").count(), 2, "{}", late.markdown());
    }
}
