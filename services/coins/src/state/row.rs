//! What a state consists of: rows, each with a key and a value.

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;

use crate::action::VotedChange;

/// The key of a row. Its encoding is the byte of the kind, as they are numbered here, and the fields. The order of
/// keys is that of their encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// 1: the fees that were paid. There is one such row.
    Pot,
    /// 2: of an owner.
    Account(PublicKey),
    /// 3: of a key that was ever bound.
    Key(PublicKey),
    /// 4: of an owner and a node.
    Node(PublicKey, PublicKey),
    /// 5: of a payer's and a payee's key.
    Lock(PublicKey, PublicKey),
    /// 6: of a payer's and a payee's key, and a scope.
    Claim(PublicKey, PublicKey, [u8; 32]),
    /// 7: of the owner of a validator.
    Validator(PublicKey),
    /// 8: of a key that was ever a validator's.
    ValidatorKey(PublicKey),
    /// 9: of the owner of a validator.
    Vote(PublicKey),
    /// 10: of an owner and a node.
    Member(PublicKey, PublicKey),
    /// 11: the settlement period, if it has fees. There is one such row.
    Period,
    /// 12: of an owner that has earned something in this settlement period or in the one before.
    Earnings(PublicKey),
}

/// The value of a row. Its encoding is that of the fields, in their order; numbers are big-endian, of 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerRow {
    Pot(u64),
    Account(OwnerAccount),
    Key(BoundKey),
    Node(NodeKey),
    Lock(CoinLock),
    Claim(ClaimedReceipt),
    Validator(ValidatorRow),
    /// The owner.
    ValidatorKey(PublicKey),
    Vote(CastVote),
    /// It has no fields.
    Member,
    Period(PeriodSums),
    Earnings(OwnerEarnings),
}

/// The coins of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnerAccount {
    /// In millionths of a coin.
    pub balance: u64,
    /// Of the owner's newest transaction.
    pub nonce: u64,
}

/// A key of a unit `accounts`, bound to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundKey {
    pub owner: PublicKey,
    pub node: PublicKey,
    pub epoch: u64,
    /// The most that is paid with the key in a day of heights.
    pub max_per_day: u64,
    pub state: KeyState,
    /// The day of the newest payment: its height divided by `heights_per_day`.
    pub day: u64,
    /// What was paid with the key on that day.
    pub paid: u64,
}

/// What a bound key can still do. Its encoding is the height `void_at`; 0 if the key is open, 2^64 - 1 if it is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Open,
    /// No coins are locked for it any more. Receipts are claimed up to the height `void_at`.
    Closed {
        void_at: u64,
    },
    /// The row remains, so that the key is not bound again.
    Void,
}

/// The newest key of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeKey {
    pub key: PublicKey,
    pub epoch: u64,
}

/// What a payer's key can pay to a payee's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoinLock {
    /// In millionths of a coin; never 0.
    pub amount: u64,
    /// After the block of this height, what is left returns to the owner. The encoding of none is 0.
    pub returns_at: Option<u64>,
}

/// The newest receipt that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedReceipt {
    pub epoch: u64,
    pub bytes: u64,
    pub price: u64,
    pub amount: u64,
    /// What was paid of the amount.
    pub paid: u64,
}

/// A validator of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidatorRow {
    pub key: PublicKey,
    pub epoch: u64,
    /// Up to this height it has no turn before the others.
    pub absent_until: u64,
}

/// A vote that has not lapsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CastVote {
    /// After the block of this height it has lapsed.
    pub lapses_at: u64,
    pub change: VotedChange,
}

/// What a ledger with a pool counts in a settlement period, in millionths of a coin. One is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeriodSums {
    /// Fees and levies.
    pub fees: u64,
    /// What claims have paid.
    pub work: u64,
}

/// What an owner earns on a ledger with a pool, in millionths of a coin. One is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnerEarnings {
    /// What claims have paid to its members in this settlement period, before the levy.
    pub work: u64,
    /// What claims have brought it in this settlement period: after the levy, before the fees.
    pub claims: u64,
    /// What claims have brought it in the last settlement period.
    pub last_claims: u64,
    /// What the pool has paid it for the last settlement period.
    pub last_pool: u64,
}

