//! From QEMU's start until the console says that the guest is up.

use std::path::Path;
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};
use octet_machine::{Builder, Machine, Tail};

use super::sample::TimeSample;
use octet_image::Target;
use octet_image::build::Built;

/// Memory and processors of all three guests.
pub const MEMORY: u32 = 512;

/// No guest takes this long, however busy the host.
const LONGEST: Duration = Duration::from_secs(180);

/// What each guest writes to its console: the status screen once all base units are ready, the
/// first line of the init that does nothing, and busybox init's words when OpenRC is through and it
/// starts the first getty (on a screen that this guest does not have).
pub const APPLIANCE: &str = "READY";
const LIMIT: &str = "octet-limit: init runs";
const STOCK: &str = "'/sbin/getty";

/// What Alpine's own initramfs is told; the rest as for ours.
const STOCK_KERNEL: &str = "root=/dev/vda rootfstype=ext4 modules=virtio_blk,ext4 \
                            console=ttyS0 quiet no_timer_check panic=-1";

/// The three guests, each measured as often as the others.
#[derive(Debug, Clone, Default)]
pub struct Boots {
    pub appliance: TimeSample,
    /// The same kernel, machine and options, with an init that does nothing.
    pub limit: TimeSample,
    /// Alpine as its publisher has put it together; for x86-64 only.
    pub stock: TimeSample,
}

/// A guest did not come up.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the console never said `{marker}`\n{tail}")]
#[diagnostic(help("see `cargo image run`"))]
struct Silent {
    marker: &'static str,
    tail: Tail,
}

/// Boots them in turn, `runs` times, so that a busy moment of the host meets each of them.
pub fn measure(built: &Built, limit: &Path, stock: &Path, runs: usize) -> miette::Result<Boots> {
    let mut boots = Boots::default();
    for _ in 0..runs {
        let machine = |initrd: &Path| {
            Machine::builder(&built.linux, initrd).architecture(built.target.architecture())
        };
        boots.appliance.add(boot(machine(&built.initrd), APPLIANCE)?);
        boots.limit.add(boot(machine(limit), LIMIT)?);
        // Under TCG the stock image for Arm locks up in its first scripts: there is no such row.
        if built.target == Target::QemuX86_64 {
            boots.stock.add(boot(alpine(stock), STOCK)?);
        }
    }
    Ok(boots)
}

/// Alpine from `folder`; what it writes to its disk is forgotten.
fn alpine(folder: &Path) -> Builder {
    let disk = folder.join("qcow2").to_string_lossy().replace(',', ",,");
    Machine::builder(folder.join("linux"), folder.join("initrd"))
        .command_line(STOCK_KERNEL)
        // Under TCG its many short processes run twice as fast on QEMU's plainest processor as on
        // the fullest: it is measured at its best.
        .argument("-cpu")
        .argument("qemu64")
        .argument("-drive")
        .argument(format!("file={disk},format=qcow2,if=virtio,snapshot=on"))
}

/// Boots `machine` until its console says `marker`.
pub fn boot(machine: Builder, marker: &'static str) -> miette::Result<Duration> {
    let machine = machine.memory(MEMORY).start().into_diagnostic()?;
    let seen = machine.console().wait_for(marker, Instant::now() + LONGEST);
    let Some(seen) = seen else {
        return Err(Silent { marker, tail: machine.tail(20) }.into());
    };
    Ok(seen - machine.started())
}
