//! docs/BENCHMARKS.md

use std::fmt::Write;

use super::boot::Boots;
use super::memory::Memory;
use super::rebuild::Rebuilds;
use super::sample::Sample;

const MIB: f64 = 1024.0 * 1024.0;
const MB: f64 = 1e6;

/// Everything that was measured.
pub struct Report {
    /// On what.
    pub host: Vec<(&'static str, String)>,
    /// How often.
    pub runs: usize,
    /// Starting.
    pub boot: Boots,
    /// Running.
    pub memory: Memory,
    /// Building.
    pub rebuild: Rebuilds,
    /// Kernel and initramfs, in bytes.
    pub slot: u64,
}

/// One thing the image is held to.
pub struct Goal {
    /// What it is about.
    pub what: &'static str,
    /// What was measured.
    pub is: String,
    /// What it must be.
    pub must: &'static str,
    /// Whether it is.
    pub met: bool,
}

impl Report {
    /// Everything the image is held to.
    pub fn goals(&self) -> Vec<Goal> {
        let goal = |what, is, must, met| Goal { what, is, must, met };
        let limit = self.boot.appliance.median() / self.boot.limit.median();
        let stock = self.boot.stock.median() / self.boot.appliance.median();
        let slot = self.slot as f64 / MIB;
        let rebuild = &self.rebuild;
        let beyond = rebuild.overlay.median() - rebuild.compression.median();
        let (used, init) = (self.memory.used as f64 / MB, self.memory.init as f64 / MB);
        let fits = if self.memory.fits_96 { "yes" } else { "no" };
        vec![
            goal(
                "start to ready, beside the bare kernel",
                format!("{limit:.2} ×"),
                "≤ 1.15 ×",
                limit <= 1.15,
            ),
            goal(
                "start to ready, faster than stock Alpine",
                format!("{stock:.1} ×"),
                "≥ 6 ×",
                stock >= 6.0,
            ),
            goal("slot (kernel and initramfs)", format!("{slot:.1} MiB"), "≤ 22 MiB", slot <= 22.0),
            goal(
                "rebuild, nothing changed",
                seconds(rebuild.unchanged.median()),
                "≤ 1 s",
                rebuild.unchanged.median() <= 1.0,
            ),
            goal(
                "rebuild, overlay file changed, beyond compression",
                seconds(beyond),
                "≤ 2 s",
                beyond <= 2.0,
            ),
            goal(
                "build into an empty out/, store and code warm",
                seconds(rebuild.cold.median()),
                "≤ 15 s",
                rebuild.cold.median() <= 15.0,
            ),
            goal(
                "memory used after boot, of 512 MiB",
                format!("{used:.1} MB"),
                "≤ 40 MB",
                used <= 40.0,
            ),
            goal("boots with 96 MiB", fits.into(), "yes", self.memory.fits_96),
            goal("resident size of PID 1", format!("{init:.1} MB"), "≤ 4 MB", init <= 4.0),
        ]
    }

    /// The page.
    pub fn markdown(&self) -> String {
        let mut page = String::from(HEAD);
        let _ = writeln!(page, "```\ncargo image bench --runs {}\n```\n", self.runs);
        let host = self.host.iter().map(|(name, value)| [(*name).to_owned(), value.clone()]);
        table(&mut page, ["machine", ""], host);
        let _ = writeln!(page, "\n## Goals\n");
        let goals = self.goals();
        let rows = goals.iter().map(|goal| {
            let met = if goal.met { "met" } else { "**missed**" };
            [goal.what.to_owned(), goal.is.clone(), goal.must.to_owned(), met.to_owned()]
        });
        table(&mut page, ["what", "measured", "goal", ""], rows);
        let _ = writeln!(page, "\n## Times\n\nSeconds; medians of {} runs.\n", self.runs);
        let (boot, rebuild) = (&self.boot, &self.rebuild);
        let samples = [
            ("QEMU's start to ready: Octet", &boot.appliance),
            ("the same kernel, an init that does nothing", &boot.limit),
            ("stock Alpine with OpenRC, until its gettys start", &boot.stock),
            ("build into an empty out/", &rebuild.cold),
            ("build, nothing changed", &rebuild.unchanged),
            ("build, one overlay file changed", &rebuild.overlay),
            ("of that, compression", &rebuild.compression),
        ];
        table(
            &mut page,
            ["what", "median", "least", "most"],
            samples.iter().map(|(what, it)| row(what, it)),
        );
        page
    }
}

fn row(what: &str, sample: &Sample) -> [String; 4] {
    let (least, most) = sample.range();
    [
        what.to_owned(),
        format!("{:.2}", sample.median()),
        format!("{least:.2}"),
        format!("{most:.2}"),
    ]
}

const HEAD: &str = "\
# Benchmarks

Written by the command below; do not edit. All guests: q35, 2 processors, 512 MiB, no network, the
console on a serial line; they boot in turn, so that a busy moment of the host meets each of them.
Stock Alpine has the processor model on which it is fastest (qemu64), the other two have QEMU's `max`.
A guest counts as up when its console says so: Octet's status screen reads READY, the bare init has
printed its line, Alpine's init starts its first getty.

";

fn table<const N: usize>(
    page: &mut String,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let _ = writeln!(page, "| {} |\n|{}", head.join(" | "), "---|".repeat(N));
    for row in rows {
        let _ = writeln!(page, "| {} |", row.join(" | "));
    }
}

fn seconds(value: f64) -> String {
    format!("{value:.2} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            host: vec![("QEMU", "7.2".into())],
            runs: 3,
            boot: Boots {
                appliance: [1500, 1600, 1550].into(),
                limit: [1400, 1400, 1400].into(),
                stock: [12_000, 12_000, 12_000].into(),
            },
            memory: Memory { used: 30_000_000, init: 2_000_000, fits_96: true },
            rebuild: Rebuilds {
                cold: [9000, 9000, 9000].into(),
                unchanged: [300, 300, 300].into(),
                overlay: [3000, 3000, 3000].into(),
                compression: [1500, 1500, 1500].into(),
            },
            slot: 21 << 20,
        }
    }

    #[test]
    fn goals_are_compared() {
        let good = report();
        assert!(good.goals().iter().all(|goal| goal.met));
        let mut bad = report();
        bad.boot.appliance = [2000, 2100, 2050].into();
        bad.memory.used = 41_000_000;
        bad.memory.fits_96 = false;
        let missed: Vec<_> =
            bad.goals().into_iter().filter(|goal| !goal.met).map(|goal| goal.what).collect();
        assert_eq!(missed.len(), 4, "{missed:?}");
        assert!(bad.markdown().contains("| boots with 96 MiB | no | yes | **missed** |"));
    }

    #[test]
    fn the_page_has_every_time() {
        let page = report().markdown();
        assert!(page.contains("cargo image bench --runs 3"));
        assert!(page.contains("| QEMU's start to ready: Octet | 1.55 | 1.50 | 1.60 |"), "{page}");
        assert!(
            page.contains("| start to ready, beside the bare kernel | 1.11 × | ≤ 1.15 × | met |"),
            "{page}"
        );
    }
}
