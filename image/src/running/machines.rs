//! The machines of a box: each is switched on and off by itself, and its cable pulled and plugged.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use miette::{Diagnostic, IntoDiagnostic, miette};
use octet_machine::{Cluster, Exit, Mac, Machine, Node, Socket};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ExistingDisk, folder_of, machine};
use crate::build::Built;

/// What they are, and how many.
#[derive(Debug, Clone, Copy)]
pub struct MachineSize {
    /// The router's ports for boards.
    pub ports: u8,
    /// How many have a board.
    pub boards: u8,
    /// MiB of each machine.
    pub memory: u32,
}

/// The machines. When the value goes, they are killed.
pub struct Machines {
    /// Those that were switched on, and the cables.
    pub cluster: Cluster,
    built: Built,
    size: MachineSize,
    /// The router's card that leads outside.
    uplink: Mac,
    has_disks: bool,
    /// Each has a folder in it.
    folder: PathBuf,
    /// How those have ended that nobody has switched off.
    ended: Mutex<BTreeMap<Node, String>>,
    /// Told of what a machine does by itself, unless all are to end.
    tell: fn(&str),
    ending: AtomicBool,
}

/// What can be done to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerAction {
    /// Nothing: one wants to see how all are.
    List,
    On(u8),
    Off(u8),
    /// Starts it again at once, as its reset button would.
    Reset(u8),
    /// Plugs its cable into a port of the router, its own one unless said.
    Plug(u8, Option<u8>),
    Unplug(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRow {
    /// `router`, or `board-N`.
    pub node: String,
    /// `on`, `off`, or how it has ended.
    pub power: String,
    /// Where its cable leads to.
    pub cable: String,
}

/// How a machine has ended that was asked to power off.
const POWERED_OFF: &str = "powered off";

#[derive(Debug, thiserror::Error, Diagnostic)]
enum PowerError {
    #[error("there is no board {0}: the router has ports for boards 1 to {1}")]
    NoBoard(u8, u8),
    #[error("there is no port {0}: the router has ports 1 to {1} for boards")]
    NoPort(u8, u8),
    #[error("{0} is on")]
    #[diagnostic(help(
        "`cargo image box reset` starts it again at once, `cargo image ctl reboot` in order"
    ))]
    On(Node),
    #[error("{0} is off")]
    #[diagnostic(help("`cargo image box on` switches it on"))]
    Off(Node),
    #[error("the router is at the other end of every cable")]
    #[diagnostic(help("say the number of the board whose cable is meant"))]
    Router,
}

impl Machines {
    /// None of them is on. What they do by themselves is told to `tell`.
    pub fn new(
        built: &Built,
        size: MachineSize,
        uplink: Mac,
        has_disks: bool,
        folder: &Path,
        tell: fn(&str),
    ) -> miette::Result<Arc<Self>> {
        let cluster = Cluster::new(size.ports, false).into_diagnostic()?;
        let (built, folder) = (built.clone(), folder.to_owned());
        let ended = Mutex::default();
        let ending = AtomicBool::new(false);
        Ok(Arc::new(Self { cluster, built, size, uplink, has_disks, folder, ended, tell, ending }))
    }

    /// Does it. Returns how all are then.
    ///
    /// # Errors
    /// It cannot be done, or the host refuses.
    pub fn perform(self: &Arc<Self>, action: PowerAction) -> miette::Result<Vec<MachineRow>> {
        match action {
            PowerAction::List => {}
            PowerAction::On(node) => self.switch_on(self.node(node)?, ExistingDisk::Keep)?,
            PowerAction::Off(node) => {
                let node = self.node(node)?;
                self.running(node)?;
                self.cluster.cut_power(node).into_diagnostic()?;
            }
            PowerAction::Reset(node) => {
                let machine = self.running(self.node(node)?)?;
                machine.qmp("system_reset", json!({})).into_diagnostic()?;
            }
            PowerAction::Plug(board, port) => {
                let port = port.unwrap_or(board);
                if !(1..=self.size.ports).contains(&port) {
                    return Err(PowerError::NoPort(port, self.size.ports).into());
                }
                let board = self.board(board)?;
                self.cluster.plug(Socket::Router(port), board).into_diagnostic()?;
            }
            PowerAction::Unplug(board) => {
                self.cluster.unplug(self.board(board)?).into_diagnostic()?;
            }
        }
        Ok(self.rows())
    }

