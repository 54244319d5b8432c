//! `cargo image run`

mod cluster;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use miette::IntoDiagnostic;
use octet_machine::panel::router::{self, Router};
use octet_machine::{Builder, Machine, MachineError, Status, UnitState};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::build::{self, Built};
use crate::report;
use crate::running::cluster::MachineSize;
use crate::running::outside::OutsideName;
use crate::running::single::BoardNetwork;
use crate::running::{self, ExistingDisk, Out, Registration};
use crate::setup;

/// From QEMU's start until all base units are ready. A quiet host takes two seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(180);

/// From the request to QEMU's end.
const POWER_OFF_TIMEOUT: Duration = Duration::from_secs(180);

/// Builds the image and boots it in QEMU: in a terminal until ctrl-C, otherwise until it is ready
#[derive(clap::Args)]
pub struct Args {
    /// Install missing Debian packages and Rust targets first
    #[arg(long)]
    setup: bool,
    /// Memory of each machine in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(64..))]
    memory: u32,
    /// Boot the disk image by UEFI firmware, as boards do. The disk is kept, with keys, data and updates. With
    /// `--cluster` each machine has its own disk
    #[arg(long)]
    disk: bool,
    /// With `--disk`: install this build into the other slot of the existing disk, as an update does
    #[arg(long, requires = "disk")]
    install: bool,
    /// With `--disk`: start with a new disk; the existing one is deleted
    #[arg(long, requires = "disk", conflicts_with = "install")]
    fresh: bool,
    /// Boot a router and N boards with the cabling of the box: N is 4 or 8, at most `boards` of `[cluster]`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    cluster: Option<u8>,
    /// With `--cluster`: connect the router's uplink to the network NAME, which all your boxes with this NAME share
    ///
    /// The first box has the address 198.18.2.1, the next one 198.18.2.2, and so on; a box takes the lowest free
    /// address. Boxes with disks need a clone of the repository each. The network exists until its last box ends. If
    /// the first box ends, another one takes the network over, and programs of `cargo image lan --side outside` have
    /// to be started again.
    #[arg(long, value_name = "NAME", requires = "cluster")]
    outside: Option<OutsideName>,
    /// Build faster, to try a change: Octet's own programs are not optimised, so the image is larger and slower
    ///
    /// Its version ends in `-quick`, and it is built in a folder of its own without a disk image: it cannot be
    /// flashed, signed or bundled. The first quick build of a clone takes about a minute more.
    #[arg(long, conflicts_with = "disk")]
    quick: bool,
    #[command(flatten)]
    build: build::Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    setup::require(&setup::run(args.build.target), args.setup)?;
    let network = BoardNetwork::of(&args.build)?;
    let said = args.cluster.map(|boards| running::cluster::configured_boards(&args.build, boards));
    let said = said.transpose()?;
    let built = build::build(&build::Options { quick: args.quick, ..args.build })?;
    let existing = match (args.install, args.fresh) {
        (true, _) => ExistingDisk::Install,
        (_, true) => ExistingDisk::Replace,
        _ => ExistingDisk::Keep,
    };
    let disk = args.disk.then_some(existing);
    if let (Some((ports, said)), Some(boards)) = (said, args.cluster) {
        let size = MachineSize { ports, boards, memory: args.memory };
        return cluster::run(&built, size, &said, disk, args.outside.as_ref());
    }
    let machine = running::machine(&built, disk, None)?.memory(args.memory).nic(router::BOARD);
    let plug = |machine: &Machine| network.plug(&built, machine, args.disk);
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        run_interactive(&built, machine, plug)
    } else {
        run_until_ready(&built, machine, plug)
    }
}

/// What plugs a machine in.
trait Plug: FnOnce(&Machine) -> miette::Result<Router> {}

impl<T: FnOnce(&Machine) -> miette::Result<Router>> Plug for T {}

/// What a person, or the end of their terminal, ends us by.
const END_SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Says something to a person whose terminal may have gone.
fn print_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The place of what runs, by which `cargo image ctl` finds it; without one it is told of, and runs all the same.
fn register(built: &Built, what: &str, sockets: &Path) -> Option<Registration> {
    let out = built.folder.parent()?;
    match Registration::register(out, what, sockets) {
        Ok(place) => {
            let option = Out::option(out);
            print_line(&format!(
                "machine {}: `cargo image ctl{option}` in another terminal asks it; ctrl-C turns it off",
                place.number
            ));
            Some(place)
        }
        Err(error) => {
            let out = out.display();
            print_line(&format!(
                "warning: `cargo image ctl` does not find it: cannot write {out}/machines: {error}"
            ));
            None
        }
    }
}

