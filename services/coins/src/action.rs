//! What a transaction does.

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use octet_receipts::SignedReceipt;

use crate::possession::Possession;

/// What a transaction does. Amounts are in millionths of a coin.
///
/// Its encoding (numbers are big-endian) is the byte of the kind, as the fields are numbered here, and then the fields
/// in this order: keys of 32 bytes, numbers of 8, consents of 64, and a receipt of 193.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// 1: the signer gives coins to an owner.
    Transfer { to: PublicKey, amount: u64 },
    /// 2: the signer binds the key of a node's unit `accounts`. It closes the node's former key.
    BindKey {
        node: PublicKey,
        key: PublicKey,
        /// Higher than that of the node's former key.
        epoch: u64,
        /// The most that is paid with the key in a day of heights.
        max_per_day: u64,
        /// By `key`.
        consent: Possession,
    },
    /// 3: the signer closes a key.
    RevokeKey { key: PublicKey },
    /// 4: the signer, who owns `payer`, puts coins into the lock for `payee`.
    Lock { payer: PublicKey, payee: PublicKey, amount: u64 },
    /// 5: the signer, who owns `payer`, wants back what will be left in a lock.
    Withdraw { payer: PublicKey, payee: PublicKey },
    /// 6: the payee, who is the signer, wants what a receipt promises.
    Claim { receipt: SignedReceipt },
    /// 7: the signer, who owns a validator, votes for a change of the validators, or of the pool's members.
    Vote { change: VotedChange, consent: Option<Possession> },
    /// 8: the signer replaces the key of its validator.
    RotateValidator {
        key: PublicKey,
        /// Higher than that of the former key.
        epoch: u64,
        /// By `key`.
        consent: Possession,
    },
}

/// What the owners of validators vote for. Its encoding is the byte of the kind, and then the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VotedChange {
    /// 1: a new validator. A vote for it has the consent of `key`.
    Add { owner: PublicKey, key: PublicKey, epoch: u64 },
    /// 2: a validator goes. It names the owner, who could otherwise evade it by a new key.
    Remove { owner: PublicKey },
    /// 3: another key for a validator. A vote for it has the consent of `key`.
    Replace { owner: PublicKey, key: PublicKey, epoch: u64 },
    /// 4: an owner's node becomes a member of the pool: with whatever key the owner binds for it.
    AddMember { owner: PublicKey, node: PublicKey },
    /// 5: an owner's node is no longer a member of the pool.
    RemoveMember { owner: PublicKey, node: PublicKey },
}

impl Action {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let put_key = |out: &mut Vec<u8>, key: &PublicKey| out.extend_from_slice(key.as_bytes());
        match self {
            Self::Transfer { to, amount } => {
                out.push(1);
                put_key(out, to);
                out.extend_from_slice(&amount.to_be_bytes());
            }
            Self::BindKey { node, key, epoch, max_per_day, consent } => {
                out.push(2);
                put_key(out, node);
                put_key(out, key);
                out.extend_from_slice(&epoch.to_be_bytes());
                out.extend_from_slice(&max_per_day.to_be_bytes());
                out.extend_from_slice(&consent.0);
            }
            Self::RevokeKey { key } => {
                out.push(3);
                put_key(out, key);
            }
            Self::Lock { payer, payee, amount } => {
                out.push(4);
                put_key(out, payer);
                put_key(out, payee);
                out.extend_from_slice(&amount.to_be_bytes());
            }
            Self::Withdraw { payer, payee } => {
                out.push(5);
                put_key(out, payer);
                put_key(out, payee);
            }
            Self::Claim { receipt } => {
                out.push(6);
                out.extend_from_slice(&receipt.to_bytes());
            }
            Self::Vote { change, consent } => {
                out.push(7);
                change.encode(out);
                if let Some(consent) = consent {
                    out.extend_from_slice(&consent.0);
                }
            }
            Self::RotateValidator { key, epoch, consent } => {
                out.push(8);
                put_key(out, key);
                out.extend_from_slice(&epoch.to_be_bytes());
                out.extend_from_slice(&consent.0);
            }
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        Some(match fields.u8()? {
            1 => Self::Transfer { to: fields.key()?, amount: fields.u64()? },
            2 => Self::BindKey {
                node: fields.key()?,
                key: fields.key()?,
                epoch: fields.u64()?,
                max_per_day: fields.u64()?,
                consent: Possession(fields.array()?),
            },
            3 => Self::RevokeKey { key: fields.key()? },
            4 => Self::Lock { payer: fields.key()?, payee: fields.key()?, amount: fields.u64()? },
            5 => Self::Withdraw { payer: fields.key()?, payee: fields.key()? },
            6 => {
                let receipt = fields.take(SignedReceipt::BYTES)?;
                Self::Claim { receipt: SignedReceipt::from_bytes(receipt)? }
            }
            7 => {
                let change = VotedChange::decode(fields)?;
                let consent = match change.key() {
                    Some(_) => Some(Possession(fields.array()?)),
                    None => None,
                };
                Self::Vote { change, consent }
            }
            8 => Self::RotateValidator {
                key: fields.key()?,
                epoch: fields.u64()?,
                consent: Possession(fields.array()?),
            },
            _ => return None,
        })
    }
}

impl VotedChange {
    /// The owner whose validator, or whose member of the pool, it changes.
    pub fn owner(&self) -> &PublicKey {
        match self {
            Self::Add { owner, .. }
            | Self::Remove { owner }
            | Self::Replace { owner, .. }
            | Self::AddMember { owner, .. }
            | Self::RemoveMember { owner, .. } => owner,
        }
    }

    /// The key that becomes a validator's, and its epoch.
    pub(crate) fn key(&self) -> Option<(&PublicKey, u64)> {
        match self {
            Self::Add { key, epoch, .. } | Self::Replace { key, epoch, .. } => Some((key, *epoch)),
            Self::Remove { .. } | Self::AddMember { .. } | Self::RemoveMember { .. } => None,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Add { .. } => 1,
            Self::Remove { .. } => 2,
            Self::Replace { .. } => 3,
            Self::AddMember { .. } => 4,
            Self::RemoveMember { .. } => 5,
        });
        out.extend_from_slice(self.owner().as_bytes());
        if let Some((key, epoch)) = self.key() {
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(&epoch.to_be_bytes());
        }
        if let Self::AddMember { node, .. } | Self::RemoveMember { node, .. } = self {
            out.extend_from_slice(node.as_bytes());
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (kind, owner) = (fields.u8()?, fields.key()?);
        Some(match kind {
            1 => Self::Add { owner, key: fields.key()?, epoch: fields.u64()? },
            2 => Self::Remove { owner },
            3 => Self::Replace { owner, key: fields.key()?, epoch: fields.u64()? },
            4 => Self::AddMember { owner, node: fields.key()? },
            5 => Self::RemoveMember { owner, node: fields.key()? },
            _ => return None,
        })
    }
}
