//! docs/BENCHMARKS.md

use std::fmt::Write;

use super::boot::Boots;
use super::cache::Cache;
use super::cluster::Cluster;
use super::disk::DiskBoots;
use super::flash::Flashes;
use super::forward::Forward;
use super::live::Live;
use super::memory::Memory;
use super::messenger::Messenger;
use super::page::table;
use super::paths::Paths;
use super::rebuild::Rebuilds;
use super::sample::Sample;
use super::segments::Segments;
use super::supervisors::Supervisors;
use crate::target::Target;

const MIB: f64 = 1024.0 * 1024.0;
const MB: f64 = 1e6;

/// Everything that was measured.
pub struct Report {
    /// On what.
    pub host: Vec<(&'static str, String)>,
    /// How often.
    pub runs: usize,
    /// The image for each target.
    pub targets: Vec<OfTarget>,
    /// Building.
    pub rebuild: Rebuilds,
    /// Flashing.
    pub flash: Flashes,
    /// PID 1 beside others.
    pub supervisors: Supervisors,
    /// A box that runs.
    pub live: Live,
    /// A router.
    pub segments: Segments,
    /// A whole box.
    pub cluster: Cluster,
    /// Objects.
    pub cache: Cache,
    /// Large networks.
    pub forward: Forward,
    /// Letters.
    pub messenger: Messenger,
    /// What paths carry.
    pub paths: Paths,
}

/// The image for one target.
pub struct OfTarget {
    /// Which.
    pub target: Target,
    /// Starting, with QEMU putting the kernel into memory.
    pub boot: Boots,
    /// Starting by firmware.
    pub disk: DiskBoots,
    /// Running.
    pub memory: Memory,
    /// Kernel and initramfs, in bytes.
    pub slot: u64,
}

/// One thing the image is held to.
pub struct Goal {
    /// What it is about.
    pub what: String,
    /// What was measured.
    pub is: String,
    /// What it must be.
    pub must: String,
    /// Whether it is.
    pub met: bool,
}

impl Report {
    /// Everything the image is held to.
    pub fn goals(&self) -> Vec<Goal> {
        let mut goals: Vec<Goal> = self.targets.iter().flat_map(OfTarget::goals).collect();
        let rebuild = &self.rebuild;
        let beyond = rebuild.overlay.median() - rebuild.compression.median();
        let flash = &self.flash;
        let all = flash.dd.median() / flash.all.median();
        let little = flash.dd.median() / flash.little.median();
        for (what, seconds, limit) in [
            ("rebuild, nothing changed", rebuild.unchanged.median(), 1.0),
            ("rebuild, overlay file changed, beyond compression", beyond, 2.0),
            ("build into an empty out/, store and code warm", rebuild.cold.median(), 15.0),
        ] {
            goals.push(Goal {
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
            goals.push(Goal {
                what: what.into(),
                is: format!("{ratio:.2} ×"),
                must: format!("≥ {limit} ×"),
                met: ratio >= limit,
            });
        }
        goals
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
            [goal.what.clone(), goal.is.clone(), goal.must.clone(), met.to_owned()]
        });
        table(&mut page, ["what", "measured", "goal", ""], rows);
        let _ = writeln!(page, "{DISK}");
        let head = ["", "ready / floor", "ready − floor", "ready without firmware"];
        table(&mut page, head, self.targets.iter().map(OfTarget::beside_the_floor));
        let _ = writeln!(page, "\n## Times\n\nSeconds; medians of {} runs.\n", self.runs);
        let (rebuild, flash) = (&self.rebuild, &self.flash);
        let mut rows: Vec<_> = self.targets.iter().flat_map(OfTarget::times).collect();
        rows.extend(
            [
                ("build into an empty out/", &rebuild.cold),
                ("build, nothing changed", &rebuild.unchanged),
                ("build, one overlay file changed", &rebuild.overlay),
                ("of that, compression", &rebuild.compression),
                ("flash 1 GiB, all differs, until all is on the medium", &flash.write),
                ("the same, and read back", &flash.all),
                ("dd of as much, bs=4M conv=fsync", &flash.dd),
                ("flash 1 GiB, 64 bytes differ, read back", &flash.little),
            ]
            .map(|(what, it)| row(what, it)),
        );
        table(&mut page, ["what", "median", "least", "most"], rows.into_iter());
        page.push('\n');
        page += &self.supervisors.markdown();
        page.push('\n');
        page += &self.live.markdown();
        page.push('\n');
        page += &self.segments.markdown();
        page.push('\n');
        page += &self.cluster.markdown();
        page.push('\n');
        page += &self.cache.markdown();
        page.push('\n');
        page += &self.forward.markdown();
        page.push('\n');
        page += &self.messenger.markdown();
        page.push('\n');
        page += &self.paths.markdown();
        page
    }
}

impl OfTarget {
    fn goals(&self) -> Vec<Goal> {
        let goal = |what: &str, is, must: &str, met| Goal {
            what: format!("{}: {what}", self.target.architecture()),
            is,
            must: must.into(),
            met,
        };
        let limit = self.boot.appliance.median() / self.boot.limit.median();
        let stock = self.boot.stock.median() / self.boot.appliance.median();
        let slot = self.slot as f64 / MIB;
        let (used, init) = (self.memory.used as f64 / MB, self.memory.init as f64 / MB);
        let fits = if self.memory.fits_96 { "yes" } else { "no" };
        let times = |value: f64| format!("{value:.2} ×");
        let mut goals = vec![
            goal("start to ready, beside the bare kernel", times(limit), "≤ 1.15 ×", limit <= 1.15),
            goal("slot (kernel and initramfs)", format!("{slot:.1} MiB"), "≤ 22 MiB", slot <= 22.0),
            goal(
                "memory used after boot, of 512 MiB",
                format!("{used:.1} MB"),
                "≤ 40 MB",
                used <= 40.0,
            ),
            goal("boots with 96 MiB", fits.into(), "yes", self.memory.fits_96),
            goal("resident size of PID 1", format!("{init:.1} MB"), "≤ 4 MB", init <= 4.0),
        ];
        // There is no stock Alpine to compare with where it was not measured.
        if stock > 0.0 {
            let what = "start to ready, faster than stock Alpine";
            goals.push(goal(what, times(stock), "≥ 6 ×", stock >= 6.0));
        }
        goals
    }

