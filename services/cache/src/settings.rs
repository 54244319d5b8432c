//! The objects' section of `appliance.toml`.

use std::path::Path;

use octet_appliance::ObjectSettings;
use octet_node::SettingsError;
use octet_node::settings::{Settings, Which};

/// The quota of objects in bytes, from `config`, which listens in the folder `sockets`; `None` if
/// it is not set.
///
/// # Errors
/// `config` does not answer, or the section is invalid.
pub fn quota(sockets: &Path, which: Which) -> Result<Option<u64>, SettingsError> {
    let said: ObjectSettings = Settings::read(sockets, which)?.section("cache")?;
    Ok(said.quota.map(octet_appliance::Bytes::get))
}