    /// Switches on a machine that is off: one that has powered itself off, too, and a board that was not there before.
    /// If they have disks, one that is there is kept, unless `existing` says otherwise.
    ///
    /// # Errors
    /// It is on, or does not start.
    pub fn switch_on(self: &Arc<Self>, node: Node, existing: ExistingDisk) -> miette::Result<()> {
        if self.running(node).is_ok() {
            return Err(PowerError::On(node).into());
        }
        self.cluster.cut_power(node).into_diagnostic()?;
        self.ended().remove(&node);
        let own = folder_of(&self.folder, node);
        match fs::create_dir(&own) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.into_diagnostic()?,
        }
        let disk = self.has_disks.then_some(existing);
        let builder = machine(&self.built, disk, Some(node))?.memory(self.size.memory);
        let builder = builder.folder(&own).reboots();
        let machine = match node {
            Node::Router => self.cluster.power_on_as(node, self.uplink, builder),
            Node::Board(_) => self.cluster.power_on(node, builder),
        };
        let machine = machine.into_diagnostic()?;
        let (all, tell) = (Arc::downgrade(self), self.tell);
        std::thread::spawn(move || watch_exit(node, &machine, &all, tell));
        Ok(())
    }

    /// Powers all off that are on, boards first: the router is whom they reach each other by.
    ///
    /// # Errors
    /// One does not power off within this time, or had ended in another way.
    pub fn power_off(&self, within: Duration) -> miette::Result<()> {
        self.ending.store(true, Ordering::SeqCst);
        let ended = self.ended().clone();
        for (node, machine) in self.cluster.nodes().into_iter().rev() {
            match ended.get(&node) {
                Some(how) if how == POWERED_OFF => continue,
                Some(how) => return Err(miette!("{node} had ended: {how}")),
                None => {}
            }
            let exit = machine.power_off(within).map_err(|error| miette!("{node}: {error}"))?;
            if !exit.is_power_off() {
                return Err(miette!("{node} did not power off: {exit}\n{}", machine.tail(20)));
            }
        }
        Ok(())
    }

    fn rows(&self) -> Vec<MachineRow> {
        let ended = self.ended().clone();
        let nodes = [Node::Router].into_iter().chain((1..=self.size.ports).map(Node::Board));
        let row = |node| {
            let cable = match node {
                Node::Router => "uplink and lan: devices of this computer".to_owned(),
                Node::Board(number) => match self.cluster.peer_of(Socket::Board(number)) {
                    Some(Socket::Router(port)) => format!("port {port}"),
                    _ => "unplugged".to_owned(),
                },
            };
            let power = match (self.cluster.node(node), ended.get(&node)) {
                (None, _) => "off".to_owned(),
                (Some(_), Some(how)) => how.clone(),
                (Some(_), None) => "on".to_owned(),
            };
            // A port's place for a board that was never there is not of interest.
            let is_there = folder_of(&self.folder, node).is_dir();
            is_there.then(|| MachineRow { node: node.to_string(), power, cable })
        };
        nodes.filter_map(row).collect()
    }

    /// The router is 0.
    fn node(&self, number: u8) -> Result<Node, PowerError> {
        match number {
            0 => Ok(Node::Router),
            number if number <= self.size.ports => Ok(Node::Board(number)),
            _ => Err(PowerError::NoBoard(number, self.size.ports)),
        }
    }

    /// The socket of a board's card.
    fn board(&self, number: u8) -> Result<Socket, PowerError> {
        match self.node(number)? {
            Node::Router => Err(PowerError::Router),
            Node::Board(number) => Ok(Socket::Board(number)),
        }
    }

    fn running(&self, node: Node) -> Result<Arc<Machine>, PowerError> {
        let has_ended = self.ended().contains_key(&node);
        self.cluster.node(node).filter(|_| !has_ended).ok_or(PowerError::Off(node))
    }

    fn ended(&self) -> MutexGuard<'_, BTreeMap<Node, String>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        // Those who follow them keep them, and end with them.
        for (_, machine) in self.cluster.nodes() {
            let _ = machine.kill();
        }
    }
}

/// Follows a machine to its end, and tells of what nobody has asked for here.
fn watch_exit(node: Node, machine: &Arc<Machine>, all: &Weak<Machines>, tell: fn(&str)) {
    let exit = machine.follow(|| tell(&format!("{node} reboots")));
    let Some(all) = all.upgrade() else { return };
    let is_it = |it: Arc<Machine>| Arc::ptr_eq(&it, machine);
    if !all.cluster.node(node).is_some_and(is_it) {
        return;
    }
    let how = match &exit {
        Ok(exit) if exit.is_power_off() => POWERED_OFF.to_owned(),
        Ok(exit) => exit.to_string(),
        Err(error) => error.to_string(),
    };
    all.ended().insert(node, how.clone());
    if all.ending.load(Ordering::SeqCst) {
        return;
    }
    if exit.as_ref().is_ok_and(Exit::is_power_off) {
        tell(&format!("{node} has powered off"));
    } else {
        tell(&format!("{node} has ended: {how}\n{}", machine.tail(20)));
    }
}
