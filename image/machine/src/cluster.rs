//! A box of many machines: a router, its boards, and the cables between them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::builder::Builder;
use crate::error::MachineError;
use crate::machine::Machine;
use crate::panel::hub::Hub;
use crate::panel::{FrameAction, Mac, Patch, Port};
use crate::slot::Slot;

/// How long a socket is empty at least when its cable is changed.
const REPLUG_DELAY: Duration = Duration::from_millis(500);

/// One of the box's machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    Router,
    /// A board, by a number of its own: which board of the box it becomes is for its port to say.
    Board(u8),
}

/// Where a cable can be plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Socket {
    /// The router's card of this number: 0 leads out, 1 and the next to the boards, the one after
    /// them to the owner's devices.
    Router(u8),
    /// The one card of a board.
    Board(u8),
    /// Somebody else's, by any number.
    Other(u8),
}

pub struct Cluster {
    boards: u8,
    machines: Mutex<BTreeMap<Node, Arc<Machine>>>,
    /// Machines that could be cut off while they have no cable.
    panel: Patch<Socket>,
    _slot: Option<Slot>,
}

impl Cluster {
    /// A box of `boards`, none of which is powered on. With `limited` it waits for a slot, one for the whole
    /// box: its machines wait for each other most of the time.
    pub fn new(boards: u8, limited: bool) -> Result<Self, MachineError> {
        let slot = limited.then(Slot::take).transpose();
        let slot = slot.map_err(MachineError::host("cannot take a slot"))?;
        let panel = Patch::default();
        for number in 1..=boards {
            panel.plug(Socket::Router(number), Socket::Board(number));
        }
        Ok(Self { boards, machines: Mutex::default(), panel, _slot: slot })
    }

    /// Gives `builder` the cards of `node`, and powers it on.
    pub fn power_on(&self, node: Node, builder: Builder) -> Result<Arc<Machine>, MachineError> {
        let mac = match node {
            Node::Router => router_card(0),
            Node::Board(number) => Mac::number(number),
        };
        self.power_on_as(node, mac, builder)
    }

    /// The same with another Ethernet address of a board's card, or of the router's card that leads out.
    pub fn power_on_as(
        &self,
        node: Node,
        mac: Mac,
        builder: Builder,
    ) -> Result<Arc<Machine>, MachineError> {
        let builder = match node {
            Node::Router => {
                (1..=self.boards + 1).fold(builder.nic(mac), |it, card| it.nic(router_card(card)))
            }
            Node::Board(_) => builder.nic(mac),
        };
        let machine = Arc::new(builder.unlimited().start()?);
        for (card, socket) in self.sockets(node).into_iter().enumerate() {
            if let Some(port) = machine.port(card) {
                self.panel.insert(socket, port);
            }
        }
        self.machines().insert(node, Arc::clone(&machine));
        // Who has no cable sees that, and so do those at the other end.
        for socket in self.sockets(node) {
            self.update_carrier(socket)?;
            if let Some(other) = self.panel.other_end(socket) {
                self.update_carrier(other)?;
            }
        }
        Ok(machine)
    }

    /// The machine of `node`, if it is on.
    pub fn node(&self, node: Node) -> Option<Arc<Machine>> {
        self.machines().get(&node).cloned()
    }

    /// All machines that are on.
    pub fn nodes(&self) -> Vec<(Node, Arc<Machine>)> {
        self.machines().iter().map(|(node, machine)| (*node, Arc::clone(machine))).collect()
    }

    /// Ends the machine of `node` at once, as without power.
    pub fn cut_power(&self, node: Node) -> Result<(), MachineError> {
        let machine = self.machines().remove(&node);
        for socket in self.sockets(node) {
            self.panel.remove(socket);
        }
        if let Some(machine) = machine {
            machine.kill()?;
        }
        for socket in self.sockets(node) {
            if let Some(other) = self.panel.other_end(socket) {
                self.update_carrier(other)?;
            }
        }
        Ok(())
    }

