//! The verbs that show links, addresses, routes and rules, as the kernel has them at the time.

use std::collections::BTreeMap;

use octet_node::control::Failure;
use serde_json::{Value, json};

use super::{ServeState, failed};
use crate::backend::Backend;
use crate::links;
use crate::observed::{LinkKind, Observed};
use crate::router::drawn::draw;

/// Shows everything, or only what is known without running nft.
pub async fn show<B: Backend>(shared: &ServeState<B>, only_links: bool) -> Result<Value, Failure> {
    let observed = shared.backend.observe().await.map_err(|error| failed(error.to_string()))?;
    if only_links {
        return Ok(report(&observed));
    }
    let _one_at_a_time = shared.listing.acquire().await.map_err(|it| failed(it.to_string()))?;
    // Without rules the rest can still be shown.
    let rules = shared.backend.rules().await.unwrap_or_else(|error| error.to_string());
    let mut answer = report(&observed);
    answer["rules"] = rules.lines().collect();
    let (config, noted) = (shared.applied(), shared.noted.borrow().clone());
    answer["dhcp"] = json!(noted.dhcp);
    answer["alarms"] = json!({
        "count": noted.alarms,
        "last": noted.alarm.as_ref().map(|it| format!("{} (process {})", it.name, it.pid)),
    });
    if shared.node.is_router() {
        let drops = shared.backend.drops().await.map_err(|error| failed(error.to_string()))?;
        answer["lines"] = json!(shared.backend.rule_counters().await.unwrap_or_default());
        answer["forwards"] = json!(observed.forwards);
        if let Some(plan) = config.plan() {
            answer["box"] = json!(draw(plan, &observed, &noted.plugged, &drops));
        }
        answer["drops"] = json!(drops);
    }
    Ok(answer)
}

/// The traffic counters of each link.
pub(super) async fn traffic<B: Backend>(shared: &ServeState<B>) -> Result<Value, Failure> {
    let observed = shared.backend.observe().await.map_err(|error| failed(error.to_string()))?;
    let passed = links::passed(&shared.links.borrow(), &observed);
    Ok(json!(passed))
}

/// Links with their addresses, and routes.
fn report(observed: &Observed) -> Value {
    let mut addresses: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for address in &observed.addresses {
        let text = format!("{}/{}", address.address, address.prefix);
        addresses.entry(address.link).or_default().push(text);
    }
    let links = observed.links.iter().map(|link| {
        let mac = match link.kind {
            LinkKind::Ethernet(mac) => json!(mac_text(mac)),
            LinkKind::Loopback | LinkKind::Other => Value::Null,
        };
        json!({
            "name": link.name, "up": link.up, "carrier": link.carrier, "mac": mac,
            "received": link.traffic.received, "sent": link.traffic.sent,
            "addresses": addresses.remove(&link.index).unwrap_or_default(),
        })
    });
    let links: Vec<_> = links.collect();
    let name = |index| observed.links.iter().find(|link| link.index == index).map(|it| &it.name);
    let routes = observed.routes.iter().map(|route| {
        let to = match route.to {
            (_, 0) => "default".to_owned(),
            (network, prefix) => format!("{network}/{prefix}"),
        };
        json!({ "to": to, "gateway": route.gateway, "link": name(route.link) })
    });
    json!({ "links": links, "routes": routes.collect::<Vec<_>>() })
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
