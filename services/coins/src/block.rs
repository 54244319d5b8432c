//! A block: transactions in the order in which they happen.

use std::fmt;

use octet_node::bytes::Fields;

use crate::invalid::InvalidTransaction;
use crate::sha256;
use crate::transaction::SignedTransaction;

/// The maximum size of an encoded block, in bytes.
pub const MAX_BLOCK: usize = 256 << 10;

/// The maximum number of transactions in a block.
pub const MAX_TRANSACTIONS: usize = 1024;

/// The SHA-256 of a block's encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub [u8; 32]);

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A block. Its encoding (numbers are big-endian): height (8 bytes), parent (32), state (32), round (4), the
/// number of transactions (4), and the transactions, each after its size (2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The first block has height 1.
    pub height: u64,
    /// The hash of the block before; of the first block, the hash of the genesis.
    pub parent: BlockHash,
    /// The hash of the state before this block.
    pub state: [u8; 32],
    /// The round in which the block was first proposed. Those whose turns were in earlier rounds missed them. The
    /// consensus sees to it that nobody names another round: it takes a block only from the proposer of this one.
    pub round: u32,
    pub transactions: Vec<SignedTransaction>,
}

/// Why a block cannot follow a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlock {
    #[error("the block does not follow the newest block")]
    NotNext,
    #[error("the block was made for another state")]
    State,
    #[error("the block is too large")]
    TooLarge,
    #[error("transaction {0}: {1}")]
    Transaction(usize, InvalidTransaction),
    #[error("what ends at this height: {0}")]
    End(InvalidTransaction),
}

impl Block {
    /// The size of an encoded block without transactions, in bytes.
    pub(crate) const HEADER: usize = 80;

    /// What a block has besides each transaction, in bytes.
    pub(crate) const PER_TRANSACTION: usize = 2;

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.height.to_be_bytes().to_vec();
        out.extend_from_slice(&self.parent.0);
        out.extend_from_slice(&self.state);
        out.extend_from_slice(&self.round.to_be_bytes());
        out.extend_from_slice(&(self.transactions.len() as u32).to_be_bytes());
        for transaction in &self.transactions {
            let bytes = transaction.to_bytes();
            out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            out.extend_from_slice(&bytes);
        }
        out
    }

    /// Decodes a block. Whether it is valid, [`LedgerState::check`](crate::LedgerState::check) says.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BLOCK {
            return None;
        }
        let mut fields = Fields(bytes);
        let (height, parent, state) = (fields.u64()?, BlockHash(fields.array()?), fields.array()?);
        let (round, count) = (fields.u32()?, fields.u32()?);
        if count as usize > MAX_TRANSACTIONS {
            return None;
        }
        let mut transactions = vec![];
        for _ in 0..count {
            let size = fields.u16()?;
            transactions.push(SignedTransaction::from_bytes(fields.take(size.into())?)?);
        }
        fields.0.is_empty().then_some(Self { height, parent, state, round, transactions })
    }

    pub fn hash(&self) -> BlockHash {
        BlockHash(sha256(&self.to_bytes()))
    }
}
