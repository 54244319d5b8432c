//! Benchmarks messages on this machine, for `cargo image bench --only messenger`, which compiles it
//! as the release is compiled. It prints JSON; times are in nanoseconds.
//!
//! ```text
//! post FOLDER LETTERS LOAD
//! ```
//!
//! It starts two mailboxes, each a process, and sends LETTERS messages, one after the other,
//! between two people with a mailbox each. Then each of eight addresses sends LOAD messages, all
//! concurrently.
//!
//! `FOLDER` is for the files of the mailboxes and people: its path must be short. The code under
//! test is that of the release: the service, QUIC on loopback, and its store. Only identity is
//! simulated, by this process.

mod floor;
mod load;
mod mailbox;
mod people;

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use mailbox::Mailbox;

type Failed = Box<dyn Error>;

/// No step takes this long, even on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(120);

const USAGE: &str = "post FOLDER LETTERS LOAD";

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
        [mailbox::ROLE, folder] => mailbox::run(Path::new(folder)),
        [folder, letters, load] => measure(Path::new(folder), letters.parse()?, load.parse()?),
        _ => Err(USAGE.into()),
    }
}

/// Measures messages, and then the throughput of one mailbox and of its store alone.
fn measure(folder: &Path, letters: usize, load: usize) -> Result<Value, Failed> {
    let boxes = [Mailbox::start(&folder.join("1"))?, Mailbox::start(&folder.join("2"))?];
    let idle = boxes[1].resident()?;
    let people::Letters { shown, left, sent, fetched, olm_in_json } =
        people::letters(folder, &boxes, letters)?;
    let taken = load::letters(&boxes[1], load)?;
    let busy = boxes[1].resident()?;
    let ns = |all: Vec<Duration>| -> Vec<u64> {
        all.into_iter().map(|took| took.as_nanos() as u64).collect()
    };
    Ok(json!({
        "shown": ns(shown),
        "left": ns(left),
        "sent_bytes": sent,
        "fetched_bytes": fetched,
        "olm_in_json_bytes": olm_in_json,
        "load": load::ADDRESSES * load,
        "load_ns": taken.as_nanos() as u64,
        "floor_ns": floor::commits(folder, load::ADDRESSES * load)?.as_nanos() as u64,
        "idle_bytes": idle,
        "busy_bytes": busy,
    }))
}
