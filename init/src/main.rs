//! PID 1 of an Octet appliance: boot phases, supervisor, shutdown; nothing else.
//!
//! It mounts, forks, reaps, keeps timers and one small socket, and never waits for a disk, a lock
//! or a peer. What could wait runs as a unit, started by PID 1 from its own binary: loading further
//! kernel modules (`octet-init load-modules LIST`), everything that touches a disk (`mount-data`,
//! `mark-slot-good`).

use std::process::ExitCode;

mod clock;
mod command_line;
mod console;
mod edge;
mod facts;
mod kernel_modules;
mod phases;
mod slot;
mod storage;
mod supervisor;
mod sys;
mod units;

use kernel_modules::{Afterwards, load_list};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if std::process::id() == 1 {
        console::reboot_on_panic();
        edge::supervise(phases::run());
    }
    match &args[..] {
        [command, list] if command == "load-modules" => {
            let failures = load_list(list.as_ref(), Afterwards::Forget);
            for failure in &failures {
                eprintln!("{failure}");
            }
            if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        [command] if command == "mount-data" => storage::run(),
        [command] if command == "mark-slot-good" => slot::run(),
        _ => {
            eprintln!("octet-init is PID 1 of an Octet appliance and does nothing elsewhere");
            ExitCode::from(2)
        }
    }
}
