//! The boot phases, from the kernel's start of PID 1 to the supervisor, in the order of the list
//! below.

pub mod board_number;
mod control_groups;
mod load_modules;
mod mount_api;
mod mount_data;
mod mount_root;

use std::time::Duration;

use rustix::system::{RebootCommand, reboot};

use crate::cgroup::Cgroups;
use crate::clock::now;
use crate::console::write_line;
use crate::supervisor::Moment;
use board_number::BoardNumber;

struct Phase {
    name: &'static str,
    run: fn(&mut BootFacts) -> Result<(), String>,
    on_failure: OnFailure,
}

/// What happens if a phase fails.
#[derive(Clone, Copy)]
enum OnFailure {
    /// The boot continues, and the box reports what is missing.
    Degraded,
    /// Nothing can run: the machine restarts, which uses up a try of this slot.
    Restart,
}

use OnFailure::{Degraded, Restart};

/// Every phase, in order. `supervise` follows and never ends.
const PHASES: &[Phase] = &[
    Phase { name: "mount-api", run: mount_api::run, on_failure: Restart },
    Phase { name: "control-groups", run: control_groups::run, on_failure: Degraded },
    Phase { name: "load-modules", run: load_modules::run, on_failure: Degraded },
    Phase { name: "board-number", run: board_number::run, on_failure: Degraded },
    Phase { name: "mount-root", run: mount_root::run, on_failure: Restart },
    Phase { name: "mount-data", run: mount_data::run, on_failure: Degraded },
];

/// How long the error stays on the screen before the machine restarts.
const ERROR_DISPLAY_TIME: Duration = Duration::from_secs(3);

/// The results of the phases.
#[derive(Default)]
pub struct BootFacts {
    pub reports: Vec<PhaseReport>,
    pub board: BoardNumber,
    /// Limits and accounts the units' processes.
    pub cgroups: Option<Cgroups>,
}

#[derive(Debug)]
pub struct PhaseReport {
    pub name: &'static str,
    pub start: Moment,
    pub elapsed: Duration,
    pub problem: Option<String>,
}

pub fn run() -> BootFacts {
    let mut boot = BootFacts::default();
    for phase in PHASES {
        let start = now();
        let problem = (phase.run)(&mut boot).err();
        boot.reports.push(PhaseReport {
            name: phase.name,
            start,
            elapsed: now() - start,
            problem: problem.clone(),
        });
        let Some(problem) = problem else { continue };
        write_line(&format!("{} failed: {problem}", phase.name));
        if matches!(phase.on_failure, Restart) {
            write_line("nothing can run without it; the machine restarts");
            std::thread::sleep(ERROR_DISPLAY_TIME);
            rustix::fs::sync();
            // If even this fails, PID 1 ends, and the kernel restarts the machine (panic=).
            let _ = reboot(RebootCommand::Restart);
        }
    }
    boot
}
