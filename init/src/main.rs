//! PID 1 of an Octet appliance: boot phases, supervisor, shutdown; nothing else.
//!
//! It mounts, forks, reaps, keeps timers and one small socket, and never waits for a disk, a lock
//! or a peer. What could wait runs as a unit, the loading of further kernel modules included
//! (`octet-init load-modules LIST`, started by PID 1 from its own binary).

use std::process::ExitCode;

mod clock;
mod console;
mod edge;
mod kernel_modules;
mod phases;
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
        _ => {
            eprintln!("octet-init is PID 1 of an Octet appliance and does nothing elsewhere");
            ExitCode::from(2)
        }
    }
}
