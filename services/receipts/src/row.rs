//! What is shown of an account.

use std::fmt;

use octet_node::control::PublicKey;

use crate::account::{Account, AccountId};
use crate::book::{AccountBook, Session};
use crate::payee::ServedEpoch;
use crate::receipt::SignedReceipt;
use crate::sharing::Bounds;
use crate::terms::ServiceKind;

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

/// The account of one kind with one node. Amounts are in millionths of the unit of account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub node: PublicKey,
    pub kind: ServiceKind,
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

impl AccountBook {
    pub(crate) fn row(&self, id: &AccountId) -> Option<AccountRow> {
        let Account { peer, payer, payee, totals } = self.accounts.get(id)?;
        let session = self.sessions.get(id)?;
        let Session { agreement, is_neighbour, counters_went_back, .. } = session;
        let epochs = payee.current.iter().chain(payee.closed.iter().rev());
        let receipts = epochs.filter_map(|epoch: &ServedEpoch| epoch.receipt);
        let locks = &self.locks;
        let paying = Bounds { agreement, locks, other: self.other_payer(id) };
        let serving = Bounds { agreement, locks, other: self.other_payee(&self.accounts, id) };
        Some(AccountRow {
            node: id.node,
            kind: id.kind,
            peer_key: peer.map(|peer| peer.key),
            is_neighbour: *is_neighbour,
            owe: payer.owe().saturating_add(payer.unclaimed(locks)),
            owed: payee.owed().saturating_add(payee.unclaimed(locks)),
            coins: payee.coins,
            bought: totals.bought,
            signed: payer.signed,
            own_count: payer.bytes().saturating_add(payer.unsigned(totals.bought)),
            their_count: session.payer.their_count,
            paid_price: payer.accepted.map(|it| it.terms.price),
            paid_window: payer.accepted.map(|it| it.terms.window),
            paying: payer.state(&session.payer, &paying, totals.bought),
            given_receipt: payer.receipt.as_ref().map(SignedReceipt::to_bytes),
            served: totals.served,
            received: payee.received,
            unsigned: payee.unsigned(totals.served),
            price: agreement.price,
            window: agreement.window,
            serving: payee.state(&session.payee, &serving, totals.served),
            taken_receipts: receipts.map(|it| it.to_bytes()).collect(),
            counters_went_back: *counters_went_back,
        })
    }
}
