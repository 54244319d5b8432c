//! Remembered removals, with their row numbers, indexed by both, because each request looks one up.

use std::collections::{BTreeMap, HashMap};

use iroh_blobs::Hash;

#[derive(Debug, Default)]
pub struct Removed {
    hashes: BTreeMap<u64, Hash>,
    numbers: HashMap<Hash, u64>,
}

impl Removed {
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// The row number of the hash.
    pub fn number(&self, hash: &Hash) -> Option<u64> {
        self.numbers.get(hash).copied()
    }

    /// The oldest row number.
    pub fn oldest(&self) -> Option<u64> {
        self.hashes.first_key_value().map(|(number, _)| *number)
    }

    /// The next row number.
    pub fn next(&self) -> u64 {
        self.hashes.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    /// Adds a removal.
    pub fn insert(&mut self, number: u64, hash: Hash) {
        if let Some(before) = self.numbers.insert(hash, number) {
            self.hashes.remove(&before);
        }
        self.hashes.insert(number, hash);
    }

    /// Forgets the removal with this number.
    pub fn forget(&mut self, number: u64) {
        if let Some(hash) = self.hashes.remove(&number) {
            self.numbers.remove(&hash);
        }
    }
}

impl FromIterator<(u64, Hash)> for Removed {
    fn from_iter<T: IntoIterator<Item = (u64, Hash)>>(rows: T) -> Self {
        let mut all = Self::default();
        rows.into_iter().for_each(|(number, hash)| all.insert(number, hash));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Both indexes agree with a linear search, after any sequence of changes.
        #[test]
        fn each_is_found_by_both(steps in prop::collection::vec((0u8..8, any::<bool>()), 0..60)) {
            let (mut removed, mut list) = (Removed::default(), Vec::<(u64, Hash)>::new());
            for (name, comes) in steps {
                let hash = Hash::new([name]);
                list.retain(|(_, one)| *one != hash);
                if comes {
                    let number = removed.next();
                    removed.insert(number, hash);
                    list.push((number, hash));
                } else if let Some(number) = removed.number(&hash) {
                    removed.forget(number);
                }
                prop_assert_eq!(removed.len(), list.len());
                prop_assert_eq!(removed.numbers.len(), list.len());
                prop_assert_eq!(removed.oldest(), list.first().map(|(number, _)| *number));
                for (number, hash) in &list {
                    prop_assert_eq!(removed.number(hash), Some(*number));
                }
            }
        }
    }
}
