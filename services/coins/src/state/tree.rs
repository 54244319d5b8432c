//! The rows of a state, and their hash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use octet_node::control::PublicKey;

use super::row::{LedgerRow, RowKey};
use crate::block::BlockHash;
use crate::sha256;

/// The number of buckets.
const BUCKETS: usize = 1024;

/// The rows of a state. Each is in one of 1024 buckets, by the first 10 bits of the SHA-256 of its encoded key.
///
/// The hash of a bucket is the SHA-256 of its rows, each as key and value, in the order of the keys; of an empty one,
/// zeros. The hash of all is the SHA-256 of `octet state 1`, a zero byte, the hash of the genesis, and those of the
/// buckets. So a block costs only the buckets that it changes; states share the others.
#[derive(Debug, Clone)]
pub struct RowTree {
    genesis: BlockHash,
    buckets: Vec<Arc<Bucket>>,
    groups: BTreeMap<RowGroup, Arc<BTreeSet<RowKey>>>,
    /// What happens by itself, by the height after whose block it does.
    ends: BTreeSet<(u64, RowKey)>,
    /// Whose rows were changed since [`forget_changes`](Self::forget_changes).
    changed: BTreeSet<RowKey>,
    hash: [u8; 32],
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    rows: BTreeMap<RowKey, LedgerRow>,
    hash: [u8; 32],
}

/// Rows that are looked for without their whole keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowGroup {
    Validators,
    /// The locks and claims of a payer's key.
    Payer(PublicKey),
    /// Of the pool.
    Members,
    /// Of owners that have earned something.
    Earnings,
}

impl RowGroup {
    fn of(key: &RowKey) -> Option<Self> {
        match key {
            RowKey::Validator(_) => Some(Self::Validators),
            RowKey::Member(..) => Some(Self::Members),
            RowKey::Earnings(_) => Some(Self::Earnings),
            RowKey::Lock(payer, _) | RowKey::Claim(payer, ..) => Some(Self::Payer(*payer)),
            _ => None,
        }
    }
}

fn bucket_of(key: &RowKey) -> usize {
    let [first, second, ..] = sha256(&key.encode());
    usize::from(first) << 2 | usize::from(second >> 6)
}

impl RowTree {
    /// The hash is right only after [`seal`](Self::seal).
    pub fn new(genesis: BlockHash, rows: BTreeMap<RowKey, LedgerRow>) -> Self {
        let mut tree = Self {
            genesis,
            buckets: vec![Arc::default(); BUCKETS],
            groups: BTreeMap::new(),
            ends: BTreeSet::new(),
            changed: BTreeSet::new(),
            hash: [0; 32],
        };
        for (key, row) in rows {
            tree.put(key, Some(row));
        }
        tree
    }

    pub fn get(&self, key: &RowKey) -> Option<&LedgerRow> {
        self.buckets[bucket_of(key)].rows.get(key)
    }

    /// The keys of a group, in their order.
    pub fn group(&self, group: RowGroup) -> impl Iterator<Item = &RowKey> {
        self.groups.get(&group).into_iter().flat_map(|keys| keys.iter())
    }

    /// All rows, in the order of buckets.
    pub fn iter(&self) -> impl Iterator<Item = (&RowKey, &LedgerRow)> {
        self.buckets.iter().flat_map(|bucket| &bucket.rows)
    }

    /// What happens by itself after the block of `height`.
    pub fn ends(&self, height: u64) -> impl Iterator<Item = &RowKey> {
        self.ends.iter().take_while(move |(at, _)| *at <= height).map(|(_, key)| key)
    }

    pub fn has_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    pub fn changed(&self) -> impl Iterator<Item = (&RowKey, Option<&LedgerRow>)> {
        self.changed.iter().map(|key| (key, self.get(key)))
    }

    pub fn forget_changes(&mut self) {
        self.changed.clear();
    }

    pub fn put(&mut self, key: RowKey, row: Option<LedgerRow>) {
        let rows = &mut Arc::make_mut(&mut self.buckets[bucket_of(&key)]).rows;
        let former = match row {
            Some(row) => rows.insert(key, row),
            None => rows.remove(&key),
        };
        if let Some(group) = RowGroup::of(&key)
            && former.is_some() != row.is_some()
        {
            let keys = Arc::make_mut(self.groups.entry(group).or_default());
            match row {
                Some(_) => keys.insert(key),
                None => keys.remove(&key),
            };
            if keys.is_empty() {
                self.groups.remove(&group);
            }
        }
        if let Some(height) = former.and_then(|row| row.ends_at()) {
            self.ends.remove(&(height, key));
        }
        self.ends.extend(row.and_then(|row| row.ends_at()).map(|height| (height, key)));
        self.changed.insert(key);
    }

    /// Hashes the buckets of the changed rows.
    pub fn seal(&mut self) {
        let touched: BTreeSet<_> = self.changed.iter().map(bucket_of).collect();
        for number in touched {
            let bucket = Arc::make_mut(&mut self.buckets[number]);
            let mut bytes = vec![];
            for (key, row) in &bucket.rows {
                bytes.extend_from_slice(&key.encode());
                bytes.extend_from_slice(&row.encode());
            }
            bucket.hash = if bytes.is_empty() { [0; 32] } else { sha256(&bytes) };
        }
        let mut bytes = b"octet state 1\0".to_vec();
        bytes.extend_from_slice(&self.genesis.0);
        for bucket in &self.buckets {
            bytes.extend_from_slice(&bucket.hash);
        }
        self.hash = sha256(&bytes);
    }

    /// Of all rows, as of the last [`seal`](Self::seal).
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }
}
