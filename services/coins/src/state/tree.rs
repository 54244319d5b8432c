//! The rows of a state, and their hash.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::row::{LedgerRow, RowKey};
use crate::block::BlockHash;
use crate::sha256;

/// The number of buckets.
const BUCKETS: usize = 1024;

/// The rows of a state. Each is in one of 1024 buckets, by the first 10 bits of the SHA-256 of its encoded key.
///
/// The hash of a bucket is the SHA-256 of its rows, each as key and value, in the order of the keys; of an empty one,
/// zeros. The hash of all is the SHA-256 of `octet state 1`, a zero byte, the hash of the genesis, and those of the
/// buckets. So a block costs only the buckets that it changes.
#[derive(Debug, Clone)]
pub struct RowTree {
    genesis: BlockHash,
    rows: BTreeMap<RowKey, LedgerRow>,
    buckets: Vec<Arc<Bucket>>,
    /// What happens by itself, by the height after whose block it does.
    ends: BTreeSet<(u64, RowKey)>,
    /// Whose rows were changed since [`forget_changes`](Self::forget_changes).
    changed: BTreeSet<RowKey>,
    hash: [u8; 32],
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    keys: BTreeSet<RowKey>,
    hash: [u8; 32],
}

fn bucket_of(key: &RowKey) -> usize {
    let [first, second, ..] = sha256(&key.encode());
    usize::from(first) << 2 | usize::from(second >> 6)
}

impl RowTree {
    /// The hash is right only after [`seal`](Self::seal).
    pub fn new(genesis: BlockHash, rows: BTreeMap<RowKey, LedgerRow>) -> Self {
        let mut buckets = vec![Bucket::default(); BUCKETS];
        let mut ends = BTreeSet::new();
        for (key, row) in &rows {
            buckets[bucket_of(key)].keys.insert(*key);
            ends.extend(row.ends_at().map(|height| (height, *key)));
        }
        let changed = rows.keys().copied().collect();
        let buckets = buckets.into_iter().map(Arc::new).collect();
        Self { genesis, rows, buckets, ends, changed, hash: [0; 32] }
    }

    pub fn get(&self, key: &RowKey) -> Option<&LedgerRow> {
        self.rows.get(key)
    }

    pub fn range(
        &self,
        keys: RangeInclusive<RowKey>,
    ) -> impl Iterator<Item = (&RowKey, &LedgerRow)> {
        self.rows.range(keys)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&RowKey, &LedgerRow)> {
        self.rows.iter()
    }

    /// What happens by itself after the block of `height`.
    pub fn ends(&self, height: u64) -> impl Iterator<Item = &RowKey> {
        self.ends.iter().take_while(move |(at, _)| *at <= height).map(|(_, key)| key)
    }

    pub fn has_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    pub fn changed(&self) -> impl Iterator<Item = (&RowKey, Option<&LedgerRow>)> {
        self.changed.iter().map(|key| (key, self.rows.get(key)))
    }

    pub fn forget_changes(&mut self) {
        self.changed.clear();
    }

    pub fn put(&mut self, key: RowKey, row: Option<LedgerRow>) {
        let former = match row {
            Some(row) => self.rows.insert(key, row),
            None => self.rows.remove(&key),
        };
        if let Some(height) = former.and_then(|row| row.ends_at()) {
            self.ends.remove(&(height, key));
        }
        self.ends.extend(row.and_then(|row| row.ends_at()).map(|height| (height, key)));
        self.changed.insert(key);
    }

    /// Hashes the buckets of the changed rows.
    pub fn seal(&mut self) {
        let mut touched = BTreeSet::new();
        for key in &self.changed {
            let number = bucket_of(key);
            let bucket = Arc::make_mut(&mut self.buckets[number]);
            match self.rows.contains_key(key) {
                true => bucket.keys.insert(*key),
                false => bucket.keys.remove(key),
            };
            touched.insert(number);
        }
        for number in touched {
            let bucket = Arc::make_mut(&mut self.buckets[number]);
            let mut bytes = vec![];
            for (key, row) in bucket.keys.iter().filter_map(|key| Some((key, self.rows.get(key)?)))
            {
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
