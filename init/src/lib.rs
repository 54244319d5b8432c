//! PID 1 of an Octet appliance: boot phases, supervisor, shutdown; nothing else.
//!
//! It mounts, forks, reaps, keeps timers and one small socket, and never waits for a disk, a lock
//! or a peer. Work that may block runs as a unit, which PID 1 starts from its own binary: loading
//! further kernel modules (`octet-init load-modules LIST`), everything that accesses a disk
//! (`mount-data`, `mark-slot-good`), and relaying requests from the serial port under QEMU to units
//! (`serve-port`).

use std::process::ExitCode;

mod cgroup;
mod clock;
mod command_line;
mod console;
mod edge;
mod facts;
#[cfg(feature = "fault")]
mod fault;
mod kernel_modules;
mod phases;
mod port;
mod slot;
mod spawn;
mod storage;
mod supervisor;
mod sys;
mod units;

use kernel_modules::{Afterwards, load_list};

/// Ends one of PID 1's own units. An error is logged, and reported to PID 1, which shows it.
fn finish_unit(result: Result<(), String>) -> ExitCode {
    let Err(problem) = result else { return ExitCode::SUCCESS };
    eprintln!("{problem}");
    // If PID 1 is not there, nobody needs the status.
    let _ = octet_control::notify::send(&format!("STATUS={}", problem.replace('\n', " ")));
    ExitCode::FAILURE
}

/// Runs PID 1, or one of the units that use its program.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if std::process::id() == 1 {
        console::reboot_on_fault();
        edge::supervise(phases::run());
    }
    match &args[..] {
        [command, list, of_router @ ..] if command == "load-modules" => {
            let mut failures = load_list(list.as_ref(), Afterwards::Forget);
            for list in of_router.iter().filter(|_| command_line::is_router()) {
                failures.extend(load_list(list.as_ref(), Afterwards::Forget));
            }
            finish_unit(if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) })
        }
        [command] if command == "mount-data" => finish_unit(storage::run()),
        [command] if command == "mark-slot-good" => finish_unit(slot::run()),
        [command] if command == "serve-port" => finish_unit(port::run()),
        _ => {
            eprintln!("octet-init is PID 1 of an Octet appliance and does nothing elsewhere");
            ExitCode::from(2)
        }
    }
}
