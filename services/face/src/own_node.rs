//! What this node says of itself: its addresses, from `netd`, and its key, from `identity`.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::Duration;

use octet_appliance::Cidr;
use octet_node::control::{CallError, Client, PublicKey};
use octet_node::follow;
use octet_node::links::{LINKS, LeadsTo, Links};
use serde_json::{Map, Value};

use crate::Shared;

/// The pause before `identity` is asked again: it may wait for the kernel's randomness.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// The timeout of `identity`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The stack size of the thread that waits for the key, in bytes.
const STACK: usize = 128 << 10;

/// This node, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnNode {
    /// The address at its uplink; for a board of a box, in its own segment.
    pub address: Option<IpAddr>,
    pub key: Option<PublicKey>,
}

/// Keeps the node in `shared` up to date, with two threads: one ends as soon as it has the key.
///
/// # Errors
/// No thread can be started.
pub fn start(sockets: &Path, shared: &Arc<Shared>) -> io::Result<()> {
    let linked = Arc::clone(shared);
    let trouble = "netd does not tell this node's addresses";
    follow::keep(sockets.join("netd.sock"), LINKS, trouble, move |links: Links| {
        linked.change_node(|node| node.address = address(&links));
        true
    })?;
    let (identity, named) = (sockets.join("identity.sock"), Arc::clone(shared));
    let wait = move || {
        let key = wait_for_key(&identity);
        named.change_node(|node| node.key = Some(key));
    };
    Builder::new().name("key".into()).stack_size(STACK).spawn(wait).map(drop)
}

/// The address that people use: IPv4 first.
fn address(links: &Links) -> Option<IpAddr> {
    let uplinks = links.links.iter().filter_map(|link| match &link.leads_to {
        LeadsTo::Out { addresses, .. } if link.carrier => Some(addresses),
        _ => None,
    });
    let addresses: Vec<IpAddr> = uplinks.flatten().map(Cidr::address).collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}

fn wait_for_key(socket: &Path) -> PublicKey {
    loop {
        if let Ok(Some(key)) = query_key(socket) {
            return key;
        }
        sleep(RETRY_DELAY);
    }
}

fn query_key(socket: &Path) -> Result<Option<PublicKey>, CallError> {
    let mut client = Client::connect(socket)?;
    client.stream().set_read_timeout(Some(TIMEOUT))?;
    let shown = client.call("show", Map::new())?;
    Ok(shown.get("node").and_then(Value::as_str).and_then(|node| node.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_address_is_that_of_an_uplink_that_is_up() {
        let links = |carrier: bool, addresses: &[&str]| -> Links {
            let out = json!({ "out": { "asks": true, "addresses": addresses, "gateways": [] } });
            let link = |name: &str, leads_to: Value| json!({ "index": 2, "name": name, "mac": "02:00:00:00:00:01", "carrier": carrier, "downs": 0, "leads_to": leads_to });
            let lan = json!({ "lan": { "number": 250, "router": ["10.20.250.1", "fd00::1"] } });
            serde_json::from_value(
                json!({ "is_board": false, "links": [link("eth9", lan), link("eth0", out)] }),
            )
            .unwrap()
        };
        let of = |carrier, addresses: &[&str]| {
            address(&links(carrier, addresses)).map(|it| it.to_string())
        };
        assert_eq!(of(true, &["2001:db8::2/64", "192.0.2.7/24"]), Some("192.0.2.7".to_owned()));
        assert_eq!(of(true, &["2001:db8::2/64"]), Some("2001:db8::2".to_owned()));
        assert_eq!(of(true, &[]), None);
        assert_eq!(of(false, &["192.0.2.7/24"]), None, "a cable that is pulled");
    }
}
