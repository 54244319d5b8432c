//! What the appliance leaves of a guest's memory.

use std::time::Duration;

use miette::IntoDiagnostic;
use octet_machine::{Machine, UnitState};

use octet_image::build::Built;

/// For a guest to come up, however busy the host.
const READY: Duration = Duration::from_secs(180);

/// How long a guest is left alone before its memory is counted.
const IDLE: Duration = Duration::from_secs(10);

/// In bytes.
#[derive(Debug, Clone, Copy)]
pub struct MemorySample {
    /// Used of 512 MiB ten seconds after every unit has settled, as the kernel counts what is not available.
    pub used: u64,
    /// The resident size of PID 1.
    pub init: u64,
    /// Whether the image comes up with 96 MiB.
    pub fits_96: bool,
}

pub fn measure(built: &Built) -> miette::Result<MemorySample> {
    let boot = |mib| {
        let machine = Machine::builder(&built.linux, &built.initrd);
        machine.architecture(built.target.architecture()).memory(mib).start()
    };
    let machine = boot(512).into_diagnostic()?;
    machine
        .wait_status("every unit settled", READY, |status| {
            let settled =
                |state| matches!(state, UnitState::Ready | UnitState::Exited | UnitState::Failed);
            status.units.iter().all(|unit| settled(unit.state))
        })
        .into_diagnostic()?;
    // Pages that were freed lie on lists of the processors for some seconds before they count as
    // free (Linux, mm/page_alloc.c: decay_pcp_high).
    std::thread::sleep(IDLE);
    let memory = machine.status().into_diagnostic()?.memory;
    drop(machine);
    let small = boot(96).into_diagnostic()?;
    Ok(MemorySample {
        used: memory.total - memory.available,
        init: memory.init_rss,
        fits_96: small.wait_ready(READY).is_ok(),
    })
}
