//! How services of a node learn of the map.

use std::path::Path;

use octet_control::{CallError, Client};
use serde::{Deserialize, Serialize};

use super::SignedMap;

/// The verb of `cluster` that answers with the map at once, and again whenever there is a newer one.
pub const MAP: &str = "map";

/// What there is to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The number of this node, once the coordinator has told it.
    pub number: Option<u8>,
    /// The newest map; there is none before the node was ever taken in.
    pub map: Option<SignedMap>,
}

/// Hands what there is to know to `news`, at once and whenever it changes, until `news` returns `false`.
/// `socket` is that of `cluster`; the unit of the service that asks names `cluster = ["map"]` in `talks`.
/// What comes is believed because of who sends it; that it was signed is seen as well.
///
/// # Errors
/// `cluster` does not answer, or has ended; call it again after a while.
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
