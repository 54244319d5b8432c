//! Blocks, transactions and certificates as bytes. Numbers are big-endian.

use crate::Bytes32;

pub const MAX_BLOCK: usize = 262_144;
pub const MAX_ORDERS: u32 = 1024;

/// The bytes that were not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn slice(&mut self, count: usize) -> Option<&'a [u8]> {
        let found = self.0.get(..count)?;
        self.0 = &self.0[count..];
        Some(found)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N).and_then(|found| found.try_into().ok())
    }

    fn number(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_be_bytes)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// A block, whose transactions are not read yet.
pub struct ReadBlock<'a> {
    pub height: u64,
    pub parent: Bytes32,
    pub state: Bytes32,
    pub round: u32,
    pub orders: Vec<&'a [u8]>,
}

/// Height, parent, state, round, the number of transactions, and each after its size.
pub fn read_block(bytes: &[u8]) -> Option<ReadBlock<'_>> {
    let mut reader = Reader(bytes);
    let height = reader.number()?;
    let (parent, state) = (reader.bytes()?, reader.bytes()?);
    let round = reader.bytes().map(u32::from_be_bytes)?;
    let count = reader.bytes().map(u32::from_be_bytes).filter(|count| *count <= MAX_ORDERS)?;
    let mut orders = vec![];
    for _ in 0..count {
        let size = reader.bytes().map(u16::from_be_bytes)?;
        orders.push(reader.slice(size.into())?);
    }
    reader.end()?;
    Some(ReadBlock { height, parent, state, round, orders })
}

/// The votes for a block.
pub struct ReadCertificate {
    pub height: u64,
    pub round: u32,
    pub block: Bytes32,
    pub votes: Vec<(Bytes32, [u8; 64])>,
}

/// Height, round, hash of the block, the number of votes, and of each the key and the signature.
pub fn read_certificate(bytes: &[u8]) -> Option<ReadCertificate> {
    let mut reader = Reader(bytes);
    let height = reader.number()?;
    let round = reader.bytes().map(u32::from_be_bytes)?;
    let block = reader.bytes()?;
    let count = reader.bytes().map(u16::from_be_bytes)?;
    let mut votes = vec![];
    for _ in 0..count {
        votes.push((reader.bytes()?, reader.bytes()?));
    }
    reader.end()?;
    Some(ReadCertificate { height, round, block, votes })
}

/// A transaction.
#[derive(Debug)]
pub struct Order<'a> {
    pub signer: Bytes32,
    pub nonce: u64,
    pub what: Ordered<'a>,
    /// All before the signature.
    pub signed: &'a [u8],
    pub signature: [u8; 64],
}

#[derive(Debug)]
pub enum Ordered<'a> {
    Transfer { to: Bytes32, amount: u64 },
    Bind { node: Bytes32, key: Bytes32, epoch: u64, max_per_day: u64, consent: [u8; 64] },
    Revoke { key: Bytes32 },
    Lock { payer: Bytes32, payee: Bytes32, amount: u64 },
    Withdraw { payer: Bytes32, payee: Bytes32 },
    Claim(Promise<'a>),
    Vote { change: Change, consent: Option<[u8; 64]> },
    Rotate { key: Bytes32, epoch: u64, consent: [u8; 64] },
}

/// A receipt.
#[derive(Debug)]
pub struct Promise<'a> {
    pub payer: Bytes32,
    pub payee: Bytes32,
    pub scope: Bytes32,
    pub epoch: u64,
    pub bytes: u64,
    pub price: u64,
    pub amount: u64,
    /// All before the signature.
    pub signed: &'a [u8],
    pub signature: [u8; 64],
}

/// A change of the validators, or of the members of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub kind: ChangeKind,
    pub owner: Bytes32,
    /// The validator's new key and its epoch, unless it is removed.
    pub key: Option<(Bytes32, u64)>,
    /// Of a member.
    pub node: Option<Bytes32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    Add = 1,
    Remove = 2,
    Replace = 3,
    AddMember = 4,
    RemoveMember = 5,
}

impl Change {
    pub fn bytes(&self) -> Vec<u8> {
        let key = self.key.map(|(key, epoch)| [&key[..], &epoch.to_be_bytes()[..]].concat());
        let key = key.or(self.node.map(Vec::from)).unwrap_or_default();
        [&[self.kind as u8], &self.owner[..], &key].concat()
    }
}

/// Version 1, signer, nonce, the kind and its fields, and the signature.
pub fn read_order(bytes: &[u8]) -> Option<Order<'_>> {
    let signed = bytes.get(..bytes.len().checked_sub(64)?)?;
    let mut reader = Reader(bytes);
    reader.bytes().filter(|version| *version == [1])?;
    let (signer, nonce) = (reader.bytes()?, reader.number()?);
    let what = match reader.bytes()? {
        [1] => Ordered::Transfer { to: reader.bytes()?, amount: reader.number()? },
        [2] => Ordered::Bind {
            node: reader.bytes()?,
            key: reader.bytes()?,
            epoch: reader.number()?,
            max_per_day: reader.number()?,
            consent: reader.bytes()?,
        },
        [3] => Ordered::Revoke { key: reader.bytes()? },
        [4] => Ordered::Lock {
            payer: reader.bytes()?,
            payee: reader.bytes()?,
            amount: reader.number()?,
        },
        [5] => Ordered::Withdraw { payer: reader.bytes()?, payee: reader.bytes()? },
        [6] => Ordered::Claim(read_promise(reader.slice(193)?)?),
        [7] => {
            let kind = match reader.bytes()? {
                [1] => ChangeKind::Add,
                [2] => ChangeKind::Remove,
                [3] => ChangeKind::Replace,
                [4] => ChangeKind::AddMember,
                [5] => ChangeKind::RemoveMember,
                _ => return None,
            };
            let mut change = Change { kind, owner: reader.bytes()?, key: None, node: None };
            let mut consent = None;
            match kind {
                ChangeKind::Remove => {}
                ChangeKind::Add | ChangeKind::Replace => {
                    change.key = Some((reader.bytes()?, reader.number()?));
                    consent = Some(reader.bytes()?);
                }
                ChangeKind::AddMember | ChangeKind::RemoveMember => {
                    change.node = Some(reader.bytes()?);
                }
            }
            Ordered::Vote { change, consent }
        }
        [8] => Ordered::Rotate {
            key: reader.bytes()?,
            epoch: reader.number()?,
            consent: reader.bytes()?,
        },
        _ => return None,
    };
    let signature = reader.bytes()?;
    reader.end()?;
    Some(Order { signer, nonce, what, signed, signature })
}

/// Version 1, payer, payee, scope, epoch, bytes, price, amount, and the signature.
fn read_promise(bytes: &[u8]) -> Option<Promise<'_>> {
    let mut reader = Reader(bytes);
    reader.bytes().filter(|version| *version == [1])?;
    let promise = Promise {
        payer: reader.bytes()?,
        payee: reader.bytes()?,
        scope: reader.bytes()?,
        epoch: reader.number()?,
        bytes: reader.number()?,
        price: reader.number()?,
        amount: reader.number()?,
        signed: bytes.get(..129)?,
        signature: reader.bytes()?,
    };
    reader.end()?;
    Some(promise)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..500),
            kind in 0u8..10,
        ) {
            let order = [&[1][..], &[7; 40], &[kind], &bytes].concat();
            for bytes in [&bytes, &order] {
                let _ = (read_block(bytes), read_certificate(bytes));
                if let Some(order) = read_order(bytes) {
                    prop_assert_eq!([order.signed, &order.signature].concat(), bytes.clone());
                }
            }
        }
    }
}
