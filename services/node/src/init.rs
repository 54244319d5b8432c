//! The way to PID 1.

use std::path::Path;

use octet_control::{CallError, Client, INIT, SOCKETS};
use serde_json::{Map, Value};

/// Hands the state of the box to `show`, now and whenever it changes, until `show` returns `false`
/// or PID 1 is gone.
///
/// # Errors
/// PID 1 cannot be reached, or the connection broke.
pub fn watch_status(show: impl FnMut(&Value) -> bool) -> Result<(), CallError> {
    let mut client = Client::connect(&Path::new(SOCKETS).join(format!("{INIT}.sock")))?;
    client.call_each("watch", Map::new(), show).map(drop)
}
