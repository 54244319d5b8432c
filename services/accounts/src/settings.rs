//! The sections of `appliance.toml` for this unit.

use std::collections::BTreeMap;
use std::path::Path;

use octet_appliance::{AccountsSection, LedgerSection, Neighbour};
use octet_coins::{Genesis, GenesisError};
use octet_node::SettingsError;
use octet_node::control::PublicKey;
use octet_node::settings::{self, Which};
use octet_receipts::ServiceKind;

use crate::ledger::LedgerOfReceipts;

/// What bytes of one kind cost, in millionths of the unit of account for 2^30 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PriceRange {
    /// What the neighbour owes; `None`: nothing.
    pub price: Option<u64>,
    /// The highest price at which it is paid; `None`: it is not paid.
    pub max_price: Option<u64>,
}

/// What the owner has agreed to with a neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourPrices {
    /// Its name in the settings.
    pub name: String,
    pub carriage: PriceRange,
    pub objects: PriceRange,
    /// Whether receipts are for the ledger.
    pub ledger: bool,
}

impl NeighbourPrices {
    pub fn of(&self, kind: ServiceKind) -> PriceRange {
        match kind {
            ServiceKind::Carriage => self.carriage,
            ServiceKind::Objects => self.objects,
        }
    }
}

/// Why the settings are not in force.
#[derive(Debug, thiserror::Error)]
pub enum AccountSettingsError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("`genesis` of [ledger]: {0}")]
    Genesis(#[from] GenesisError),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Without it nothing is signed or limited.
    pub accounts: Option<AccountsSection>,
    pub neighbours: BTreeMap<PublicKey, NeighbourPrices>,
    /// That of `[ledger]`.
    pub ledger: Option<LedgerOfReceipts>,
}

impl Settings {
    /// Reads the settings from `config`, whose socket is in the folder `sockets`.
    ///
    /// # Errors
    /// `config` does not answer, or a value is invalid.
    pub fn read(sockets: &Path, which: Which) -> Result<Self, AccountSettingsError> {
        let settings = settings::Settings::read(sockets, which)?;
        let accounts = settings.optional("accounts")?;
        let neighbours: Vec<Neighbour> = settings.list("neighbour")?;
        // A node may have links to several nodes of this box; then all sections have the same prices.
        let price = |line: Neighbour| {
            let name = line.name.to_string();
            let carriage = PriceRange { price: line.price, max_price: line.max_price };
            let (price, max_price) = (line.object_price, line.max_object_price);
            let (objects, ledger) = (PriceRange { price, max_price }, line.ledger);
            (line.descriptor.node(), NeighbourPrices { name, carriage, objects, ledger })
        };
        let neighbours = neighbours.into_iter().map(price).collect();
        let ledger: Option<LedgerSection> = settings.optional("ledger")?;
        let genesis = ledger.map(|ledger| Genesis::from_toml(&ledger.genesis)).transpose()?;
        Ok(Self { accounts, neighbours, ledger: genesis.map(LedgerOfReceipts::new) })
    }

    /// Whether bytes of a kind have a price for anybody.
    pub fn is_kind_paid(&self, kind: ServiceKind) -> bool {
        let mut lines = self.neighbours.values();
        self.accounts.is_some() && lines.any(|line| line.of(kind) != PriceRange::default())
    }

    /// The name of a neighbour; of a former one, its key.
    pub fn name(&self, node: &PublicKey) -> String {
        self.neighbours.get(node).map_or_else(|| node.to_string(), |line| line.name.clone())
    }

    /// The neighbour of this name or key.
    pub fn find(&self, text: &str) -> Option<PublicKey> {
        let by_name = self.neighbours.iter().find(|(_, line)| line.name == text);
        by_name.map(|(node, _)| *node).or_else(|| text.parse().ok())
    }
}