impl RowKey {
    pub fn encode(&self) -> Vec<u8> {
        let (kind, fields): (u8, [Option<&[u8]>; 3]) = match self {
            Self::Pot => (1, [None, None, None]),
            Self::Account(owner) => (2, [Some(owner.as_bytes()), None, None]),
            Self::Key(key) => (3, [Some(key.as_bytes()), None, None]),
            Self::Node(owner, node) => (4, [Some(owner.as_bytes()), Some(node.as_bytes()), None]),
            Self::Lock(payer, payee) => (5, [Some(payer.as_bytes()), Some(payee.as_bytes()), None]),
            Self::Claim(payer, payee, scope) => {
                (6, [Some(payer.as_bytes()), Some(payee.as_bytes()), Some(scope)])
            }
            Self::Validator(owner) => (7, [Some(owner.as_bytes()), None, None]),
            Self::ValidatorKey(key) => (8, [Some(key.as_bytes()), None, None]),
            Self::Vote(owner) => (9, [Some(owner.as_bytes()), None, None]),
            Self::Member(owner, node) => {
                (10, [Some(owner.as_bytes()), Some(node.as_bytes()), None])
            }
            Self::Period => (11, [None, None, None]),
            Self::Earnings(owner) => (12, [Some(owner.as_bytes()), None, None]),
        };
        let mut out = vec![kind];
        for field in fields.into_iter().flatten() {
            out.extend_from_slice(field);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let key = match fields.u8()? {
            1 => Self::Pot,
            2 => Self::Account(fields.key()?),
            3 => Self::Key(fields.key()?),
            4 => Self::Node(fields.key()?, fields.key()?),
            5 => Self::Lock(fields.key()?, fields.key()?),
            6 => Self::Claim(fields.key()?, fields.key()?, fields.array()?),
            7 => Self::Validator(fields.key()?),
            8 => Self::ValidatorKey(fields.key()?),
            9 => Self::Vote(fields.key()?),
            10 => Self::Member(fields.key()?, fields.key()?),
            11 => Self::Period,
            12 => Self::Earnings(fields.key()?),
            _ => return None,
        };
        fields.0.is_empty().then_some(key)
    }
}

impl LedgerRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![];
        let put = |out: &mut Vec<u8>, numbers: &[u64]| {
            for number in numbers {
                out.extend_from_slice(&number.to_be_bytes());
            }
        };
        match self {
            Self::Pot(amount) => put(&mut out, &[*amount]),
            Self::Account(it) => put(&mut out, &[it.balance, it.nonce]),
            Self::Key(it) => {
                out.extend_from_slice(it.owner.as_bytes());
                out.extend_from_slice(it.node.as_bytes());
                let state = it.state.encode();
                put(&mut out, &[it.epoch, it.max_per_day, state, it.day, it.paid]);
            }
            Self::Node(it) => {
                out.extend_from_slice(it.key.as_bytes());
                put(&mut out, &[it.epoch]);
            }
            Self::Lock(it) => put(&mut out, &[it.amount, it.returns_at.unwrap_or(0)]),
            Self::Claim(it) => put(&mut out, &[it.epoch, it.bytes, it.price, it.amount, it.paid]),
            Self::Validator(it) => {
                out.extend_from_slice(it.key.as_bytes());
                put(&mut out, &[it.epoch, it.absent_until]);
            }
            Self::ValidatorKey(owner) => out.extend_from_slice(owner.as_bytes()),
            Self::Vote(it) => {
                put(&mut out, &[it.lapses_at]);
                it.change.encode(&mut out);
            }
            Self::Member => {}
            Self::Period(it) => put(&mut out, &[it.fees, it.work]),
            Self::Earnings(it) => {
                put(&mut out, &[it.work, it.claims, it.last_claims, it.last_pool]);
            }
        }
        out
    }

    fn decode(key: &RowKey, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let row = match key {
            RowKey::Pot => Self::Pot(fields.u64()?),
            RowKey::Account(_) => {
                Self::Account(OwnerAccount { balance: fields.u64()?, nonce: fields.u64()? })
            }
            RowKey::Key(_) => Self::Key(BoundKey {
                owner: fields.key()?,
                node: fields.key()?,
                epoch: fields.u64()?,
                max_per_day: fields.u64()?,
                state: KeyState::decode(fields.u64()?),
                day: fields.u64()?,
                paid: fields.u64()?,
            }),
            RowKey::Node(..) => Self::Node(NodeKey { key: fields.key()?, epoch: fields.u64()? }),
            RowKey::Lock(..) => {
                let amount = fields.u64().filter(|amount| *amount > 0)?;
                let returns_at = Some(fields.u64()?).filter(|height| *height > 0);
                Self::Lock(CoinLock { amount, returns_at })
            }
            RowKey::Claim(..) => Self::Claim(ClaimedReceipt {
                epoch: fields.u64()?,
                bytes: fields.u64()?,
                price: fields.u64()?,
                amount: fields.u64()?,
                paid: fields.u64()?,
            }),
            RowKey::Validator(_) => Self::Validator(ValidatorRow {
                key: fields.key()?,
                epoch: fields.u64()?,
                absent_until: fields.u64()?,
            }),
            RowKey::ValidatorKey(_) => Self::ValidatorKey(fields.key()?),
            RowKey::Vote(_) => {
                let lapses_at = fields.u64()?;
                Self::Vote(CastVote { lapses_at, change: VotedChange::decode(&mut fields)? })
            }
            RowKey::Member(..) => Self::Member,
            RowKey::Period => {
                let sums = PeriodSums { fees: fields.u64()?, work: fields.u64()? };
                Self::Period(Some(sums).filter(|sums| *sums != PeriodSums::default())?)
            }
            RowKey::Earnings(_) => {
                let earnings = OwnerEarnings {
                    work: fields.u64()?,
                    claims: fields.u64()?,
                    last_claims: fields.u64()?,
                    last_pool: fields.u64()?,
                };
                Self::Earnings(Some(earnings).filter(|it| *it != OwnerEarnings::default())?)
            }
        };
        fields.0.is_empty().then_some(row)
    }

    /// After the block of which height something about the row happens by itself.
    pub(super) fn ends_at(&self) -> Option<u64> {
        match self {
            Self::Lock(lock) => lock.returns_at,
            Self::Vote(vote) => Some(vote.lapses_at),
            Self::Key(BoundKey { state: KeyState::Closed { void_at }, .. }) => Some(*void_at),
            _ => None,
        }
    }
}

/// Decodes a row. There is one encoding of each.
pub fn decode_row(key: &[u8], value: &[u8]) -> Option<(RowKey, LedgerRow)> {
    let key = RowKey::decode(key)?;
    let row = LedgerRow::decode(&key, value)?;
    Some((key, row))
}

impl KeyState {
    fn encode(self) -> u64 {
        match self {
            Self::Open => 0,
            Self::Closed { void_at } => void_at,
            Self::Void => u64::MAX,
        }
    }

    fn decode(number: u64) -> Self {
        match number {
            0 => Self::Open,
            u64::MAX => Self::Void,
            void_at => Self::Closed { void_at },
        }
    }
}