    /// Plugs a cable between two sockets; what was in one of them is pulled.
    ///
    /// # Errors
    /// A machine does not take it.
    pub fn plug(&self, one: Socket, other: Socket) -> Result<(), MachineError> {
        let was_plugged = [one, other].map(|socket| self.panel.other_end(socket).is_some());
        self.unplug(one)?;
        self.unplug(other)?;
        if was_plugged != [false; 2] {
            // As long as a hand takes at least: a card that is told of both at once sees neither.
            thread::sleep(REPLUG_DELAY);
        }
        self.panel.plug(one, other);
        self.update_carrier(one)?;
        self.update_carrier(other)
    }

    /// Pulls the cable in `socket`.
    ///
    /// # Errors
    /// A machine does not take it.
    pub fn unplug(&self, socket: Socket) -> Result<(), MachineError> {
        let other = self.panel.unplug(socket);
        for socket in [Some(socket), other].into_iter().flatten() {
            self.update_carrier(socket)?;
        }
        Ok(())
    }

    /// What is at the other end of the cable in `socket`.
    pub fn peer_of(&self, socket: Socket) -> Option<Socket> {
        self.panel.other_end(socket)
    }

    /// Plugs what the test is itself into a socket of the router's or a board's, by the number `number`.
    ///
    /// # Errors
    /// The host refuses, or a machine does not take it.
    pub fn attach(&self, number: u8, at: Socket) -> Result<Port, MachineError> {
        let (end, port) = Port::pair().map_err(MachineError::host("cannot make a wire"))?;
        self.panel.insert(Socket::Other(number), port);
        self.plug(Socket::Other(number), at)?;
        Ok(end)
    }

    /// Plugs a hub, by the number `number`, into a socket of the router's or a board's: programs of this host that
    /// [join](crate::panel::hub::join) it at `path` are devices there, until the value goes.
    ///
    /// # Errors
    /// The host refuses, or a machine does not take it.
    pub fn attach_hub(&self, number: u8, at: Socket, path: &Path) -> Result<Hub, MachineError> {
        let listening = Hub::listen(path);
        let cannot = || format!("cannot listen at {}", path.display());
        let (hub, port) = listening.map_err(MachineError::host(cannot()))?;
        self.panel.insert(Socket::Other(number), port);
        self.plug(Socket::Other(number), at)?;
        Ok(hub)
    }

    /// Has `frame` go by as if it had come from `socket`.
    pub fn inject(&self, socket: Socket, frame: &[u8]) {
        self.panel.inject(socket, frame);
    }

    /// Has `watch` see every frame that goes by, and say what becomes of it.
    pub fn watch(&self, watch: impl FnMut(Socket, &[u8]) -> FrameAction + Send + 'static) {
        self.panel.watch(watch);
    }

    /// Has the machine at `socket` see whether there is anybody at the other end.
    fn update_carrier(&self, socket: Socket) -> Result<(), MachineError> {
        let (node, card) = match socket {
            Socket::Router(card) => (Node::Router, card),
            Socket::Board(number) => (Node::Board(number), 0),
            Socket::Other(_) => return Ok(()),
        };
        let Some(machine) = self.node(node) else { return Ok(()) };
        let up = self.panel.other_end(socket).is_some_and(|other| match other {
            Socket::Router(_) => self.node(Node::Router).is_some(),
            Socket::Board(number) => self.node(Node::Board(number)).is_some(),
            Socket::Other(_) => true,
        });
        machine.qmp("set_link", json!({ "name": format!("wire{card}"), "up": up })).map(drop)
    }

    fn sockets(&self, node: Node) -> Vec<Socket> {
        match node {
            Node::Router => (0..=self.boards + 1).map(Socket::Router).collect(),
            Node::Board(number) => vec![Socket::Board(number)],
        }
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<Node, Arc<Machine>>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The router's card `number`; boards have the first numbers.
pub fn router_card(number: u8) -> Mac {
    Mac::number(100 + number)
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router => f.write_str("router"),
            Self::Board(number) => write!(f, "board-{number}"),
        }
    }
}
