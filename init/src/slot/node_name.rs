//! The node's name in a file of the EFI system partition, where the owner of the flash can read it:
//! so the node's key is known before it was ever reached.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use octet_control::{CallError, Client, PublicKey, SOCKETS};
use octet_esp::medium::Medium;
use octet_esp::mounted::{Access, MountedEsp};
use serde_json::Map;

use crate::storage::disk::{Disk, at};
use crate::storage::esp;

const FILE: &str = "octet/node.pub";

/// Timeout for an answer of `identity`.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Writes the current name that `identity` reports, unless the file has it already.
pub fn store(disk: &Disk) -> Result<(), String> {
    let Some(node) = query(&Path::new(SOCKETS).join("identity.sock"))? else { return Ok(()) };
    let text = format!("{node}\n");
    let mounted = esp::mount(disk, Access::Read)?;
    if fs::read_to_string(MountedEsp::path(FILE)).is_ok_and(|there| there == text) {
        return Ok(());
    }
    drop(mounted);
    let mut esp = esp::mount(disk, Access::Change)?;
    let file = MountedEsp::path(FILE);
    // The file gets its name when its content is on the medium; if a power cut prevents that, the
    // next start writes it.
    let staged = file.with_extension("new");
    let _ = fs::remove_file(&staged);
    fs::write(&staged, text).and_then(|()| esp.sync()).map_err(at(&staged))?;
    let _ = fs::remove_file(&file);
    fs::rename(&staged, &file).and_then(|()| esp.sync()).map_err(at(&file))
}

/// The node's name; `None` in an image without `identity`, or while its key is damaged.
fn query(socket: &Path) -> Result<Option<PublicKey>, String> {
    let mut client = match Client::connect(socket) {
        Err(CallError::Connect { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        other => other.map_err(|error| error.to_string())?,
    };
    client.stream().set_read_timeout(Some(TIMEOUT)).map_err(|error| error.to_string())?;
    let shown = client.call("show", Map::new()).map_err(|error| format!("identity: {error}"))?;
    let Some(node) = shown.get("node").and_then(|node| node.as_str()) else { return Ok(None) };
    // Only a valid key is written, not the service's text.
    node.parse().map(Some).map_err(|error| format!("identity: {error}"))
}
