//! Measures a router's netd on this computer, for `cargo image bench --only segments`, which
//! compiles it in the profile that ships. Prints JSON; times are in nanoseconds.
//!
//! ```text
//! measure GATE plan FILE              from the text of appliance.toml to that of the rules
//! measure GATE apply HOW FILE OTHER   until the kernel has what FILE says, then what OTHER says
//! ```
//!
//! `GATE` is the gate's unit file. `HOW` is `netd`, or another method. `apply` makes the router's
//! ports itself, so it needs namespaces of its own: `unshare --net --mount`.

mod by_hand;
mod kernel;
mod site;

use std::env;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use octet_appliance::{Appliance, Unit, UnitSource};
use octet_netd::port_bindings::PortBindings;
use octet_netd::router::firewall::LoadedChains;
use octet_netd::router::plan::RouterPlan;
use octet_netd::rules::NodeTables;
use serde_json::{Value, json};

use kernel::How;
use site::Site;

type Failed = Box<dyn Error>;

const USAGE: &str = "measure GATE plan FILE | measure GATE apply netd|whole|least FILE OTHER";

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(times) => {
            println!("{times}");
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
    let [gate, what @ ..] = words.as_slice() else { return Err(USAGE.into()) };
    let gate = UnitSource::parse((*gate).to_owned(), fs::read_to_string(gate)?)?;
    let units = [gate.unit];
    match what {
        ["plan", file] => plan(file, &fs::read_to_string(file)?, &units),
        ["apply", how, file, other] => {
            let how = How::named(how).ok_or(USAGE)?;
            let [file, other] = [Site::read(file, &units)?, Site::read(other, &units)?];
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(kernel::apply(how, &file, &other))
        }
        _ => Err(USAGE.into()),
    }
}

/// Once, as at netd's start: the CPU's caches are cold.
fn plan(file: &str, text: &str, units: &[Unit]) -> Result<Value, Failed> {
    let began = Instant::now();
    let settings = Appliance::parse(file, text)?.cluster_settings().ok_or(site::NO_CLUSTER)?;
    let parsed = Instant::now();
    let plan = RouterPlan::new(&settings, units)?;
    let planned = Instant::now();
    let rules = NodeTables::router(&plan, units, &PortBindings::default(), false);
    let rules = rules.whole(&LoadedChains::default());
    let written = Instant::now();
    let bytes = black_box(rules).len();
    let ns = |from: Instant, to: Instant| (to - from).as_nanos() as u64;
    Ok(json!({
        "parse": ns(began, parsed),
        "plan": ns(parsed, planned),
        "text": ns(planned, written),
        "bytes": bytes,
    }))
}
