//! How long a board's `forward` takes to answer that a path over four hops stands.

use serde_json::json;

use super::SetUps;
use super::site::Site;

pub const ROUNDS: usize = 20;

/// The board that asks, the relays, and the end.
const SOURCE: u8 = 1;
const VIA: &str = "2,3,4";
const END: &str = "5";

/// Sets paths up, one after the other, each beside questions about less.
pub fn measure(site: &Site, runs: usize, all: &mut SetUps) -> miette::Result<()> {
    for _ in 0..runs * ROUNDS {
        let path = json!({ "to": END, "via": VIA, "alone": true });
        let (made, took) = site.timed(SOURCE, "path-add", path)?;
        all.adds.add(took);
        let path = json!({ "path": made["path"] });
        all.pings.add(site.timed(SOURCE, "ping", path.clone())?.1);
        all.asks.add(site.timed(SOURCE, "status", json!({}))?.1);
        site.ask(SOURCE, "drop", path)?;
        // What the hops still have to do for this one is no part of the next.
        site.wait_forgotten()?;
    }
    Ok(())
}
