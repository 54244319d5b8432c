//! Why a message or a command is refused.

/// Why a neighbour's message has changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no agreement with this node")]
    UnknownNode,
    #[error("this is no message of this version, or a signature in it is forged")]
    Malformed,
    #[error("this node has no certified key yet")]
    NoIdentity,
    #[error("the certificate is for another node or unit, or for a weak key")]
    WrongCertificate,
    #[error("a newer key of the node is known")]
    OldCertificate,
    #[error("the neighbour asks for payment, and it is not paid")]
    NotPaying,
    #[error("the offer is for another key than this payer's")]
    OtherPayer,
    #[error("the offer is for another ledger")]
    OtherLedger,
    #[error("the neighbour asks for {price}, and at most {max} is paid")]
    PriceTooHigh { price: u64, max: u64 },
    #[error("the settlement is not between these two keys, or of another kind")]
    WrongSettlement,
    #[error("the offer is for an earlier epoch")]
    LowerEpoch,
    #[error("the offer changes the terms within an epoch")]
    ChangedTerms,
    #[error("the offer names more bytes than were signed")]
    NeverSigned,
    #[error("the receipt is for an epoch that was never offered")]
    UnknownEpoch,
    #[error("the receipt is between other keys than its epoch")]
    WrongKeys,
    #[error("the receipt is for another price or scope than its epoch")]
    OtherTerms,
    #[error("the receipt is not signed by its payer, or contradicts itself")]
    Forged,
}

impl Refused {
    /// What the owner can do, if anything.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::UnknownNode => Some("name the node in a [[neighbour]] section of both boxes"),
            Self::NotPaying => {
                Some("set `max_price` or `max_object_price` for the neighbour if it should be paid")
            }
            Self::OtherLedger => {
                Some("both boxes need the same [ledger], and `ledger = true` for each other or not")
            }
            Self::PriceTooHigh { .. } => Some(
                "raise `max_price` or `max_object_price`, or agree on a price with the neighbour's owner",
            ),
            Self::NeverSigned | Self::UnknownEpoch => {
                Some("if this box was restored from a backup, renew the key of `accounts`")
            }
            _ => None,
        }
    }
}

/// Why an owner's command has changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("there is no account with this node")]
    NoAccount,
    #[error("the neighbour owes {owed}, and {amount} cannot be settled")]
    MoreThanOwed { owed: u64, amount: u64 },
    #[error("there is room for {0} accounts, and each of them has a debt or a neighbour")]
    Full(usize),
}

impl AccountError {
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoAccount => "`octetctl accounts` lists the accounts",
            Self::MoreThanOwed { .. } => "settle at most what is owed",
            Self::Full(_) => "settle the debts of nodes that are no neighbours any more",
        }
    }
}
