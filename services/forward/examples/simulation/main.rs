//! Simulates a network of nodes that run the product's own topology, announcements, graph and engine, in
//! virtual time, and prints what came of it as JSON.
//!
//! ```text
//! simulation boxes|plane NODES [ANNOUNCE [ROOM [LOST]]]
//! ```
//!
//! `ANNOUNCE` of the nodes announce themselves, each has room for `ROOM` others, and of a thousand messages
//! `LOST` do not come. Without: all, all, none.

mod flood;
mod nodes;
mod paths;
mod run;
mod set_up;
mod world;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use serde_json::Value;

use run::Asked;
use world::Graph;

const USAGE: &str = "simulation boxes|plane NODES [ANNOUNCE [ROOM [LOST]]]";

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    match simulate(&words) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn simulate(words: &[String]) -> Result<Value, Box<dyn Error>> {
    let [graph, numbers @ ..] = words else { return Err(USAGE.into()) };
    let graph = match graph.as_str() {
        "boxes" => Graph::Boxes,
        "plane" => Graph::Plane,
        _ => return Err(USAGE.into()),
    };
    let numbers: Vec<usize> = numbers.iter().map(|it| it.parse()).collect::<Result<_, _>>()?;
    let nodes = *numbers.first().filter(|it| **it > 0).ok_or(USAGE)?;
    let or = |at: usize, all| numbers.get(at).copied().unwrap_or(all);
    let (announce, room) = (or(1, nodes), or(2, nodes));
    run::run(&Asked { graph, nodes, announce, room, lost: u32::try_from(or(3, 0))? })
}
