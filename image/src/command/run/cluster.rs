//! `cargo image run --cluster N`: a router and its boards, wired as in the box.

use std::io::IsTerminal;
use std::process::ExitCode;

use miette::IntoDiagnostic;
use octet_appliance::Board;
use octet_machine::Node;
use signal_hook::iterator::Signals;

use super::{END_SIGNALS, POWER_OFF_TIMEOUT, print_line, register, unit_failed};
use crate::build::Built;
use crate::report;
use crate::running::cluster::{self, MachineSize, RunningBox};
use crate::running::outside::OutsideName;
use crate::running::{ExistingDisk, Out, SOCKETS, folder_of, membership};

/// Boots a box of the `configured` boards, each machine from a disk of its own, if they have one, in the `network` of
/// other boxes, if one is named.
pub fn run(
    built: &Built,
    size: MachineSize,
    configured: &[Board],
    disks: Option<ExistingDisk>,
    network: Option<&OutsideName>,
) -> miette::Result<ExitCode> {
    let mut signals = Signals::new(END_SIGNALS).into_diagnostic()?;
    let folder = tempfile::Builder::new().prefix(SOCKETS).tempdir().into_diagnostic()?;
    // Others find the router while it starts.
    let router = folder_of(folder.path(), Node::Router);
    let what = format!("{}, a router and {} boards", built.target.name(), size.boards);
    let _place = register(built, &what, &router);
    let RunningBox {
        machines,
        lan: _lan,
        outside: _outside,
        rows,
        sequence,
        board_status,
        boot_time: took,
    } = cluster::start(built, size, configured, disks, network, folder.path())?;
    let (table, took) = (membership::table(&rows, sequence, &board_status), took.as_secs_f64());
    report::print(&format!(
        "{table}{} machines are one box {took:.3} s after the first one's start\n",
        rows.len()
    ))?;
    let is_in_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if is_in_terminal {
        let option = built.folder.parent().map(Out::option).unwrap_or_default();
        print_line(&format!(
            "In another terminal `cargo image ctl{option} --board N` asks board N, `cargo image box{option} off N` takes \
             its power away, and `cargo image lan{option}` is a device in the lan, with `--side outside` at the uplink; \
             ctrl-C turns all off"
        ));
        signals.forever().next();
    }
    machines.power_off(POWER_OFF_TIMEOUT)?;
    // Whoever has closed the terminal does not read it: that is another error than a pipe's.
    let _ = report::print("powered off\n");
    let failed = rows.iter().filter_map(|row| Some((row.node, report::failed(&row.status)?)));
    let failed: Vec<_> = failed.map(|(node, units)| format!("{node}: {units}")).collect();
    match failed.is_empty() || is_in_terminal {
        true => Ok(ExitCode::SUCCESS),
        false => Err(unit_failed(&failed.join("; "))),
    }
}
