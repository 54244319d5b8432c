//! How long building and flashing take.

use super::flash::{self, Flashes};
use super::page::{BenchGoal, goals, row, table};
use super::rebuild::{self, Rebuilds};
use octet_image::build::Options;

/// The heading by which the section is found again.
pub const TITLE: &str = "## Building and flashing";

pub struct Building {
    pub runs: usize,
    pub rebuild: Rebuilds,
    pub flash: Flashes,
}

pub fn measure(options: &Options, runs: usize) -> miette::Result<Building> {
    eprintln!("rebuild    into an empty out/, unchanged, and with a file or a line changed");
    let rebuild = rebuild::measure(options, runs)?;
    eprintln!("flash      1 GiB, beside dd");
    let flash = flash::measure(runs)?;
    Ok(Building { runs, rebuild, flash })
}

impl Building {
    fn goals(&self) -> Vec<BenchGoal> {
        let rebuild = &self.rebuild;
        let beyond = rebuild.overlay.median() - rebuild.compression.median();
        let flash = &self.flash;
        let all = flash.dd.median() / flash.all.median();
        let little = flash.dd.median() / flash.little.median();
        let mut goals = vec![];
        for (what, seconds, limit) in [
            ("rebuild, nothing changed", rebuild.unchanged.median(), 1.0),
            ("rebuild, overlay file changed, beyond compression", beyond, 2.0),
            ("build into an empty out/, store and code warm", rebuild.cold.median(), 15.0),
            ("one line of `console` changed, to the image", rebuild.console.median(), 10.0),
            ("one line of `forward` changed, to the image", rebuild.forward.median(), 30.0),
        ] {
            goals.push(BenchGoal {
                what: what.into(),
                is: format!("{seconds:.2} s"),
                must: format!("≤ {limit} s"),
                met: seconds <= limit,
            });
        }
        for (what, ratio, limit) in [
            ("flash 1 GiB, all differs, and read back: speed beside `dd`", all, 0.9),
            ("flash 1 GiB, little differs: speed beside `dd`", little, 10.0),
        ] {
            goals.push(BenchGoal {
                what: what.into(),
                is: format!("{ratio:.2} ×"),
                must: format!("≥ {limit} ×"),
                met: ratio >= limit,
            });
        }
        goals
    }

    pub fn markdown(&self) -> String {
        let mut page = format!("{TITLE}\n\n{ABOUT}\n");
        goals(&mut page, &self.goals());
        page += &format!(
            "\nSeconds; medians of {} runs, but of a clone's first images.\n\n",
            self.runs
        );
        let (rebuild, flash) = (&self.rebuild, &self.flash);
        let rows = [
            ("build into an empty out/", &rebuild.cold),
            ("build, nothing changed", &rebuild.unchanged),
            ("build, one overlay file changed", &rebuild.overlay),
            ("of that, compression", &rebuild.compression),
            ("another clone's first image, nothing changed", &rebuild.clone),
            (
                "another clone's first image, one line changed: crates of registries copied",
                &rebuild.crates,
            ),
            ("then one line of `console` changed", &rebuild.console),
            ("and one line of `forward`", &rebuild.forward),
            ("the first image with `--quick`", &rebuild.quick),
            ("`--quick`, one line of `forward` changed", &rebuild.quick_forward),
            ("`--quick`, one line of `node`, which all services use", &rebuild.quick_node),
            ("flash 1 GiB, all differs, until all is on the medium", &flash.write),
            ("the same, and read back", &flash.all),
            ("dd of as much, bs=4M conv=fsync", &flash.dd),
            ("flash 1 GiB, 64 bytes differ, read back", &flash.little),
        ];
        let rows = rows.into_iter().map(|(what, it)| row(what, it));
        table(&mut page, ["what", "median", "least", "most"], rows);
        page
    }
}

const ABOUT: &str = "\
```
cargo image bench --only building
```

What a person waits for who changes something. The builder is compiled, and all that is fetched is there. Another clone is
a copy of this one in another folder, which takes what this one has compiled from the builder's cache.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_compared() {
        let mut building = Building {
            runs: 3,
            rebuild: Rebuilds {
                cold: [9000, 9000, 9000].into(),
                unchanged: [300, 300, 300].into(),
                overlay: [3000, 3000, 3000].into(),
                compression: [1500, 1500, 1500].into(),
                clone: [2000].into(),
                crates: [90_000].into(),
                console: [6000].into(),
                forward: [29_000].into(),
                quick: [60_000].into(),
                quick_forward: [10_000].into(),
                quick_node: [20_000].into(),
            },
            flash: Flashes {
                write: [1000, 1000, 1000].into(),
                all: [1100, 1100, 1100].into(),
                little: [80, 80, 80].into(),
                dd: [1000, 1000, 1000].into(),
            },
        };
        assert!(building.goals().iter().all(|goal| goal.met));
        building.rebuild.forward = [30_100].into();
        let missed: Vec<_> = building.goals().into_iter().filter(|goal| !goal.met).collect();
        assert_eq!(missed.len(), 1);
        let line =
            "| one line of `forward` changed, to the image | 30.10 s | ≤ 30 s | **missed** |";
        assert!(building.markdown().contains(line), "{}", building.markdown());
    }
}
