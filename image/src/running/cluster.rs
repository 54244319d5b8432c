//! A router and its boards, wired as in the box, from their power-on until they are one.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic, miette};
use octet_appliance::Board;
use octet_machine::panel::hub::Hub;
use octet_machine::panel::outside::{self, Outside};
use octet_machine::{Cluster, Machine, Node, Socket, State, Status};

pub use super::machines::MachineSize;
use super::machines::Machines;
use super::membership::{self, BoardStatus};
use super::outside::{OutsideName, OutsideSlot};
use super::progress::{BootPhase, BootProgress};
use super::services::{self, ServiceRow};
use super::{ExistingDisk, Hubs, disk, folder_of, socket};
use crate::appliance_file::ApplianceFile;
use crate::build::{self, Built, Options};

/// From QEMU's start until a machine of many is ready: they share the host's processors.
const READY_TIMEOUT: Duration = Duration::from_secs(300);

/// At the patch panel: the hub of the lan, and the network outside.
const LAN: u8 = 0;
const OUTSIDE: u8 = 1;

#[derive(Debug, thiserror::Error, Diagnostic)]
enum NoCluster {
    #[error("{0} is about one board")]
    #[diagnostic(help("add `[cluster]` with `boards = 4`, 8, 16 or 32"))]
    OneBoard(String),
    #[error("{file} is about a box of {there} boards, not {wanted}")]
    #[diagnostic(help("see `boards` in [cluster]"))]
    TooMany { file: String, there: u8, wanted: u8 },
}

/// How many boards the appliance's file says there are, and what it says of single ones.
///
/// # Errors
/// The file is wrong, or has fewer than `boards`.
pub fn configured_boards(options: &Options, boards: u8) -> miette::Result<(u8, Vec<Board>)> {
    let path = options.appliance_file(&build::workspace()?);
    let ApplianceFile { file, appliance, .. } = ApplianceFile::read(&path)?;
    let cluster = appliance.cluster.ok_or_else(|| NoCluster::OneBoard(file.clone()))?;
    if cluster.boards < boards {
        return Err(NoCluster::TooMany { file, there: cluster.boards, wanted: boards }.into());
    }
    Ok((cluster.boards, appliance.board))
}

/// A box that is whole. Its machines end with the value.
pub struct RunningBox {
    pub machines: Arc<Machines>,
    /// Where devices of the lan are plugged in.
    pub lan: Hub,
    /// What the router's uplink leads to, and the box's place there, if others are in it.
    pub outside: (Outside, Option<OutsideSlot>),
    pub rows: Vec<ServiceRow>,
    /// The number of the map that all have.
    pub sequence: u64,
    /// What the router says of each board.
    pub board_status: Vec<BoardStatus>,
    /// From the first one's start.
    pub boot_time: Duration,
}

/// Boots a box, each machine from a disk of its own, if they have one; what they need is in `folder`. Its uplink is in a
/// network of its own, unless a `network` is named. It is one when what `boards` puts on single boards runs there, too.
///
/// # Errors
/// It does not become one in time.
pub fn start(
    built: &Built,
    size: MachineSize,
    boards: &[Board],
    disks: Option<ExistingDisk>,
    network: Option<&OutsideName>,
    folder: &Path,
) -> miette::Result<RunningBox> {
    let has_disks = disks.is_some();
    let router = folder_of(folder, Node::Router);
    let shared = network.map(|name| OutsideSlot::join(name, &router)).transpose()?;
    let number = shared.as_ref().map_or(1, |shared| shared.number);
    let uplink = outside::uplink(number);
    let tell = |text: &str| eprintln!("{text}");
    let machines = Machines::new(built, size, uplink, has_disks, folder, tell)?;
    let (began, progress) = (Instant::now(), BootProgress::new());
    fs::create_dir(&router).into_diagnostic()?;
    let Hubs { lan, outside, config } = Hubs::of(&router);
    let cluster = &machines.cluster;
    let lan = cluster.attach_hub(LAN, Socket::Router(size.ports + 1), &lan).into_diagnostic()?;
    if let (Some(name), Some(shared)) = (network, &shared) {
        symlink(&shared.wire, &outside).into_diagnostic()?;
        let address = outside::address(uplink).unwrap_or(Ipv4Addr::UNSPECIFIED);
        eprintln!("{:10} {address} in the network `{name}`", "outside");
    }
    let port = cluster.attach(OUTSIDE, Socket::Router(0)).into_diagnostic()?;
    let lost = |error| eprintln!("The router's uplink leads nowhere any more: {error}");
    let wire = shared.as_ref().map_or(&outside, |shared| &shared.wire);
    let outside = (Outside::join(wire, port, lost).into_diagnostic()?, shared);
    for node in [Node::Router].into_iter().chain((1..=size.boards).map(Node::Board)) {
        machines.switch_on(node, disks.unwrap_or_default())?;
        progress.show(node, BootPhase::Kernel, "");
    }
    disk::make_config(built, has_disks, true, &config).into_diagnostic()?;
    wait_ready(cluster, began + READY_TIMEOUT, &progress)?;
    let (sequence, board_status) =
        membership::wait(cluster, size.boards, began + READY_TIMEOUT, &progress)?;
    let rows = services::wait(cluster, boards, began + READY_TIMEOUT, &progress)?;
    socket::serve(&socket::path(&router), &machines).into_diagnostic()?;
    Ok(RunningBox {
        machines,
        lan,
        outside,
        rows,
        sequence,
        board_status,
        boot_time: began.elapsed(),
    })
}

/// Waits for each machine to be ready, and each board to know which it is.
fn wait_ready(cluster: &Cluster, deadline: Instant, progress: &BootProgress) -> miette::Result<()> {
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let wait = |(node, machine): (Node, Arc<Machine>)| {
            let failed = &failed;
            scope.spawn(move || {
                let ready = wait_one(node, &machine, deadline, failed, progress);
                failed.fetch_or(ready.is_err(), Ordering::Relaxed);
                ready
            })
        };
        let waits: Vec<_> = cluster.nodes().into_iter().map(wait).collect();
        let ended = |_| Err(miette!("a thread has ended early"));
        waits.into_iter().try_for_each(|wait| wait.join().unwrap_or_else(ended))
    })
}

fn wait_one(
    node: Node,
    machine: &Machine,
    deadline: Instant,
    failed: &AtomicBool,
    progress: &BootProgress,
) -> miette::Result<()> {
    let number = match node {
        Node::Router => 0,
        Node::Board(number) => u16::from(number),
    };
    let settled = |status: &Status| {
        progress.show_status(node, status);
        match status.state {
            // Nobody waits for the others of a box that will not be one.
            _ if failed.load(Ordering::Relaxed) => true,
            State::Ready => status.board == Some(number),
            state => state == State::Degraded,
        }
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let status = machine.wait_status("ready, and numbered by its port", left, settled);
    let status = status.map_err(|error| miette!("{node}: {error}"))?;
    if status.state == State::Degraded {
        let reason = status.reason.unwrap_or_default();
        return Err(miette!("{node} is degraded: {reason}\n{}", machine.tail(20)));
    }
    machine.release_control();
    Ok(())
}
