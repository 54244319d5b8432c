//! How long packets have no way when the relay that they take is gone, and a second path stands.

use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, miette};
use octet_machine::{Cluster, FrameAction, Socket};
use serde_json::{Value, json};

use super::Failovers;
use super::site::Site;
use crate::sample::TimeSample;

/// How often in a run, of each fault.
pub const ROUNDS: usize = 3;

/// The board that speaks, the relay that its path is asked for over, and the other end.
const SOURCE: u8 = 1;
const VIA: &str = "2";
const END: u8 = 5;

/// How long anything may take, however busy the host.
const TIMEOUT: Duration = Duration::from_secs(180);

/// How often a path is asked for until packets take one over a relay.
const TRIES: usize = 5;

/// What becomes of the relay.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Pulled,
    /// Whatever it says is lost on its wire; it hears, and its link is up.
    Mute,
}

/// Has the relay that packets take be gone, and looks until they take another path; then all is as before.
pub fn measure(site: &Site, runs: usize, all: &mut Failovers) -> miette::Result<()> {
    for _ in 0..runs * ROUNDS {
        fail(site, Fault::Pulled, &mut all.pulled)?;
        fail(site, Fault::Mute, &mut all.mute)?;
    }
    Ok(())
}

fn fail(site: &Site, fault: Fault, gaps: &mut TimeSample) -> miette::Result<()> {
    let relay = take_relay(site)?;
    let cluster = site.cluster();
    begin(cluster, fault, relay)?;
    let began = Instant::now();
    wait(site, "packets take another path", |rows| {
        in_use(rows).filter(|hops| !hops.contains(&relay)).map(drop)
    })?;
    gaps.add(began.elapsed());
    end(cluster, fault, relay)?;
    drop_all(site)?;
    site.wait_linked()
}

/// Asks for a path over a relay, until it stands, packets take it, and there is one to fall back on.
fn take_relay(site: &Site) -> miette::Result<u8> {
    for _ in 0..TRIES {
        site.ask(SOURCE, "path-add", json!({ "to": END.to_string(), "via": VIA }))?;
        let hops = wait(site, "there are two paths", |rows| {
            let stand = rows.len() == 2 && rows.iter().all(|row| row["state"] == "up");
            if stand { in_use(rows) } else { None }
        })?;
        // On a busy host packets may have left it before it was known.
        if hops[0] != END {
            return Ok(hops[0]);
        }
        drop_all(site)?;
    }
    Err(miette!("packets do not take the path over board {VIA} that was asked for"))
}

fn drop_all(site: &Site) -> miette::Result<()> {
    let left = site.ask(SOURCE, "paths", json!({}))?;
    for row in left.as_array().into_iter().flatten() {
        // The end of the one ends the other.
        let _ = site.ask(SOURCE, "drop", json!({ "to": row["to"] }));
    }
    wait(site, "there is no path", |rows| rows.is_empty().then_some(()))
}

fn begin(cluster: &Cluster, fault: Fault, relay: u8) -> miette::Result<()> {
    match fault {
        Fault::Pulled => cluster.unplug(Socket::Board(relay)).into_diagnostic(),
        Fault::Mute => {
            cluster.watch(move |from, _| match from == Socket::Board(relay) {
                true => FrameAction::Drop,
                false => FrameAction::Forward,
            });
            Ok(())
        }
    }
}

fn end(cluster: &Cluster, fault: Fault, relay: u8) -> miette::Result<()> {
    match fault {
        Fault::Pulled => {
            cluster.plug(Socket::Router(relay), Socket::Board(relay)).into_diagnostic()
        }
        Fault::Mute => {
            cluster.watch(|_, _| FrameAction::Forward);
            Ok(())
        }
    }
}

/// The boards on the path that packets take, the end included.
fn in_use(rows: &[Value]) -> Option<Vec<u8>> {
    let row = rows.iter().find(|row| row["active"] == true)?;
    let relays = row["via"].as_str()?.split(", ").filter(|it| !it.is_empty());
    let hops = relays.chain(row["to"].as_str());
    hops.map(|hop| hop.strip_prefix("board-")?.parse().ok()).collect()
}

/// Asks the source for its paths, again and again without a pause, until `of` finds something in them.
fn wait<T>(site: &Site, what: &str, of: impl Fn(&[Value]) -> Option<T>) -> miette::Result<T> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let shown = site.ask(SOURCE, "paths", json!({}))?;
        if let Some(found) = of(shown.as_array().map_or(&[], Vec::as_slice)) {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(miette!("it does not come about that {what}: {shown}"));
        }
    }
}
