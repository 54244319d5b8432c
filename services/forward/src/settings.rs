//! The settings of links: which are plain, which lead to other boxes; and the exit.

use std::path::Path;

use octet_appliance::{FileError, Policy, PolicyZone, Vpn};
use octet_node::address::{self, NodeAddress};
use octet_node::control::Failure;
use octet_node::settings::{self, SettingsError, Which};

use crate::neighbour_sections::NeighbourSections;
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
            UnknownSettings::Lines(mistake) => mistake.into(),
        }
    }
}

impl Settings {
    /// Reads the settings from `config`, whose socket is in the folder `sockets`.
    ///
    /// # Errors
    /// `config` does not answer, or a value is invalid.
    pub fn read(sockets: &Path, which: Which) -> Result<Self, UnknownSettings> {
        let settings = settings::Settings::read(sockets, which)?;
        let neighbours = settings.list("neighbour")?;
        let vpn: Option<Vpn> = settings.optional("vpn")?;
        let exit = vpn.and_then(|vpn| address::exit(&vpn, &neighbours));
        let lines = NeighbourSections::new(neighbours);
        let Some(cluster) = settings.cluster()? else {
            return Ok(Self { lines, ..Self::default() });
        };
        let policies: Vec<Policy> = settings.list("policy")?;
        let leads_out = |it: &Policy| {
            it.from.contains(&PolicyZone::Path) && it.to.contains(&PolicyZone::Uplink)
        };
        let is_exit = policies.iter().any(leads_out);
        let plain = Plain::evaluate(cluster, settings.list("board")?, policies)?;
        Ok(Self { has_boards: true, plain, lines, exit, is_exit })
    }
}
