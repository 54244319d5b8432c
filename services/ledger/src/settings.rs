//! The section of `appliance.toml` for this unit.

use std::path::Path;

use octet_appliance::LedgerSection;
use octet_coins::{Genesis, GenesisError};
use octet_node::SettingsError;
use octet_node::settings::{self, Which};

use crate::net::LedgerPeer;

/// `[ledger]`, with its genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSettings {
    pub genesis: Genesis,
    pub peers: Vec<LedgerPeer>,
    /// How many of the newest blocks are kept; `None`: all.
    pub keep_blocks: Option<u64>,
}

/// Why `[ledger]` is not in force.
#[derive(Debug, thiserror::Error)]
pub enum LedgerSettingsError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("`genesis` of [ledger]: {0}")]
    Genesis(#[from] GenesisError),
}

impl LedgerSettings {
    /// Reads the settings from `config`, whose socket is in the folder `sockets`. `None`: there is no `[ledger]`.
    ///
    /// # Errors
    /// `config` does not answer, or a value is invalid.
    pub fn read(sockets: &Path, which: Which) -> Result<Option<Self>, LedgerSettingsError> {
        let settings = settings::Settings::read(sockets, which)?;
        let Some(LedgerSection { genesis, peer, keep_blocks }) = settings.optional("ledger")?
        else {
            return Ok(None);
        };
        let genesis = Genesis::from_toml(&genesis)?;
        let peers = peer.into_iter().map(|peer| LedgerPeer { key: peer.key, address: peer.at });
        let (peers, keep_blocks) = (peers.collect(), keep_blocks.map(u64::from));
        Ok(Some(Self { genesis, peers, keep_blocks }))
    }
}
