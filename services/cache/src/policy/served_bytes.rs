//! The bytes of each object that were sent to each node, for later accounting.

use std::collections::{BTreeMap, BTreeSet};

use iroh_blobs::Hash;

use super::rows::RowChange;

/// The maximum number of rows. The one with the fewest bytes is dropped first.
const MAX: usize = 4096;

/// The key of a row: the node's service, and the object.
type Name = ([u8; 32], Hash);

#[derive(Debug, Default)]
pub struct ServedBytes {
    rows: BTreeMap<Name, u64>,
    by_bytes: BTreeSet<(u64, Name)>,
    /// The rows that differ from those on disk.
    changed: BTreeSet<Name>,
}

impl ServedBytes {
    pub fn new(rows: Vec<([u8; 32], Hash, u64)>) -> Self {
        let mut given = Self::default();
        for (to, hash, bytes) in rows {
            given.add(to, hash, bytes);
        }
        given.changed.clear();
        given
    }

    pub fn add(&mut self, to: [u8; 32], hash: Hash, bytes: u64) {
        let name = (to, hash);
        let before = self.rows.get(&name).copied();
        if let Some(before) = before {
            self.by_bytes.remove(&(before, name));
        } else if self.rows.len() >= MAX
            && let Some((_, least)) = self.by_bytes.pop_first()
        {
            self.rows.remove(&least);
            self.changed.insert(least);
        }
        let bytes = before.unwrap_or_default().saturating_add(bytes);
        self.rows.insert(name, bytes);
        self.by_bytes.insert((bytes, name));
        self.changed.insert(name);
    }

    /// The bytes sent to one node, and the number of objects.
    pub fn sent_to(&self, to: &[u8; 32]) -> (u64, usize) {
        let own = self.rows.iter().filter(|((one, _), _)| one == to);
        own.fold((0, 0), |(bytes, count), (_, more)| (bytes + more, count + 1))
    }

    /// The changes to store, and the rows that they are of. They count as stored from now on.
    pub fn take_changes(&mut self) -> (BTreeSet<Name>, Vec<RowChange>) {
        let names = std::mem::take(&mut self.changed);
        let change = |name: &Name| match self.rows.get(name) {
            Some(bytes) => RowChange::Served(name.0, name.1, *bytes),
            None => RowChange::Unserved(name.0, name.1),
        };
        let changes = names.iter().map(change).collect();
        (names, changes)
    }

    /// The changes of these rows could not be stored.
    pub fn not_written(&mut self, names: BTreeSet<Name>) {
        self.changed.extend(names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_goes_first() {
        let mut given = ServedBytes::default();
        let name = |at: usize| Hash::new(at.to_be_bytes());
        for at in 0..MAX {
            given.add([1; 32], name(at), 100 + at as u64);
        }
        given.take_changes();
        given.add([2; 32], name(0), 7);
        given.add([2; 32], name(0), 8);
        assert_eq!(given.sent_to(&[2; 32]), (15, 1));
        assert_eq!(given.sent_to(&[1; 32]).1, MAX - 1);
        let (_, mut changes) = given.take_changes();
        changes.sort_by_key(|change| matches!(change, RowChange::Served(..)));
        let expected =
            [RowChange::Unserved([1; 32], name(0)), RowChange::Served([2; 32], name(0), 15)];
        assert_eq!(changes, expected);
    }
}
