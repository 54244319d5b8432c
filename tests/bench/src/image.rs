//! Boots, memory and size of the image.

use std::fmt::Write;

use miette::IntoDiagnostic;

use super::boot::{self, Boots};
use super::disk::{self, DiskBoots};
use super::guest;
use super::memory::{self, MemorySample};
use super::page::{BenchGoal, goals, row, table};
use octet_image::Target;
use octet_image::build::{self, Options};

/// The heading by which the section is found again.
pub const TITLE: &str = "## The image";

const MIB: f64 = 1024.0 * 1024.0;
const MB: f64 = 1e6;

/// The image for all targets.
pub struct Images {
    /// How often it was booted.
    pub runs: usize,
    pub targets: Vec<OfTarget>,
}

/// The image for one target.
pub struct OfTarget {
    pub target: Target,
    /// Starting, with QEMU putting the kernel into memory.
    pub boot: Boots,
    pub disk: DiskBoots,
    pub memory: MemorySample,
    /// Kernel and initramfs, in bytes.
    pub slot: u64,
}

pub fn measure(options: &Options, runs: usize) -> miette::Result<Images> {
    let mut targets = vec![];
    for target in [Target::QemuX86_64, Target::QemuAarch64] {
        targets.push(of_target(&Options { target, ..options.clone() }, runs)?);
    }
    Ok(Images { runs, targets })
}

fn of_target(options: &Options, runs: usize) -> miette::Result<OfTarget> {
    let target = options.target;
    let built = build::build(options)?;
    let stock = build::stock(options)?;
    let limit = guest::limit(target)?;
    eprintln!("boot       {target}: appliance, bare kernel and stock Alpine, {runs} times in turn");
    let boot = boot::measure(&built, &limit.initrd, &stock, runs)?;
    eprintln!("disk       {target}: by firmware, beside a disk that only powers off");
    let disk = disk::measure(options, &built, runs)?;
    eprintln!("memory     {target}: of a guest with 512 MiB, and of one with 96");
    let memory = memory::measure(&built)?;
    let size = |path: &std::path::Path| path.metadata().map(|it| it.len()).into_diagnostic();
    // The seed's kernel as it is: for Arm, `boot/linux` is an unpacked one.
    let slot = size(&stock.join("linux"))? + size(&built.initrd)?;
    Ok(OfTarget { target, boot, disk, memory, slot })
}

impl Images {
    /// Everything it is held to.
    pub fn goals(&self) -> Vec<BenchGoal> {
        self.targets.iter().flat_map(OfTarget::goals).collect()
    }

    pub fn markdown(&self) -> String {
        let mut page = format!("{TITLE}\n\n{ABOUT}\n");
        goals(&mut page, &self.goals());
        let _ = writeln!(page, "{DISK}");
        let head = ["", "ready / floor", "ready − floor", "ready without firmware"];
        table(&mut page, head, self.targets.iter().map(OfTarget::beside_the_floor));
        let _ = writeln!(page, "\nSeconds; medians of {} runs.\n", self.runs);
        let rows = self.targets.iter().flat_map(OfTarget::times);
        table(&mut page, ["what", "median", "least", "most"], rows);
        page
    }
}

impl OfTarget {
    fn goals(&self) -> Vec<BenchGoal> {
        let goal = |what: &str, is, must: &str, met| BenchGoal {
            what: format!("{}: {what}", self.target.architecture().name()),
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
        .map(|(what, it)| row(&format!("{}: {what}", self.target.architecture().name()), it))
        .collect()
    }

    /// How a boot from disk compares with what firmware takes by itself, and what is left is then
    /// the kernel's and Octet's.
    fn beside_the_floor(&self) -> [String; 4] {
        let (ready, floor) = (self.disk.ready.median(), self.disk.floor.median());
        [
            self.target.architecture().name().to_owned(),
            format!("{:.2} ×", ready / floor),
            format!("{:.2} s", ready - floor),
            format!("{:.2} s", self.boot.appliance.median()),
        ]
    }
}

const ABOUT: &str = "\
```
cargo image bench --only image
```

All guests: q35 or virt, 2 processors, 512 MiB, the console on a serial line, and no network; they boot in turn, so that a
busy moment of the host meets each of them. On x86_64 stock Alpine has the processor model on which it is fastest (qemu64),
all else QEMU's `max`. A guest counts as up when its console says so: Octet's status screen reads READY, the bare init has
printed its line, Alpine's init starts its first getty.
";

const DISK: &str = "
From disk: the floor is the same firmware and boot loader, from the same kind of disk, which start a program that turns
the machine off. What is above it is what kernel and Octet take.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Images {
        Images {
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
                memory: MemorySample { used: 30_000_000, init: 2_000_000, fits_96: true },
                slot: 21 << 20,
            }],
        }
    }

    #[test]
    fn goals_are_compared() {
        assert!(images().goals().iter().all(|goal| goal.met));
        let mut bad = images();
        bad.targets[0].boot.appliance = [2000, 2100, 2050].into();
        bad.targets[0].memory.used = 41_000_000;
        bad.targets[0].memory.fits_96 = false;
        let missed: Vec<_> =
            bad.goals().into_iter().filter(|goal| !goal.met).map(|goal| goal.what).collect();
        assert_eq!(missed.len(), 4, "{missed:?}");
        assert!(bad.markdown().contains("| x86_64: boots with 96 MiB | no | yes | **missed** |"));
    }

    #[test]
    fn the_section_has_every_time() {
        let page = images().markdown();
        for line in [
            "| x86_64 | 1.50 × | 2.00 s | 1.55 s |",
            "| x86_64: QEMU's start to ready: Octet | 1.55 | 1.50 | 1.60 |",
            "| x86_64: start to ready, beside the bare kernel | 1.11 × | ≤ 1.15 × | met |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(page.starts_with(TITLE) && page.ends_with("|\n"), "{page}");
    }
}
