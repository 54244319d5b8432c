//! Benchmarks a ledger on this machine, for `cargo image bench --only ledger`, which compiles it as the release is
//! compiled. It prints JSON; times are in nanoseconds.
//!
//! ```text
//! claims FOLDER ACCOUNTS CLAIMS LOAD IDLE DEAD DAY
//! ```
//!
//! It starts four validators, each a process: the node of the unit `ledger` with its QUIC on loopback and its files in
//! FOLDER, without the unit's sockets. ACCOUNTS owners bind a key each and lock coins for the next one. Then in each of
//! LOAD seconds CLAIMS claims are submitted, as many to each validator. Nothing happens for IDLE seconds. One of four is
//! killed, and the others go on for DEAD seconds with a transaction in each. At last another four decide heights without
//! transactions at the default spacing, for DAY seconds.

mod ledger;
mod node;
mod people;
mod process;
mod receipts;

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use ledger::Ledger;
use people::People;
use process::Usage;

type Failed = Box<dyn Error>;

/// No step takes this long, even on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(180);

const USAGE: &str = "claims FOLDER ACCOUNTS CLAIMS LOAD IDLE DEAD DAY";

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(figures) => {
            if !figures.is_null() {
                println!("{figures}");
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
        [node::ROLE, arguments @ ..] => node::run(arguments),
        [folder, accounts, claims, times @ ..] => {
            let seconds = |word: &&str| word.parse().map(Duration::from_secs);
            let times: Vec<Duration> = times.iter().map(seconds).collect::<Result<_, _>>()?;
            let times = times.try_into().map_err(|_| USAGE)?;
            measure(Path::new(folder), accounts.parse()?, claims.parse()?, times)
        }
        _ => Err(USAGE.into()),
    }
}

fn measure(
    folder: &Path,
    accounts: usize,
    claims: usize,
    [load, idle, dead, day]: [Duration; 4],
) -> Result<Value, Failed> {
    let (signed, verified) = receipts::rates()?;
    let mut people = People::new(accounts, Duration::from_secs(1))?;
    let mut ledger = Ledger::start(&folder.join("1"), &people.genesis)?;
    people.begin(&mut ledger)?;
    let loaded = ledger.load(&mut people, claims, load)?;
    ledger.settle()?;
    let memory = ledger.memory()?;
    let before = ledger.usage()?;
    // There is nothing to wait for: what is measured is that nothing happens.
    std::thread::sleep(idle);
    let after = ledger.usage()?;
    let is_idle = |(before, after): (&Usage, &Usage)| (after.cpu - before.cpu).as_nanos() as u64;
    let idle_cpu: Vec<u64> = before.iter().zip(&after).map(is_idle).collect();
    let idle_written = Usage::written(&before, &after);
    let gap = ledger.without_one(&mut people, dead)?;
    drop(ledger);

    // The default spacing, and a withdrawal that lets heights go on.
    let mut people = People::new(4, Duration::from_secs(10))?;
    let mut ledger = Ledger::start(&folder.join("2"), &people.genesis)?;
    people.begin(&mut ledger)?;
    people.withdraw(&mut ledger)?;
    let (before, height) = (ledger.usage()?, ledger.height());
    std::thread::sleep(day);
    let (after, heights) = (ledger.usage()?, ledger.newest_height()? - height);
    Ok(json!({
        "receipts_signed": signed,
        "receipts_verified": verified,
        "claims": loaded.claims,
        "offered": loaded.offered,
        "took_ns": loaded.took.as_nanos() as u64,
        "decisions_ns": loaded.decisions,
        "resident_bytes": memory.iter().map(|it| it.0).collect::<Vec<_>>(),
        "anonymous_bytes": memory.iter().map(|it| it.1).collect::<Vec<_>>(),
        "peak_bytes": memory.iter().map(|it| it.2).collect::<Vec<_>>(),
        "idle_cpu_ns": idle_cpu,
        "idle_written_bytes": idle_written,
        "gap_ns": gap.as_nanos() as u64,
        "day_written_bytes": Usage::written(&before, &after),
        "day_heights": heights,
    }))
}
