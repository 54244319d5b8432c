//! What a node's owner has agreed to with a neighbour.

/// From the settings; it may change at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// What the neighbour is charged, in millionths of the unit of account for
    /// [`UNIT_BYTES`](crate::UNIT_BYTES). `None`: it is charged nothing, and not limited.
    pub price: Option<u64>,
    /// How many bytes are served beyond what is signed.
    pub window: u64,
    /// The highest price that is paid to the neighbour. `None`: it is not paid.
    pub max_price: Option<u64>,
    /// The most that either may owe the other without a ledger, in millionths of the unit of account.
    pub max_debt: u64,
    /// How much of what is signed the payee bears besides the window, in thousandths: what is lost on the way to
    /// the payer is counted by the payee alone.
    pub max_loss: u16,
    /// The hash of the genesis of the ledger on which both pay each other; zeros without a ledger.
    pub genesis: [u8; 32],
}

impl Agreement {
    pub(crate) fn is_on_ledger(&self) -> bool {
        self.genesis != [0; 32]
    }

    /// Towards a node that is no neighbour any more.
    pub(crate) const NONE: Self = Self {
        price: None,
        window: 0,
        max_price: None,
        max_debt: 0,
        max_loss: 0,
        genesis: [0; 32],
    };
}