    fn times(&self) -> Vec<[String; 4]> {
        let (boot, disk) = (&self.boot, &self.disk);
        [
            ("QEMU's start to ready: Octet", &boot.appliance),
            ("the same kernel, an init that does nothing", &boot.limit),
            ("stock Alpine with OpenRC, until its gettys start", &boot.stock),
            ("from disk by firmware, to ready", &disk.ready),
            ("from disk by firmware, the first boot", &disk.first),
            ("firmware and boot loader alone, to power-off", &disk.floor),
        ]
        .into_iter()
        .filter(|(_, it)| it.median() > 0.0)
        .map(|(what, it)| row(&format!("{}: {what}", self.target.architecture()), it))
        .collect()
    }

    /// How a boot from disk compares with what firmware takes by itself, and what is left is then
    /// the kernel's and Octet's.
    fn beside_the_floor(&self) -> [String; 4] {
        let (ready, floor) = (self.disk.ready.median(), self.disk.floor.median());
        [
            self.target.architecture().to_owned(),
            format!("{:.2} ×", ready / floor),
            format!("{:.2} s", ready - floor),
            format!("{:.2} s", self.boot.appliance.median()),
        ]
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

Written by the command below; do not edit. All guests: q35 or virt, 2 processors, 512 MiB, the console
on a serial line, and no network unless it is said; they boot in turn, so that a busy moment of the host
meets each of them. On x86_64 stock Alpine has the processor model on which it is fastest (qemu64), all
else QEMU's `max`. A guest counts as up when its console says so: Octet's status screen reads READY, the
bare init has printed its line, Alpine's init starts its first getty.

";

const DISK: &str = "
## From disk

The floor: the same firmware and boot loader, from the same kind of disk, start a program that turns
the machine off. What is above it is what kernel and Octet take.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            host: vec![("QEMU", "7.2".into())],
            runs: 3,
            targets: vec![OfTarget {
                target: Target::QemuX86_64,
                boot: Boots {
                    appliance: [1500, 1600, 1550].into(),
                    limit: [1400, 1400, 1400].into(),
                    stock: [12_000, 12_000, 12_000].into(),
                },
                disk: DiskBoots {
                    ready: [6000, 6000, 6000].into(),
                    first: [7000, 7000, 7000].into(),
                    floor: [4000, 4000, 4000].into(),
                },
                memory: Memory { used: 30_000_000, init: 2_000_000, fits_96: true },
                slot: 21 << 20,
            }],
            flash: Flashes {
                write: [1000, 1000, 1000].into(),
                all: [1100, 1100, 1100].into(),
                little: [80, 80, 80].into(),
                dd: [1000, 1000, 1000].into(),
            },
            rebuild: Rebuilds {
                cold: [9000, 9000, 9000].into(),
                unchanged: [300, 300, 300].into(),
                overlay: [3000, 3000, 3000].into(),
                compression: [1500, 1500, 1500].into(),
            },
            supervisors: Supervisors::default(),
            live: Live::default(),
            segments: Segments::default(),
            cluster: Cluster::default(),
            cache: Cache::default(),
            forward: Forward::default(),
            messenger: Messenger::default(),
            paths: Paths::default(),
        }
    }

    #[test]
    fn goals_are_compared() {
        let good = report();
        assert!(good.goals().iter().all(|goal| goal.met));
        let mut bad = report();
        bad.targets[0].boot.appliance = [2000, 2100, 2050].into();
        bad.targets[0].memory.used = 41_000_000;
        bad.targets[0].memory.fits_96 = false;
        let missed: Vec<_> =
            bad.goals().into_iter().filter(|goal| !goal.met).map(|goal| goal.what).collect();
        assert_eq!(missed.len(), 4, "{missed:?}");
        assert!(bad.markdown().contains("| x86_64: boots with 96 MiB | no | yes | **missed** |"));
    }

    #[test]
    fn the_page_has_every_time() {
        let page = report().markdown();
        assert!(page.contains("cargo image bench --runs 3"));
        assert!(page.contains("| x86_64 | 1.50 × | 2.00 s | 1.55 s |"), "{page}");
        assert!(
            page.contains("| x86_64: QEMU's start to ready: Octet | 1.55 | 1.50 | 1.60 |"),
            "{page}"
        );
        assert!(
            page.contains(
                "| x86_64: start to ready, beside the bare kernel | 1.11 × | ≤ 1.15 × | met |"
            ),
            "{page}"
        );
    }
}
