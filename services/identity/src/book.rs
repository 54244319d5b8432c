//! Which key of each service counts, and which never again. No disk and no clock in here.

use std::collections::BTreeMap;

use octet_node::control::{PublicKey, UnitName};
use serde::{Deserialize, Serialize};

/// How many keys of one service are remembered that count no more. They are never forgotten: when
/// there is no room, none is added.
const MAX_GONE: usize = 1024;

/// How much of that room only [`Why::Revoked`] takes: whoever may have keys replaced, or a service that makes ever new
/// ones, cannot keep an owner from ending one.
const FOR_REVOKED: usize = 64;

/// What is remembered about all services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRegistry {
    units: BTreeMap<UnitName, ServiceEntry>,
}

/// What is remembered about one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceEntry {
    /// How many keys it has had, the next one included while it has none.
    pub epoch: u64,
    pub key: Option<Current>,
    pub replaced: Vec<PublicKey>,
    /// Keys that may be in others' hands.
    pub revoked: Vec<PublicKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Current {
    pub key: PublicKey,
    /// When it was first certified, in seconds since 1970.
    pub issued: u64,
}

/// What becomes of a service's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyDecision {
    /// It is the one that counts, as it was before.
    Counts {
        /// Which key of the service it is.
        epoch: u64,
        /// When it was first certified.
        issued: u64,
    },
    /// It counted once, and never will again.
    Gone,
    /// It is new: [`Book::accept`] it.
    New,
}

/// Why a key ceases to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationReason {
    Replaced,
    /// It may be in others' hands.
    Revoked,
}

/// The book has no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{gone} keys of `{unit}` are remembered that count no more, and none is forgotten")]
pub struct Full {
    pub unit: UnitName,
    pub gone: usize,
}

