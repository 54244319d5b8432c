//! Measures how long a map takes to all boards of a box on this computer, for
//! `cargo image bench --only cluster`, which compiles it as what ships. Prints JSON; times are in
//! nanoseconds.
//!
//! ```text
//! spread FOLDER BOARDS ROUNDS     a coordinator and so many boards, each a process; so many changes
//! ```
//!
//! `FOLDER` is for the nodes' own folders and sockets: its path is short, and it is in memory, since boards
//! have a flash each. All that a map goes by is what ships: the daemon, TLS, its socket. Only PID 1, identity
//! and config are played, by this process.

mod bare;
mod node;
mod nodes;
mod stand_in;

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use bare::Bare;
use nodes::Nodes;

type Failed = Box<dyn Error>;

/// Nothing here takes that long, however slow the machine.
const TIMEOUT: Duration = Duration::from_secs(120);

const USAGE: &str = "spread FOLDER BOARDS ROUNDS";

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(times) => {
            if !times.is_null() {
                println!("{times}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: Vec<String>) -> Result<Value, Failed> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [node::ROLE, folder, number, port] => {
            node::run(Path::new(folder), number.parse()?, port.parse()?)
        }
        [bare::ROLE, port, length] => bare::answer(port.parse()?, length.parse()?),
        [folder, boards, rounds] => measure(Path::new(folder), boards.parse()?, rounds.parse()?),
        _ => Err(USAGE.into()),
    }
}

/// Both in turn, so that a busy moment of the computer meets each.
fn measure(folder: &Path, boards: u8, rounds: u32) -> Result<Value, Failed> {
    let nodes = Nodes::start(folder, boards)?;
    let bytes = nodes.whole()?;
    let mut bare = Bare::start(boards, bytes)?;
    let (mut maps, mut beside) = (vec![], vec![]);
    for round in 0..rounds {
        let ns = |took: Duration| took.as_nanos() as u64;
        maps.push(ns(nodes.change(round)?));
        beside.push(ns(bare.round()?));
    }
    Ok(json!({ "bytes": bytes, "maps": maps, "bare": beside }))
}
