//! The counters of the router's ports, from `netd`.

use std::path::PathBuf;
use std::time::Duration;

use octet_node::control::{CallError, Client};
use octet_node::links::{LinkTraffic, TRAFFIC};
use serde_json::Map;
use tokio::task::spawn_blocking;

/// The timeout of `netd`.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The counters of each port. A thread waits for `netd`, whose socket is in the folder `sockets`.
pub async fn read_counters(sockets: PathBuf) -> Result<Vec<LinkTraffic>, String> {
    let ask = move || -> Result<Vec<LinkTraffic>, CallError> {
        let mut client = Client::connect(&sockets.join("netd.sock"))?;
        client.stream().set_read_timeout(Some(TIMEOUT))?;
        Ok(serde_json::from_value(client.call(TRAFFIC, Map::new())?)?)
    };
    let asked = spawn_blocking(ask).await.map_err(|error| error.to_string())?;
    asked.map_err(|error| error.to_string())
}
