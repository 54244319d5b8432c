//! What `appliance.toml` says of objects.

use std::path::Path;

use octet_appliance::ObjectSettings;
use octet_node::SettingsError;
use octet_node::settings::{Settings, Which};

/// What objects may take, from the socket of `config` in the folder `sockets`; nothing if nothing is said.
///
/// # Errors
/// `config` does not answer, or says what cannot be.
pub fn quota(sockets: &Path, which: Which) -> Result<Option<u64>, SettingsError> {
    let said: ObjectSettings = Settings::read(sockets, which)?.section("cache")?;
    Ok(said.quota.map(octet_appliance::Bytes::get))
}
