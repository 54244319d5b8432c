//! A web origin through the cache, beside nginx with `proxy_cache`. Both have the same nginx as the origin.

use std::fs::File;
use std::io;
use std::path::Path;

use octet_cache::objects::SMALL;
use serde_json::{Value, json};

use super::fetcher::{self, Fetcher};
use super::nginx::Nginx;
use super::node::Node;
use super::noise::Noise;
use super::{Failed, Pair, Wanted, http, in_turn, wrk};

/// The number of the node.
const BOARD: u8 = 3;

/// The names of the origin's files.
const LARGE: &str = "/through";
const HOT: &str = "/through-hot";

/// How many files are asked for once each, and their size in bytes.
const COLD: u64 = 64;
const COLD_BYTES: u64 = 64 << 10;

fn cold(number: u64) -> String {
    format!("/through-{number}")
}

pub fn measure(folder: &Path, program: &Path, wanted: &Wanted) -> Result<Value, Failed> {
    let size = wanted.between;
    let nginx = Nginx::start(program, &folder.join("nginx-through"), |files| {
        let file = |name: &str, seed, size| -> io::Result<u64> {
            io::copy(&mut Noise::new(seed).of(size), &mut File::create(files.join(&name[1..]))?)
        };
        file(LARGE, 4, size)?;
        file(HOT, 5, SMALL)?;
        for number in 0..COLD {
            file(&cold(number), 6 + number, COLD_BYTES)?;
        }
        Ok(())
    })?;
    let port = nginx.origin.port();
    let home = folder.join(BOARD.to_string());
    let node = Node::start_as_front(&home, BOARD, &fetcher::sections(BOARD, port))?;
    let _fetcher = Fetcher::start(&home, port)?;
    node.forget_peak()?;

    // In turn, so that neither has the other's files in the page cache.
    let first_byte = |number: u64| -> Result<Pair, Failed> {
        let direct = || http::first_byte(nginx.origin, "localhost", &cold(number));
        let through = || http::first_byte(node.at(), fetcher::HOST, &cold(number));
        let direct_first = number.is_multiple_of(2).then(direct).transpose()?;
        let through = through()?;
        let direct = direct_first.map_or_else(direct, Ok)?;
        Ok([through.as_secs_f64(), direct.as_secs_f64()])
    };
    let missed = (0..COLD).map(first_byte).collect::<Result<Vec<_>, _>>()?;

    let get = |at, host: &str| -> Result<f64, Failed> {
        Ok(size as f64 / http::get_of(at, host, LARGE, size)?.as_secs_f64())
    };
    // The first one stores it.
    get(node.at(), fetcher::HOST)?;
    get(nginx.proxy, "localhost")?;
    node.wait_for_objects(COLD + 1)?;
    let whole =
        in_turn(wanted.rounds, || get(node.at(), fetcher::HOST), || get(nginx.proxy, "localhost"))?;
    http::get_of(node.at(), fetcher::HOST, HOT, SMALL)?;
    http::get_of(nginx.proxy, "localhost", HOT, SMALL)?;
    node.wait_for_objects(COLD + 2)?;
    let mut small = vec![];
    for connections in &wanted.connections {
        let rate = |at, host: &str| wrk::rate(at, host, HOT, *connections, wanted.seconds);
        small.push(in_turn(
            wanted.rounds,
            || rate(node.at(), fetcher::HOST),
            || rate(nginx.proxy, "localhost"),
        )?);
    }
    Ok(json!({
        "missed_seconds": missed,
        "whole": whole,
        "small": small,
        "peak_bytes": node.peak()?,
    }))
}
