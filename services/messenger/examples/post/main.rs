//! Measures letters on this computer itself, for `cargo image bench --only messenger`, which compiles it as what
//! ships. Prints JSON; times are in nanoseconds.
//!
//! ```text
//! post FOLDER LETTERS LOAD     two mailboxes, each a process: so many letters from somebody at the one to somebody at
//!                              the other, one after the other; then so many by each of eight addresses, all at once
//! ```
//!
//! `FOLDER` is for the mailboxes' and people's files: its path is short. All that a letter goes by is what ships: the
//! service, QUIC on loopback, its store. Only identity is played, by this process.

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

/// Nothing here takes that long, however slow the machine.
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

/// Letters, and then what one mailbox takes beside what its store does alone.
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
