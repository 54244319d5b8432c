//! What is shown of an account.

use std::fmt;

use octet_node::control::PublicKey;

/// How it stands with what this node pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayerState {
    Off,
    WaitingForOffer,
    PriceTooHigh,
    /// The last receipt on earlier terms is not confirmed yet.
    Closing,
    DebtLimit,
    /// The ledger has nothing more locked for the payee that can be signed for.
    LockUsed,
    Paying,
}

/// How it stands with what this node serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayeeState {
    Off,
    /// The neighbour has not signed anything, and gets a window each hour.
    Free,
    Serving,
    /// Too much is unsigned.
    Stopped,
    DebtLimit,
    /// All that the ledger has locked for this node is signed for, or the lock ends.
    LockUsed,
}

impl PayerState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::WaitingForOffer => "waiting for an offer",
            Self::PriceTooHigh => "price too high",
            Self::Closing => "closing an epoch",
            Self::DebtLimit => "debt limit",
            Self::LockUsed => "nothing locked",
            Self::Paying => "paying",
        }
    }
}

impl PayeeState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Free => "free allowance",
            Self::Serving => "serving",
            Self::Stopped => "stopped",
            Self::DebtLimit => "debt limit",
            Self::LockUsed => "nothing locked",
        }
    }
}

impl fmt::Display for PayerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for PayeeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The account with one node. Amounts are in millionths of the unit of account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub node: PublicKey,
    /// The key of its unit `accounts`, once it has told it.
    pub peer_key: Option<PublicKey>,
    /// Whether there is an agreement; otherwise the account stays for its debts.
    pub is_neighbour: bool,
    /// What this node has signed and neither the neighbour nor a ledger has confirmed as paid.
    pub owe: u64,
    /// What the neighbour has signed and not paid.
    pub owed: u64,
    /// What a ledger has paid to this node, in millionths of a coin.
    pub coins: u64,
    /// All bytes that this node bought, and all that it signed.
    pub bought: u64,
    pub signed: u64,
    /// Bytes that this node bought in this epoch, and what the neighbour says it has served in it.
    pub own_count: u64,
    pub their_count: u64,
    /// What this node pays in this epoch.
    pub paid_price: Option<u64>,
    pub paid_window: Option<u64>,
    pub paying: PayerState,
    /// The newest receipt that this node signed.
    pub given_receipt: Option<Vec<u8>>,
    /// All bytes that this node served, and all for which the neighbour has signed.
    pub served: u64,
    pub received: u64,
    /// What was served and neither signed nor forgiven.
    pub unsigned: u64,
    /// What this node charges.
    pub price: Option<u64>,
    pub window: u64,
    pub serving: PayeeState,
    /// The newest receipt of each epoch that is kept, the newest first.
    pub taken_receipts: Vec<Vec<u8>>,
    /// How often a counter was less than before within its epoch.
    pub counters_went_back: u64,
}

impl AccountRow {
    /// What the neighbour owes on balance; negative if this node owes. Only the owners net: signatures do not.
    pub fn net(&self) -> i128 {
        i128::from(self.owed) - i128::from(self.owe)
    }
}
