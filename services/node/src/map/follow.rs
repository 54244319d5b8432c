//! Follows the membership map from a service of the node.

use std::path::Path;

use octet_control::{CallError, Client};
use serde::{Deserialize, Serialize};

use super::SignedMap;

/// The verb of `cluster` that returns the map, now and whenever there is a newer one.
pub const MAP: &str = "map";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// This node's number, once the coordinator has assigned it.
    pub number: Option<u8>,
    /// The newest map; `None` before the node was enrolled.
    pub map: Option<SignedMap>,
}

/// Passes updates to `news`, now and at each change, until `news` returns `false`. `socket` is that of
/// `cluster`; the calling service's unit file needs `cluster = ["map"]` in `talks`. Updates are trusted because
/// `cluster` sends them; their signatures are verified as well.
///
/// # Errors
/// `cluster` does not answer or has ended. The caller should retry after a pause.
pub fn follow(socket: &Path, mut news: impl FnMut(Update) -> bool) -> Result<(), CallError> {
    let mut client = Client::connect(socket)?;
    let mut problem = None;
    client.call_each(MAP, serde_json::Map::new(), |item| match Update::deserialize(item) {
        Ok(update) => news(update),
        Err(error) => {
            problem = Some(error);
            false
        }
    })?;
    problem.map_or(Ok(()), |problem| Err(problem.into()))
}
