//! What does not add up.

use std::fmt;

use octet_node::control::PublicKey;

/// The first thing in a ledger that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("block {height}{}: {what}", Number(*.transaction))]
pub struct Difference {
    /// Of the block that was audited.
    pub height: u64,
    /// Counted from 1; `None` if the block as a whole is wrong.
    pub transaction: Option<usize>,
    pub what: Mismatch,
}

struct Number(Option<usize>);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |number| write!(f, ", transaction {number}"))
    }
}

/// What is wrong with a block or with its votes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("it has {0} bytes, and a block has at most 262144")]
    TooLarge(usize),
    #[error("it is no block")]
    Block,
    #[error("it is the block of height {0}")]
    Height(u64),
    #[error("its votes are no votes")]
    Certificate,
    #[error("its votes are for another block")]
    OtherBlock,
    #[error("its votes are of round {votes}, and the block was made later, in round {block}")]
    EarlyVotes { votes: u32, block: u32 },
    #[error("{0} votes, and is no validator at this height")]
    Stranger(PublicKey),
    #[error("{0} votes twice")]
    VoteTwice(PublicKey),
    #[error("the vote of {0} is not signed by it for this block on this ledger")]
    ForgedVote(PublicKey),
    #[error("{votes} votes of {validators} validators are not more than two thirds")]
    TooFewVotes { votes: usize, validators: usize },
    #[error("it does not follow the block before it")]
    Parent,
    #[error("the validators say that the state before it was {theirs}, and it was {own}")]
    State { theirs: String, own: String },
    #[error("it is no transaction")]
    Transaction,
    #[error("{0}")]
    Rule(BrokenRule),
    #[error("there are {now} millionths of a coin, and {genesis} in the genesis")]
    Coins { now: u128, genesis: u128 },
}

/// A rule that a transaction breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenRule {
    #[error("it is not signed by its signer for this ledger")]
    Forged,
    #[error("the key that it binds has not agreed")]
    NoConsent,
    #[error("everybody can sign with a key that it names")]
    UnusableKey,
    #[error("its receipt is not signed by the payer for this ledger")]
    ForgedReceipt,
    #[error("the amount of its receipt is not what the bytes cost")]
    Arithmetic,
    #[error("its number is not the next one of its signer")]
    OutOfTurn,
    #[error("its signer does not have the coins")]
    NoCoins,
    #[error("it moves nothing")]
    Nothing,
    #[error("it pays from an owner to the same one")]
    OneOwner,
    #[error("it names a key that is not bound, or not its signer's")]
    NotBound,
    #[error("it binds a key that was bound before")]
    BoundBefore,
    #[error("its epoch is not higher than the one before")]
    Epoch,
    #[error("it uses a key that is closed or void")]
    ClosedKey,
    #[error("there is no lock")]
    NoLock,
    #[error("the lock is being withdrawn")]
    Withdrawn,
    #[error("its signer is not the payee of the receipt")]
    NotPayee,
    #[error("its receipt was paid before, or is older than one that was")]
    PaidBefore,
    #[error("the price of its receipt differs from that of the epoch")]
    PriceChanged,
    #[error("the payer's key has paid the most of a day")]
    DayOver,
    #[error("it is about an owner who has no validator")]
    NoValidator,
    #[error("it is about an owner who has a validator")]
    HasValidator,
    #[error("there would be fewer than 4 or more than 64 validators")]
    Validators,
    #[error("it is about the members of a pool, and the ledger has none")]
    NoPool,
    #[error("it admits a member of the pool, or removes one who is none")]
    Member,
    #[error("there would be more than 1024 members of the pool")]
    Members,
    #[error("a number is too large")]
    TooMuch,
}

impl Difference {
    /// Whether more than two thirds of the validators have voted for what is wrong. Otherwise it may be only the copy.
    pub fn is_signed(&self) -> bool {
        match self.what {
            Mismatch::Parent
            | Mismatch::State { .. }
            | Mismatch::Transaction
            | Mismatch::Rule(_)
            | Mismatch::Coins { .. } => true,
            Mismatch::TooLarge(_)
            | Mismatch::Block
            | Mismatch::Height(_)
            | Mismatch::Certificate
            | Mismatch::OtherBlock
            | Mismatch::EarlyVotes { .. }
            | Mismatch::Stranger(_)
            | Mismatch::VoteTwice(_)
            | Mismatch::ForgedVote(_)
            | Mismatch::TooFewVotes { .. } => false,
        }
    }

    pub fn help(&self) -> &'static str {
        if self.is_signed() {
            "the validators have signed this: keep the blocks with their votes, take no coins of this ledger, and show \
             it to its owners"
        } else {
            "the box's copy is damaged, or the box lies: audit by another box of the ledger, and compare the genesis files"
        }
    }
}