/// Waits by `wait`; whoever ends us meanwhile has the machine powered off. A second ctrl-C kills it.
fn wait_or_power_off<T>(machine: &Machine, mut signals: Signals, wait: impl FnOnce() -> T) -> T {
    let handle = signals.handle();
    std::thread::scope(|scope| {
        // A panic of `wait` does not leave the thread waiting for a signal.
        let _closed = CloseOnDrop(handle);
        scope.spawn(|| {
            let mut is_requested = false;
            for signal in signals.forever() {
                if !is_requested {
                    is_requested = true;
                    print_line("\nThe appliance is asked to power off; ctrl-C again kills it.");
                    scope.spawn(move || match machine.power_off(POWER_OFF_TIMEOUT) {
                        // Nobody is left to press it.
                        Err(_) if signal == SIGHUP => drop(machine.kill()),
                        Err(error) => print_line(&format!("{error}\nctrl-C kills it.")),
                        Ok(_) => {}
                    });
                } else if signal != SIGHUP
                    && let Err(error) = machine.kill()
                {
                    print_line(&error.to_string());
                }
            }
        });
        wait()
    })
}

/// Ends who waits for signals, once it goes.
struct CloseOnDrop(Handle);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Shows the console until the machine ends or is asked to.
fn run_interactive(built: &Built, machine: Builder, plug: impl Plug) -> miette::Result<ExitCode> {
    // Before the machine starts: a ctrl-C from now on is the machine's, not ours.
    let signals = Signals::new(END_SIGNALS).into_diagnostic()?;
    let machine = machine
        .unlimited()
        .reboots()
        .on_console(|bytes| {
            // A terminal that has gone away ends us by a signal.
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        })
        .start()
        .into_diagnostic()?;
    let _router = plug(&machine)?;
    let _place = register(built, built.target.name(), machine.folder());
    let exit = wait_or_power_off(&machine, signals, || machine.follow(|| {})).into_diagnostic()?;
    if exit.is_power_off() {
        return Ok(ExitCode::SUCCESS);
    }
    print_line(&format!("The machine ended: {exit}.\n{}", machine.tail(20)));
    Ok(ExitCode::FAILURE)
}

/// Whether the slot has been marked good, or cannot be, and no unit is still on its way to be ready.
fn has_settled(status: &Status) -> bool {
    let slot = status.unit("slot").map(|unit| unit.state);
    // Without a boot loader there is nothing to mark: the unit is a target then.
    matches!(slot, None | Some(UnitState::Exited | UnitState::Ready | UnitState::Failed))
        && status.units.iter().all(|unit| unit.state != UnitState::Starting)
}

/// A unit that the appliance can do without does not work: the box is ready, and not as it was meant to be.
fn unit_failed(failed: &str) -> miette::Report {
    miette::miette!(
        help = "`cargo image run` in a terminal, and `cargo image ctl logs UNIT` in another, show what it said",
        "not every unit runs: {failed}"
    )
}

/// Boots, tells what came up and how long it took, and turns off again.
fn run_until_ready(built: &Built, machine: Builder, plug: impl Plug) -> miette::Result<ExitCode> {
    let signals = Signals::new(END_SIGNALS).into_diagnostic()?;
    let machine = machine.start().into_diagnostic()?;
    let _router = plug(&machine)?;
    let _place = register(built, built.target.name(), machine.folder());
    wait_or_power_off(&machine, signals, || report_and_power_off(&machine))
}

fn report_and_power_off(machine: &Machine) -> miette::Result<ExitCode> {
    let ready = machine.wait_ready(READY_TIMEOUT);
    let took = machine.started().elapsed();
    if let Err(error @ MachineError::Degraded { .. }) = ready {
        if let Ok(status) = machine.status() {
            report::print(&report::units(&status))?;
        }
        return Err(error).into_diagnostic();
    }
    ready.into_diagnostic()?;
    // Only then is the slot marked good, and this is what people want to see.
    let status = machine.wait_status("the slot's verdict", POWER_OFF_TIMEOUT, has_settled);
    let status = status.into_diagnostic()?;
    let boot = machine.boot().into_diagnostic()?;
    let (units, storage) = (report::units(&status), report::storage(&boot));
    let phases = report::phases(&boot, &status, took);
    report::print(&format!("{units}\n{storage}{phases}"))?;
    let exit = machine.power_off(POWER_OFF_TIMEOUT).into_diagnostic()?;
    if exit.is_power_off() {
        report::print("powered off\n")?;
        return report::failed(&status).map_or(Ok(ExitCode::SUCCESS), |it| Err(unit_failed(&it)));
    }
    Err(miette::miette!(
        help = "`poweroff` must end the machine by ACPI; the lines above say what it did instead",
        "the machine did not power off: {exit}\n{}",
        machine.tail(20)
    ))
}
