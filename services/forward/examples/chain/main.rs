//! Four nodes in a row, each in a network of its own, and all ways by which the last one can be reached from the
//! first: for `cargo image bench --only paths`, which compiles it as what ships and has it run as a unit. What
//! forward's daemons tell their kernels this program tells all four, by the same code.
//!
//! | verb | what it does |
//! |---|---|
//! | `begin WAY` | has the programs of a way run, if it is one that needs some |
//! | `carry WAY BYTES` | answers when so many bytes have come to the last node, by TCP |
//! | `end` | ends these programs |

mod carry;
mod node;
mod overlays;
mod ways;
mod wires;

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use octet_node::control::{Failure, FailureCode, Permission, Verb};
use octet_node::serve::threads::{ConnectionLimits, Verbs, serve};
use octet_node::serve::verbs::{VerbArgs, integer, nothing, text};
use octet_node::{Callers, inherited};
use serde_json::Value;

use node::Node;
use overlays::Overlay;
use ways::Way;

type Failed = Box<dyn Error + Send + Sync>;

/// Only one is ever there: PID 1, for the benchmark.
const CLIENTS: ConnectionLimits = ConnectionLimits { all: 4, for_operators: 2, of_one: 2 };

/// How many nodes there are: as many links as hops, of which the last one is the end.
const NODES: usize = 4;

/// The first and the last one.
const ENDS: [usize; 2] = [0, NODES - 1];

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Infallible, Failed> {
    let (_, socket) = inherited().pop().ok_or("PID 1 has passed no socket")?;
    let (listener, callers) = (UnixListener::from(socket), Callers::from_environment());
    Ok(serve(&listener, &callers, CLIENTS, verbs(), Mutex::default())?)
}

/// The nodes, once somebody has asked for a way.
type Made = Mutex<Option<Chain>>;

fn verbs() -> Verbs<Made> {
    use Permission::Operate;

    Verbs::default()
        .with(Verb::new("begin", Operate, "Has a way's programs run"), way(), |made, _, way| {
            with(made, |chain| chain.begin(way))
        })
        .with(
            Verb::new("carry", Operate, "Answers when so many bytes have come to the last node"),
            way().and(integer("bytes", "How many")),
            |made, _, (way, bytes)| with(made, |chain| chain.carry(way, bytes)),
        )
        .with(Verb::new("end", Operate, "Ends these programs"), nothing(), |made, _, ()| {
            with(made, |chain| {
                chain.overlay = None;
                Ok(())
            })
        })
}

fn way() -> VerbArgs<Way> {
    text("way", "By what")
        .parse(|name| Way::named(&name).ok_or_else(|| failed(&format!("there is no way `{name}`"))))
}

fn with(
    made: &Made,
    what: impl FnOnce(&mut Chain) -> Result<(), Failed>,
) -> Result<Value, Failure> {
    let mut chain = made.lock().unwrap_or_else(PoisonError::into_inner);
    let done = match &mut *chain {
        Some(chain) => what(chain),
        empty => Chain::make().and_then(|made| what(empty.insert(made))),
    };
    done.map(|()| Value::Null).map_err(|error| failed(&error.to_string()))
}

fn failed(why: &str) -> Failure {
    Failure::new(FailureCode::Failed, why, "see services/forward/examples/chain for what it does")
}

/// The nodes, and all that they are to each other.
struct Chain {
    nodes: [Node; NODES],
    overlay: Option<Overlay>,
}

impl Chain {
    /// Makes them. All that the kernel does by itself is there then.
    fn make() -> Result<Self, Failed> {
        let nodes = [Node::new()?, Node::new()?, Node::new()?, Node::new()?];
        wires::lay(&nodes)?;
        for (number, node) in nodes.iter().enumerate() {
            node.run(move |here| here.runtime.block_on(ways::make(here, number)))?;
        }
        nodes[ENDS[1]].run(|_| carry::listen())?;
        Ok(Self { nodes, overlay: None })
    }

    fn begin(&mut self, way: Way) -> Result<(), Failed> {
        // The one before ends first: it may have the same devices.
        self.overlay = None;
        self.overlay = match way {
            Way::Yggdrasil => Some(Overlay::yggdrasil(&self.nodes)?),
            Way::Nebula => Some(Overlay::nebula(&self.nodes)?),
            _ => None,
        };
        Ok(())
    }

    fn carry(&self, way: Way, bytes: u64) -> Result<(), Failed> {
        let overlay = || self.overlay.as_ref().map(|overlay| overlay.end);
        let end: IpAddr = way.end().or_else(overlay).ok_or("it has not begun")?;
        self.nodes[ENDS[0]].run(move |_| carry::to(end, bytes))
    }
}
