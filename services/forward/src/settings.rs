//! The settings of links: which are plain, which lead to other boxes; and the exit.

use std::path::Path;

use octet_appliance::{Board, Cluster, FileError, Neighbour, Policy, PolicyZone, Vpn};
use octet_node::address::{self, NodeAddress};
use octet_node::control::{Failure, FailureCode};
use octet_node::settings::{SettingsError, Which, section_in};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, from_value};

use crate::lines::NeighbourSections;
use crate::plain::Plain;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Whether the box has boards, and so a membership map.
    pub has_boards: bool,
    /// The plain links between boards.
    pub plain: Plain,
    /// The links to other boxes.
    pub lines: NeighbourSections,
    /// The exit of the router's LAN.
    pub exit: Option<NodeAddress>,
    /// Whether the router is an exit for other nodes.
    pub is_exit: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum UnknownSettings {
    /// `config` did not provide a section.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Lines(#[from] Box<FileError>),
}

impl From<UnknownSettings> for Failure {
    fn from(error: UnknownSettings) -> Self {
        match error {
            UnknownSettings::Settings(error) => error.into(),
            UnknownSettings::Lines(mistake) => {
                Self::new(FailureCode::BadArgument, mistake.message, mistake.hint)
            }
        }
    }
}

impl Settings {
    /// Reads the settings from `config`, whose socket is in the folder `sockets`.
    ///
    /// # Errors
    /// `config` does not answer, or a value is invalid.
    pub fn read(sockets: &Path, which: Which) -> Result<Self, UnknownSettings> {
        let neighbours: Option<Vec<Neighbour>> = section(sockets, "neighbour", which)?;
        let neighbours = neighbours.unwrap_or_default();
        let vpn: Option<Vpn> = section(sockets, "vpn", which)?;
        let exit = vpn.and_then(|vpn| address::exit(&vpn, &neighbours));
        let lines = NeighbourSections::new(neighbours);
        let Some(cluster) = section::<Cluster>(sockets, "cluster", which)? else {
            return Ok(Self { lines, ..Self::default() });
        };
        let boards: Option<Vec<Board>> = section(sockets, "board", which)?;
        let policies: Option<Vec<Policy>> = section(sockets, "policy", which)?;
        let policies = policies.unwrap_or_default();
        let leads_out = |it: &Policy| {
            it.from.contains(&PolicyZone::Path) && it.to.contains(&PolicyZone::Uplink)
        };
        let is_exit = policies.iter().any(leads_out);
        let plain = Plain::of(cluster, boards.unwrap_or_default(), policies)?;
        Ok(Self { has_boards: true, plain, lines, exit, is_exit })
    }
}

/// An optional section.
fn section<T: DeserializeOwned>(
    sockets: &Path,
    name: &str,
    which: Which,
) -> Result<Option<T>, SettingsError> {
    let value: Value = section_in(sockets, name, which)?;
    // An image without `config` answers with an empty section for one that is missing.
    if value.as_object().is_some_and(Map::is_empty) {
        return Ok(None);
    }
    from_value(value).map_err(|source| SettingsError::Wrong { section: name.to_owned(), source })
}
