//! The service's start: it reads its environment.

use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use crate::bounds::TimeBounds;
use crate::decide::Time;
use crate::machine::SystemClock;
use crate::run::run;
use crate::serve::serve;
use crate::stepped::Stepped;
use octet_appliance::{SOCKETS, UNITS};
use octet_node::boot::{BootId, boot_id};
use octet_node::{UnitEnvironment, say};

/// Sets the clock and stores its time until PID 1 stops the process.
pub fn main() -> ExitCode {
    octet_node::run(|mut given: UnitEnvironment| {
        let folder = given.state.take();
        let control = given.socket::<UnixListener>("control");
        let callers = given.callers;
        SystemClock::new(folder.clone())
            .and_then(|(mut system, asking)| {
                if let Ok(listener) = control {
                    let serve = move || {
                        let bounds =
                            TimeBounds { build: build(), boot: boot(), sockets: SOCKETS.into() };
                        let stepped = Stepped::open(folder, boot());
                        serve(&listener, &callers, stepped, asking, bounds);
                    };
                    std::thread::spawn(serve);
                }
                run(&mut system, build(), boot())
            })
            .map_err(|error| format!("the clock cannot be set: {error}"))
    })
}

/// The build time of the image, if it is known: the builder gives every file the modification time
/// of `appliance.lock`.
fn build() -> Time {
    let modified = std::fs::metadata(UNITS).and_then(|units| units.modified());
    modified
        .map_err(|error| say!("{UNITS} has no build time of the image: {error}"))
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default()
}

fn boot() -> BootId {
    let boot = boot_id();
    if boot == 0 {
        say!("the kernel reports no boot id");
    }
    boot
}
