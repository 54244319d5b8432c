//! The counters of this node's links, from `netd`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use octet_node::control::{CallError, Client};
use octet_node::links::{LinkTraffic, TRAFFIC};
use serde_json::Map;
use tokio::task::spawn_blocking;

/// The timeout of `netd`.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The counters of each link. It waits for `netd`, whose socket is in the folder `sockets`.
pub fn query_counters(sockets: &Path) -> Result<Vec<LinkTraffic>, CallError> {
    let mut client = Client::connect(&sockets.join("netd.sock"))?;
    client.stream().set_read_timeout(Some(TIMEOUT))?;
    Ok(serde_json::from_value(client.call(TRAFFIC, Map::new())?)?)
}

/// The same in a thread.
pub async fn read_counters(sockets: PathBuf) -> Result<Vec<LinkTraffic>, String> {
    let asked = spawn_blocking(move || query_counters(&sockets)).await;
    asked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
