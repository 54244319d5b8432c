//! What has passed the router's ports, as `netd` tells it.

use std::path::PathBuf;
use std::time::Duration;

use octet_node::control::{CallError, Client};
use octet_node::links::{Passed, TRAFFIC};
use serde_json::Map;
use tokio::task::spawn_blocking;

/// How long `netd` may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What has passed each of them. A thread waits for `netd`, which listens in the folder `sockets`.
pub async fn ask(sockets: PathBuf) -> Result<Vec<Passed>, String> {
    let ask = move || -> Result<Vec<Passed>, CallError> {
        let mut client = Client::connect(&sockets.join("netd.sock"))?;
        client.stream().set_read_timeout(Some(TIMEOUT))?;
        Ok(serde_json::from_value(client.call(TRAFFIC, Map::new())?)?)
    };
    let asked = spawn_blocking(ask).await.map_err(|error| error.to_string())?;
    asked.map_err(|error| error.to_string())
}
