//! Benchmarks objects on this machine, for `cargo image bench --only cache`, which compiles it as
//! the release is compiled. It prints JSON: memory in bytes, and pairs of the values of cache and
//! of the program that it is compared with, in bytes or requests per second.
//!
//! ```text
//! serve FOLDER NGINX LARGE BETWEEN ROUNDS SECONDS CONNECTIONS...
//! ```
//!
//! It starts a node with objects of LARGE and BETWEEN bytes and a small one. The program NGINX
//! serves the large and the small one as well, and iroh-blobs alone the one between. A web origin is read through
//! another node and through NGINX. Everything is
//! measured ROUNDS times; the small object for SECONDS per round, with each number of CONNECTIONS.
//!
//! `FOLDER` is for the files and sockets of all processes; its path must be short. The code under
//! test is that of the release: the service, its store, HTTP and QUIC on loopback. Only PID 1,
//! identity and cluster are simulated, by this process.

mod fetcher;
mod http;
mod nginx;
mod node;
mod noise;
mod plain;
mod stand_in;
mod through;
mod wrk;

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_cache::objects::SMALL;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use nginx::Nginx;
use node::Node;
use noise::Noise;
use plain::Giver;

type Failed = Box<dyn Error>;

/// The values of cache and of the program that it is compared with, measured directly after one
/// another.
type Pair = [f64; 2];

/// No step takes this long, even on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The idle time of a node before its memory is measured: worker threads end after 5 s without
/// work.
const IDLE: Duration = Duration::from_secs(10);

/// The names of nginx's files.
const LARGE: &str = "large";
const HOT: &str = "hot";

const USAGE: &str = "serve FOLDER NGINX LARGE BETWEEN ROUNDS SECONDS CONNECTIONS...";

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(measured) => {
            if !measured.is_null() {
                println!("{measured}");
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
        [node::ROLE, folder, number] => node::run(Path::new(folder), number.parse()?),
        [nginx::ROLE, program, folder] => nginx::run(Path::new(program), Path::new(folder)),
        [fetcher::ROLE, folder, port] => fetcher::run(Path::new(folder), port.parse()?),
        [plain::GIVER, folder, file] => plain::give(Path::new(folder), Path::new(file)),
        [plain::TAKER, folder, from, hash] => plain::take(Path::new(folder), from, hash),
        [folder, nginx, large, between, rounds, seconds, connections @ ..] => {
            let wanted = Wanted {
                large: large.parse()?,
                between: between.parse()?,
                rounds: rounds.parse()?,
                seconds: seconds.parse()?,
                connections: connections.iter().map(|it| it.parse()).collect::<Result<_, _>>()?,
            };
            measure(Path::new(folder), Path::new(nginx), &wanted)
        }
        _ => Err(USAGE.into()),
    }
}

/// Ends this process when its parent dies, for whatever reason.
fn end_with_parent(by: Signal) -> Result<(), Failed> {
    Ok(set_parent_process_death_signal(Some(by))?)
}

struct Wanted {
    large: u64,
    between: u64,
    rounds: u32,
    seconds: u32,
    connections: Vec<u32>,
}

fn measure(folder: &Path, program: &Path, wanted: &Wanted) -> Result<Value, Failed> {
    let mut node = Node::start(&folder.join("1"), 1, None)?;
    let large = node.put(Noise::new(1), wanted.large)?;
    let between = node.put(Noise::new(2), wanted.between)?;
    let hot = node.put(Noise::new(3), SMALL)?;
    // The restart frees the memory that storing the objects took.
    node.restart()?;
    sleep(IDLE);
    let idle = node.resident()?;
    node.forget_peak()?;
    http::get(node.at(), &large.path, wanted.large)?;
    let peak = node.peak()?;

    let nginx = Nginx::start(program, &folder.join("nginx"), |files| {
        // nginx serves the same file.
        std::os::unix::fs::symlink(node.file(&large.hash), files.join(LARGE))?;
        std::io::copy(&mut Noise::new(3).of(SMALL), &mut fs::File::create(files.join(HOT))?)?;
        Ok(())
    })?;
    let speed = |took: Duration, bytes: u64| bytes as f64 / took.as_secs_f64();
    let get = |at, path: &str| -> Result<f64, Failed> {
        Ok(speed(http::get(at, path, wanted.large)?, wanted.large))
    };
    get(nginx.at, &format!("/{LARGE}"))?;
    let whole = in_turn(
        wanted.rounds,
        || get(node.at(), &large.path),
        || get(nginx.at, &format!("/{LARGE}")),
    )?;

    // The first response puts it into the memory cache.
    http::get(node.at(), &hot.path, SMALL)?;
    http::get(nginx.at, &format!("/{HOT}"), SMALL)?;
    let mut small = vec![];
    for connections in &wanted.connections {
        let rate = |at, path: &str| wrk::rate(at, "localhost", path, *connections, wanted.seconds);
        small.push(in_turn(
            wanted.rounds,
            || rate(node.at(), &hot.path),
            || rate(nginx.at, &format!("/{HOT}")),
        )?);
    }
    drop(nginx);
    let through = through::measure(folder, program, wanted)?;

    let giver = Giver::start(&folder.join("giver"), &node.file(&between.hash))?;
    let map = node.map()?;
    let fetched = in_turn(
        wanted.rounds,
        || {
            let own = TempDir::new_in(folder)?;
            let taker = Node::start(own.path(), 2, Some(map.clone()))?;
            let began = Instant::now();
            taker.fetch(&between.hash, wanted.between)?;
            Ok(speed(began.elapsed(), wanted.between))
        },
        || {
            let own = TempDir::new_in(folder)?;
            Ok(speed(giver.give_to(own.path(), &between.hash)?, wanted.between))
        },
    )?;
    Ok(json!({
        "idle_bytes": idle,
        "peak_bytes": peak,
        "whole": whole,
        "small": small,
        "fetched": fetched,
        "through": through,
    }))
}

/// Measures both `rounds` times; the order alternates between rounds.
fn in_turn(
    rounds: u32,
    cache: impl Fn() -> Result<f64, Failed>,
    other: impl Fn() -> Result<f64, Failed>,
) -> Result<Vec<Pair>, Failed> {
    let round = |number: u32| {
        if number.is_multiple_of(2) {
            Ok([cache()?, other()?])
        } else {
            let other = other()?;
            Ok([cache()?, other])
        }
    };
    (0..rounds).map(round).collect()
}
