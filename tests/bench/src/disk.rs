//! A boot from disk by firmware, beside the least that firmware takes by itself.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};
use octet_machine::{Disk, Exit, Machine, Tail};

use super::boot::{APPLIANCE, MEMORY, boot};
use super::firmware;
use super::sample::TimeSample;
use octet_image::Sparse;
use octet_image::build::{self, Built, Options};

/// The medium, in bytes.
const MEDIUM: u64 = 1 << 30;

/// No boot takes this long, however busy the host.
const LONGEST: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Default)]
pub struct DiskBoots {
    /// From QEMU's start until ready, of a disk that has been booted before.
    pub ready: TimeSample,
    /// The first boot, which makes the file system.
    pub first: TimeSample,
    /// From QEMU's start to its end: firmware and boot loader, and a program that powers off.
    pub floor: TimeSample,
}

/// The machine that should only power off did something else.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("a disk that only powers off did not: {exit}\n{tail}")]
#[diagnostic(help("see that firmware and systemd-boot are those of Debian 12"))]
struct NoPowerOff {
    exit: Exit,
    tail: Tail,
}

/// Boots in turn, `runs` times.
pub fn measure(options: &Options, built: &Built, runs: usize) -> miette::Result<DiskBoots> {
    let folder = tempfile::tempdir().into_diagnostic()?;
    let used = folder.path().join("used");
    let off = folder.path().join("off");
    let image = Sparse::read(&File::open(&built.disk).into_diagnostic()?).into_diagnostic()?;
    flashed(&build::disk_with(options, &firmware::power_off_program(built.target), &[])?.1, &off)?;

    let architecture = built.target.architecture();
    let start = |file: &Path| Machine::from_disk(architecture, Disk::new(file));
    let mut boots = DiskBoots::default();
    for _ in 0..runs {
        flashed(&image, &used)?;
        boots.first.add(boot(start(&used), APPLIANCE)?);
        // The machine before was killed in the middle: one boot to tidy up, then one that counts.
        let machine = start(&used).memory(MEMORY).start().into_diagnostic()?;
        machine.wait_ready(LONGEST).into_diagnostic()?;
        machine.power_off(LONGEST).into_diagnostic()?;
        drop(machine);
        boots.ready.add(boot(start(&used), APPLIANCE)?);

        let machine = start(&off).memory(MEMORY).start().into_diagnostic()?;
        let exit = machine.wait_exit(LONGEST).into_diagnostic()?;
        let took = Instant::now() - machine.started();
        if !exit.is_power_off() {
            return Err(NoPowerOff { exit, tail: machine.tail(20) }.into());
        }
        boots.floor.add(took);
    }
    Ok(boots)
}

/// Puts a disk into a file, as onto a larger medium.
pub fn flashed(disk: &Sparse, path: &Path) -> miette::Result<()> {
    let file = File::create(path).into_diagnostic()?;
    disk.write_to(&file).into_diagnostic()?;
    file.set_len(MEDIUM).into_diagnostic()
}
