//! Why a transaction is not valid.

use octet_receipts::InvalidReceipt;

/// Why a transaction is not valid in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    #[error("the transaction is not signed by its signer for this ledger")]
    Forged,
    #[error("the key that is to be bound has not agreed to it")]
    NoConsent,
    #[error("everybody can sign with this key")]
    WeakKey,
    #[error("{0}")]
    Receipt(InvalidReceipt),
    #[error("the transaction is not the signer's next")]
    Nonce,
    #[error("the signer does not have that much")]
    Balance,
    #[error("the amount is 0")]
    Zero,
    #[error("the signer is the one who would be paid")]
    ToSelf,
    #[error("the key is not bound")]
    UnknownKey,
    #[error("the key was bound before")]
    BoundBefore,
    #[error("the epoch is not higher than that of the former key")]
    LowerEpoch,
    #[error("the signer does not own the key")]
    NotOwner,
    #[error("the key is closed")]
    Closed,
    #[error("both keys belong to one owner")]
    OneOwner,
    #[error("there is no such lock")]
    NoLock,
    #[error("the lock is being withdrawn")]
    Withdrawing,
    #[error("the signer is not the payee of the receipt")]
    NotPayee,
    #[error("the receipt is paid, or a newer one is")]
    Superseded,
    #[error("the price differs from an earlier receipt of the epoch")]
    Price,
    #[error("the payer's key has paid the most that it may pay in a day")]
    DayLimit,
    #[error("the signer owns no validator")]
    NotValidator,
    #[error("the owner runs a validator already")]
    IsValidator,
    #[error("there would be too few validators")]
    TooFewValidators,
    #[error("there would be too many validators")]
    TooManyValidators,
    #[error("this ledger has no pool")]
    NoPool,
    #[error("the owner's node is a member of the pool already")]
    IsMember,
    #[error("the owner's node is no member of the pool")]
    NotMember,
    #[error("there would be too many members of the pool")]
    TooManyMembers,
    #[error("too many transactions wait")]
    Full,
    #[error("the amounts add up to more than there can be")]
    Overflow,
}

impl InvalidTransaction {
    /// Whether no later state can make the transaction valid.
    pub(crate) fn is_final(self) -> bool {
        match self {
            Self::Forged
            | Self::NoConsent
            | Self::WeakKey
            | Self::Receipt(_)
            | Self::Zero
            | Self::ToSelf
            | Self::BoundBefore
            | Self::LowerEpoch
            | Self::NotOwner
            | Self::Closed
            | Self::OneOwner
            | Self::NotPayee
            | Self::Superseded
            | Self::Price
            | Self::NoPool
            | Self::Overflow => true,
            // A nonce may be one of the next ones; the rest depends on what others do.
            Self::Nonce
            | Self::Balance
            | Self::UnknownKey
            | Self::NoLock
            | Self::Withdrawing
            | Self::DayLimit
            | Self::NotValidator
            | Self::IsValidator
            | Self::TooFewValidators
            | Self::TooManyValidators
            | Self::IsMember
            | Self::NotMember
            | Self::TooManyMembers
            | Self::Full => false,
        }
    }

    pub fn help(&self) -> &'static str {
        match self {
            Self::Forged | Self::Receipt(_) => {
                "sign it again, with the key that it names and the hash of this ledger's genesis"
            }
            Self::NoConsent => {
                "have the key that is to be bound sign its consent for this owner, node and epoch"
            }
            Self::WeakKey => "ask for the key again",
            Self::Nonce => "number it one higher than your newest transaction",
            Self::Balance => "each transaction costs the fee besides its amount; see the balance",
            Self::Zero => "name an amount of at least a millionth of a coin",
            Self::ToSelf | Self::OneOwner => "nothing moves between the keys of one owner",
            Self::UnknownKey => "its owner has to bind the key first",
            Self::BoundBefore => "have the box make a new key: each is bound once",
            Self::LowerEpoch => "use a higher epoch",
            Self::NotOwner => "sign with the key of its owner",
            Self::Closed => "bind a new key of the box, and use that",
            Self::NoLock => "the payer's owner has to lock coins for the payee first",
            Self::Withdrawing => "wait until the coins are back, and lock them again",
            Self::NotPayee => "sign with the key that the receipt names as the payee",
            Self::Superseded => "claim the newest receipt",
            Self::Price => "claim a receipt with the price of the epoch, or of a higher epoch",
            Self::DayLimit => "claim the rest after the day of heights",
            Self::NotValidator => "only owners of validators vote",
            Self::IsValidator => "vote for a replacement of its key instead",
            Self::TooFewValidators => "add another one first",
            Self::TooManyValidators | Self::TooManyMembers => "remove another one first",
            Self::NoPool => "only a ledger whose genesis file has a [pool] has members",
            Self::IsMember => {
                "it earns with each key that its owner binds for it; nothing is to be done"
            }
            Self::NotMember => "`ledger pool` lists the members, each with its owner and node",
            Self::Full => "wait until some of them are in a block",
            Self::Overflow => "name a lower amount",
        }
    }
}
