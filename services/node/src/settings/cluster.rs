//! The sections of `appliance.toml` that describe the box, from which the network plan is made.

use std::path::Path;

use octet_appliance::{
    Board, Cluster, ClusterSettings, Lan, Neighbour, Policy, Publish, Segments, Unit, Vpn,
};
use octet_control::{Failure, FailureCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{SettingsError, Which, section_in};

/// The box that this node is part of, if any, from the socket of `config` in the folder `sockets`.
///
/// # Errors
/// `config` does not answer, or the service may not read it.
pub fn cluster(sockets: &Path, which: Which) -> Result<Option<Cluster>, Failure> {
    optional(sockets, "cluster", which)
}

pub fn boards(sockets: &Path, which: Which) -> Result<Vec<Board>, Failure> {
    Ok(optional(sockets, "board", which)?.unwrap_or_default())
}

/// All sections of the box `cluster`, with the rules resolved for an image with `units`.
pub fn segments(
    sockets: &Path,
    which: Which,
    cluster: Cluster,
    units: &[Unit],
) -> Result<(ClusterSettings, Segments), Failure> {
    let settings = ClusterSettings {
        cluster,
        boards: boards(sockets, which)?,
        lan: optional::<Lan>(sockets, "lan", which)?,
        policies: optional::<Vec<Policy>>(sockets, "policy", which)?.unwrap_or_default(),
        publish: optional::<Vec<Publish>>(sockets, "publish", which)?.unwrap_or_default(),
        neighbours: optional::<Vec<Neighbour>>(sockets, "neighbour", which)?.unwrap_or_default(),
        vpn: optional::<Vpn>(sockets, "vpn", which)?,
    };
    let segments = Segments::evaluate(&settings, units, ("appliance.toml", ""));
    let (segments, _) = segments
        .map_err(|mistake| Failure::new(FailureCode::BadArgument, mistake.message, mistake.hint))?;
    Ok((settings, segments))
}

/// An optional section.
pub fn optional<T: DeserializeOwned>(
    sockets: &Path,
    name: &str,
    which: Which,
) -> Result<Option<T>, Failure> {
    let value: Value = section_in(sockets, name, which)?;
    match value {
        Value::Null => Ok(None),
        // An image without `config` answers with an empty section for one that is missing.
        Value::Object(empty) if empty.is_empty() && name != "lan" => Ok(None),
        value => serde_json::from_value(value)
            .map(Some)
            .map_err(|source| SettingsError::Wrong { section: name.to_owned(), source }.into()),
    }
}
