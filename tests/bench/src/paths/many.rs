//! Near a thousand paths through one relay.

use std::time::Duration;

use miette::{IntoDiagnostic, miette};
use octet_machine::Status;
use serde_json::{Value, json};

use super::Many;
use super::site::Site;

/// Where they begin and end: at no node are there more than 512, of which those before may still have some.
const BETWEEN: [(u8, u8); 2] = [(1, 4), (2, 5)];

const EACH: u32 = 480;

pub const PATHS: u32 = EACH * BETWEEN.len() as u32;

/// The one that they all go through.
const RELAY: u8 = 3;

/// How many of the first and of the last are looked at.
pub const SOME: u32 = 50;

/// So many may come to nothing: two of a node may have drawn one port.
const SPARE: u32 = 50;

/// Sets them up, one after the other, and asks the other end of each.
pub fn measure(site: &Site, all: &mut Many) -> miette::Result<()> {
    let before = relay(site)?;
    let mut standing = vec![];
    for (source, end) in BETWEEN {
        for number in 0..EACH {
            let (path, took) = add(site, (source, end), all)?;
            standing.push((source, path));
            // Those of the first pair are the first ones, those of the other the last.
            if source == BETWEEN[0].0 && number < SOME {
                all.adds[0].add(took);
            } else if source == BETWEEN[1].0 && number >= EACH - SOME {
                all.adds[1].add(took);
            }
        }
    }
    let after = relay(site)?;
    all.memory = std::array::from_fn(|at| after[at].saturating_sub(before[at]));
    all.relayed = site.ask(RELAY, "status", json!({}))?["relayed"].as_u64().unwrap_or_default();
    for (source, path) in standing {
        all.answered += u32::from(site.ask(source, "ping", json!({ "path": path })).is_ok());
    }
    Ok(())
}

/// Sets one up, however often it has to be asked for.
fn add(site: &Site, (source, end): (u8, u8), all: &mut Many) -> miette::Result<(Value, Duration)> {
    loop {
        all.asked += 1;
        let path = json!({ "to": end.to_string(), "via": RELAY.to_string(), "alone": true });
        match site.timed(source, "path-add", path) {
            Ok((made, took)) => return Ok((made["path"].clone(), took)),
            Err(error) if all.asked > PATHS + SPARE => {
                return Err(miette!("too many paths through one relay come to nothing: {error}"));
            }
            Err(_) => {}
        }
    }
}

/// What the relay has of memory in use: all of it, and what is charged to its `forward`.
fn relay(site: &Site) -> miette::Result<[u64; 2]> {
    let status: Status = site.machine(RELAY)?.status().into_diagnostic()?;
    let used = status.memory.total.saturating_sub(status.memory.available);
    let forward = status.unit("forward").and_then(|unit| unit.memory).unwrap_or_default();
    Ok([used, forward])
}
