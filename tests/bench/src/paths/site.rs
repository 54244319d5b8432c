//! A box whose boards are neighbours of each other, and run what ships.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic, miette};
use octet_machine::{Cluster, Machine, Node, Tail};
use serde_json::{Value, json};
use tempfile::TempDir;

use octet_image::build::{self, Options};
use octet_image::cluster::{self, MachineSize, RunningBox};

/// Boards that are on: the source, the end, and three relays.
pub const BOARDS: u8 = 5;

/// MiB of each machine.
const MEMORY: u32 = 512;

/// No link takes this long to be up, and no node to be known, however busy the host.
const LINKED: Duration = Duration::from_secs(180);

/// The pause between two looks.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// No path that was dropped is there for this long, and the pause between two looks for it.
const DROPPED: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(50);

/// The boards are no neighbours.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("board {board} has not {BOARDS} boards to set paths up with: {links}\n{tail}")]
#[diagnostic(help("appliance.toml needs a line for forward: see docs/forwarding.md"))]
struct NoNeighbours {
    board: u8,
    links: Value,
    tail: Tail,
}

pub struct Site {
    together: RunningBox,
    // The machines' sockets are in it.
    _folder: TempDir,
}

impl Site {
    /// Powers it on, and waits until each board has links to all others and knows them.
    pub fn start(options: &Options) -> miette::Result<Self> {
        let (ports, said) = cluster::configured_boards(options, BOARDS)?;
        let built = build::build(options)?;
        let folder = tempfile::Builder::new().prefix("octet-").tempdir().into_diagnostic()?;
        let size = MachineSize { ports, boards: BOARDS, memory: MEMORY };
        let together = cluster::start(&built, size, &said, None, None, folder.path())?;
        let site = Self { together, _folder: folder };
        site.wait_linked()?;
        Ok(site)
    }

    /// Waits until each board has links to all others and knows them.
    pub fn wait_linked(&self) -> miette::Result<()> {
        let deadline = Instant::now() + LINKED;
        (1..=BOARDS).try_for_each(|board| self.wait(board, deadline))
    }

    pub fn cluster(&self) -> &Cluster {
        &self.together.machines.cluster
    }

    fn wait(&self, board: u8, deadline: Instant) -> miette::Result<()> {
        loop {
            let links = self.ask(board, "links", json!({}))?;
            let up = links.as_array().into_iter().flatten().filter(|link| link["up"] == true);
            let up = up.count() == usize::from(BOARDS) - 1;
            if up && self.ask(board, "status", json!({}))?["nodes"] == BOARDS {
                return Ok(());
            }
            if Instant::now() > deadline {
                let tail = self.machine(board)?.tail(20);
                return Err(NoNeighbours { board, links, tail }.into());
            }
            sleep(RETRY_DELAY);
        }
    }

    /// Waits until no board has anything of a path of another one.
    pub fn wait_forgotten(&self) -> miette::Result<()> {
        let deadline = Instant::now() + DROPPED;
        for board in 1..=BOARDS {
            while self.ask(board, "status", json!({}))?["relayed"] != 0 {
                if Instant::now() > deadline {
                    return Err(miette!("board {board} still has a path that was dropped"));
                }
                sleep(SOON);
            }
        }
        Ok(())
    }

    /// The machine of a board.
    pub fn machine(&self, board: u8) -> miette::Result<Arc<Machine>> {
        let machine = self.together.machines.cluster.node(Node::Board(board));
        machine.ok_or_else(|| miette!("board {board} is off"))
    }

    /// Asks a board's `forward`.
    pub fn ask(&self, board: u8, verb: &str, args: Value) -> miette::Result<Value> {
        self.machine(board)?.call_unit("forward", verb, args).into_diagnostic()
    }

    /// The same, and how long that took.
    pub fn timed(&self, board: u8, verb: &str, args: Value) -> miette::Result<(Value, Duration)> {
        let machine = self.machine(board)?;
        let began = Instant::now();
        let said = machine.call_unit("forward", verb, args).into_diagnostic()?;
        Ok((said, began.elapsed()))
    }
}
