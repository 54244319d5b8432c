//! What the file of the box says of links: which are plain, and which there are to other boxes; and of those who leave
//! by another node.

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
    /// Whether there are boards, and a map of them.
    pub has_boards: bool,
    /// Which links between boards are plain.
    pub plain: Plain,
    /// The links to other boxes.
    pub lines: NeighbourSections,
    /// By which node the devices in the router's lan leave.
    pub exit: Option<NodeAddress>,
    /// Whether the router lets other nodes leave by it.
    pub is_exit: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum UnknownSettings {
    /// `config` does not say it.
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
    /// Reads it from the socket of `config` in the folder `sockets`.
    ///
    /// # Errors
    /// `config` does not answer, or says what cannot be.
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

/// A section that may not be there.
fn section<T: DeserializeOwned>(
    sockets: &Path,
    name: &str,
    which: Which,
) -> Result<Option<T>, SettingsError> {
    let value: Value = section_in(sockets, name, which)?;
    // An image without `config` says so of a section that it does not have.
    if value.as_object().is_some_and(Map::is_empty) {
        return Ok(None);
    }
    from_value(value).map_err(|source| SettingsError::Wrong { section: name.to_owned(), source })
}
