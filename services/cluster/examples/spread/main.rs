//! Benchmarks the distribution of a map to all boards of a box on this machine, for `cargo image
//! bench --only cluster`, which compiles it as the release is compiled. It prints JSON; times are
//! in nanoseconds.
//!
//! ```text
//! spread FOLDER BOARDS ROUNDS
//! ```
//!
//! It starts a coordinator and BOARDS boards, each a process, and makes ROUNDS changes of the map.
//! `FOLDER` is for the nodes' folders and sockets: its path must be short, and it should be in
//! memory, because real boards have a flash each. The code under test is that of the release: the
//! daemon, TLS, and its socket. Only PID 1, identity and config are simulated, by this process.

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

/// No step takes this long, even on a slow machine.
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

/// Measures both alternately, so that other load on the machine affects both.
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
