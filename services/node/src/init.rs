//! Calls to PID 1.

use std::path::Path;

use octet_control::{CallError, Client, INIT, SOCKETS};
use serde_json::{Map, Value};

/// The number of the board that this node is, 0 for the router. PID 1's socket is in the folder `sockets`;
/// `None` if PID 1 does not know the number yet.
pub fn own_number(sockets: &Path) -> Result<Option<u8>, CallError> {
    let mut client = Client::connect(&sockets.join(format!("{INIT}.sock")))?;
    let boot = client.call("boot", Map::new())?;
    Ok(boot["board"].as_u64().and_then(|number| number.try_into().ok()))
}

/// Passes the state of the box to `show`, now and at each change, until `show` returns `false` or the
/// connection ends.
///
/// # Errors
/// PID 1 cannot be reached, or the connection broke.
pub fn watch_status(show: impl FnMut(&Value) -> bool) -> Result<(), CallError> {
    let mut client = Client::connect(&Path::new(SOCKETS).join(format!("{INIT}.sock")))?;
    client.call_each("watch", Map::new(), show).map(drop)
}
