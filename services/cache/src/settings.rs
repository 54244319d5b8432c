//! What `appliance.toml` says of objects.

use std::path::Path;

use octet_appliance::ObjectSettings;
use octet_node::SettingsError;
use octet_node::settings::{Which, section_in};

const SECTION: &str = "cache";

/// What objects may take, from the socket of `config` in the folder `sockets`; nothing if nothing is said.
///
/// # Errors
/// `config` does not answer, or says what cannot be.
pub fn quota(sockets: &Path, which: Which) -> Result<Option<u64>, SettingsError> {
    let said: ObjectSettings = section_in(sockets, SECTION, which)?;
    Ok(said.quota.map(octet_appliance::Bytes::get))
}