impl KeyRegistry {
    /// What is remembered of each service.
    pub fn units(&self) -> impl Iterator<Item = (&UnitName, &ServiceEntry)> {
        self.units.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// What is to become of `key`, which `unit` says is its own.
    pub fn judge(&self, unit: &UnitName, key: &PublicKey) -> KeyDecision {
        let Some(entry) = self.units.get(unit) else { return KeyDecision::New };
        match entry.key {
            Some(current) if current.key == *key => {
                KeyDecision::Counts { epoch: entry.epoch, issued: current.issued }
            }
            _ if entry.replaced.contains(key) || entry.revoked.contains(key) => KeyDecision::Gone,
            _ => KeyDecision::New,
        }
    }

    /// `key` is that of `unit` from `now` on, in seconds since 1970; the one before counts no more.
    pub fn accept(&mut self, unit: &UnitName, key: PublicKey, now: u64) -> Result<(), Full> {
        self.end(unit, RevocationReason::Replaced)?;
        let entry = self.units.entry(unit.clone()).or_default();
        entry.epoch = entry.epoch.max(1);
        entry.key = Some(Current { key, issued: now });
        Ok(())
    }

    /// The key of `unit`, if it has one, counts no more. One that was replaced can still be revoked:
    /// `Why::Revoked` takes every key that the service has had before.
    pub fn end(&mut self, unit: &UnitName, why: RevocationReason) -> Result<(), Full> {
        let Some(entry) = self.units.get_mut(unit) else { return Ok(()) };
        if let Some(current) = entry.key {
            let room = match why {
                RevocationReason::Replaced => MAX_GONE - FOR_REVOKED,
                RevocationReason::Revoked => MAX_GONE,
            };
            let gone = entry.replaced.len() + entry.revoked.len();
            if gone >= room {
                return Err(Full { unit: unit.clone(), gone });
            }
            entry.replaced.push(current.key);
            entry.key = None;
            entry.epoch += 1;
        }
        if why == RevocationReason::Revoked {
            entry.revoked.append(&mut entry.replaced);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: u16) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        PublicKey::new(bytes)
    }

    fn unit(name: &str) -> UnitName {
        name.parse().unwrap()
    }

    #[test]
    fn a_key_counts_until_it_is_replaced() {
        let (mut book, gate) = (KeyRegistry::default(), unit("gate"));
        assert_eq!(book.judge(&gate, &key(1)), KeyDecision::New);
        book.accept(&gate, key(1), 10).unwrap();
        assert_eq!(book.judge(&gate, &key(1)), KeyDecision::Counts { epoch: 1, issued: 10 });
        assert_eq!(book.judge(&unit("cache"), &key(1)), KeyDecision::New);
        book.accept(&gate, key(2), 20).unwrap();
        assert_eq!(book.judge(&gate, &key(1)), KeyDecision::Gone);
        assert_eq!(book.judge(&gate, &key(2)), KeyDecision::Counts { epoch: 2, issued: 20 });
        book.end(&gate, RevocationReason::Revoked).unwrap();
        assert_eq!(book.judge(&gate, &key(2)), KeyDecision::Gone);
        book.accept(&gate, key(3), 30).unwrap();
        assert_eq!(book.judge(&gate, &key(3)), KeyDecision::Counts { epoch: 3, issued: 30 });
        let (_, entry) = book.units().next().unwrap();
        assert_eq!((&entry.revoked[..], &entry.replaced[..]), (&[key(1), key(2)][..], &[][..]));
    }

    #[test]
    fn a_full_book_forgets_nothing() {
        let (mut book, gate) = (KeyRegistry::default(), unit("gate"));
        let room = MAX_GONE - FOR_REVOKED;
        for number in 0..=room as u16 {
            book.accept(&gate, key(number), 0).unwrap();
        }
        let full = |gone| Err(Full { unit: gate.clone(), gone });
        assert_eq!(book.accept(&gate, key(9999), 0), full(room));
        assert_eq!(book.end(&gate, RevocationReason::Replaced), full(room));
        // An owner ends the one that counts all the same, and those that come after it.
        for number in 0..FOR_REVOKED {
            assert!(matches!(
                book.judge(&gate, &key((room + number) as u16)),
                KeyDecision::Counts { .. }
            ));
            book.end(&gate, RevocationReason::Revoked).unwrap();
            book.accept(&gate, key((room + number + 1) as u16), 0).unwrap();
        }
        assert_eq!(book.end(&gate, RevocationReason::Revoked), full(MAX_GONE));
        assert_eq!(book.judge(&gate, &key(0)), KeyDecision::Gone);
        assert!(matches!(book.judge(&gate, &key(MAX_GONE as u16)), KeyDecision::Counts { .. }));
        // Others are not touched by it.
        book.accept(&unit("cache"), key(9999), 0).unwrap();
    }

    proptest! {
        /// Whatever happens, in whatever order: at most one key counts, none comes back, and the
        /// epoch never goes back and is another for another key.
        #[test]
        fn no_key_comes_back(steps in prop::collection::vec((0u8..3, 0u16..6), 1..60)) {
            let (mut book, gate) = (KeyRegistry::default(), unit("gate"));
            let (mut gone, mut last) = (vec![], 0);
            for (kind, number) in steps {
                let before = (0..6).find(|n| matches!(book.judge(&gate, &key(*n)), KeyDecision::Counts { .. }));
                match kind {
                    0 => book.end(&gate, RevocationReason::Replaced).unwrap(),
                    1 => book.end(&gate, RevocationReason::Revoked).unwrap(),
                    _ if book.judge(&gate, &key(number)) == KeyDecision::New => {
                        book.accept(&gate, key(number), 0).unwrap();
                    }
                    _ => continue,
                }
                gone.extend(before);
                let count = (0..6).filter(|n| matches!(book.judge(&gate, &key(*n)), KeyDecision::Counts { .. }));
                prop_assert!(count.count() <= 1);
                for number in &gone {
                    prop_assert_eq!(book.judge(&gate, &key(*number)), KeyDecision::Gone);
                }
                let epoch = book.units().next().map_or(0, |(_, entry)| entry.epoch);
                prop_assert!(epoch > last || before.is_none() && epoch == last || last == 0);
                last = epoch;
            }
        }
    }
}
