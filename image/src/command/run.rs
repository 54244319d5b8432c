//! `cargo image run`

mod many;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use miette::IntoDiagnostic;
use octet_machine::{Builder, MachineError, Status, UnitState};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::build::{self, Built};
use crate::report;
use crate::running::together::{self, Size};
use crate::running::{self, Pointer};
use crate::setup;

/// From QEMU's start until all base units are ready. A quiet host takes two seconds.
const READY: Duration = Duration::from_secs(120);

/// From the request to QEMU's end.
const POWER_OFF: Duration = Duration::from_secs(60);

/// A person's own machine runs until they end it.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Builds the image and boots it in QEMU: in a terminal until ctrl-C, otherwise until it is ready
#[derive(clap::Args)]
pub struct Args {
    /// First install what this machine lacks
    #[arg(long)]
    setup: bool,
    /// Memory of the machine
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(64..))]
    memory: u32,
    /// Boot the disk image by UEFI firmware, as boards do; its data stays until the image changes. With
    /// `--cluster` each machine has a disk of its own
    #[arg(long)]
    disk: bool,
    /// Boot a router and as many boards, wired as in the box: 4 or 8, up to what `[cluster]` says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    cluster: Option<u8>,
    #[command(flatten)]
    build: build::Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    setup::require(&[&setup::RUN], args.setup)?;
    let said = args.cluster.map(|boards| together::said(&args.build, boards));
    let said = said.transpose()?;
    let built = build::build(&args.build)?;
    if let (Some((ports, said)), Some(boards)) = (said, args.cluster) {
        let size = Size { ports, boards, memory: args.memory };
        return many::run(&built, size, &said, args.disk);
    }
    let machine = running::machine(&built, args.disk, None)?.memory(args.memory);
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        in_terminal(&built, machine)
    } else {
        until_ready(&built, machine)
    }
}

/// Shows the console until the machine ends or is asked to.
fn in_terminal(built: &Built, machine: Builder) -> miette::Result<ExitCode> {
    // Before the machine starts: a ctrl-C from now on is the machine's, not ours.
    let mut signals = Signals::new([SIGINT, SIGTERM]).into_diagnostic()?;
    eprintln!("`cargo image ctl` in another terminal asks this machine; ctrl-C turns it off");
    let machine = machine
        .unlimited()
        .on_console(|bytes| {
            // A terminal that has gone away ends us by a signal of its own.
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        })
        .start()
        .into_diagnostic()?;
    let _pointer = Pointer::set(&built.folder, machine.folder()).into_diagnostic()?;
    let handle = signals.handle();
    let exit = std::thread::scope(|scope| {
        scope.spawn(|| {
            for (count, _) in signals.forever().enumerate() {
                if count == 0 {
                    eprintln!("\nThe appliance is asked to power off; ctrl-C again kills it.");
                    scope.spawn(|| {
                        if let Err(error) = machine.power_off(POWER_OFF) {
                            eprintln!("{error}\nctrl-C kills it.");
                        }
                    });
                } else if let Err(error) = machine.kill() {
                    eprintln!("{error}");
                }
            }
        });
        let exit = machine.wait_exit(FOREVER);
        handle.close();
        exit
    });
    let exit = exit.into_diagnostic()?;
    if exit.is_power_off() || exit.is_reboot() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("The machine ended: {exit}.\n{}", machine.tail(20));
    Ok(ExitCode::FAILURE)
}

/// Whether the slot has been marked good, or cannot be.
fn slot_settled(status: &Status) -> bool {
    let slot = status.unit("slot").map(|unit| unit.state);
    matches!(slot, None | Some(UnitState::Done | UnitState::Failed))
}

/// Boots, tells what came up and how long it took, and turns off again.
fn until_ready(built: &Built, machine: Builder) -> miette::Result<ExitCode> {
    let machine = machine.start().into_diagnostic()?;
    let _pointer = Pointer::set(&built.folder, machine.folder()).into_diagnostic()?;
    let ready = machine.wait_ready(READY);
    let took = machine.started().elapsed();
    if let Err(error @ MachineError::Degraded { .. }) = ready {
        if let Ok(status) = machine.status() {
            print!("{}", report::units(&status));
        }
        return Err(error).into_diagnostic();
    }
    ready.into_diagnostic()?;
    // Only then is the slot marked good, and this is what people want to see.
    let status = machine.wait_status("the slot's verdict", POWER_OFF, slot_settled);
    let status = status.into_diagnostic()?;
    let boot = machine.boot().into_diagnostic()?;
    let (units, storage) = (report::units(&status), report::storage(&boot));
    print!("{units}\n{storage}{}", report::phases(&boot, &status, took));
    let exit = machine.power_off(POWER_OFF).into_diagnostic()?;
    if exit.is_power_off() {
        println!("powered off");
        return Ok(ExitCode::SUCCESS);
    }
    Err(miette::miette!(
        help = "`poweroff` must end the machine by ACPI; the lines above say what it did instead",
        "the machine did not power off: {exit}\n{}",
        machine.tail(20)
    ))
}
