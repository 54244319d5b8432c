//! The registry of service keys: the current key of each service, and all former ones. Pure: it has
//! no disk and no clock.

use std::collections::BTreeMap;

use octet_node::control::{PublicKey, UnitName};
use serde::{Deserialize, Serialize};

/// The maximum number of remembered former keys per service. They are never forgotten: when it is
/// reached, no new key is accepted.
const MAX_GONE: usize = 1024;

/// The part of these reserved for [`RevocationReason::Revoked`]: operators that rotate keys, or a
/// service that keeps making new ones, cannot prevent an owner from revoking one.
const FOR_REVOKED: usize = 64;

/// The state of all services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRegistry {
    units: BTreeMap<UnitName, ServiceEntry>,
}

/// The state of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceEntry {
    /// The number of keys that the service has had; without a current key, the next one is
    /// included.
    pub epoch: u64,
    pub key: Option<CurrentKey>,
    pub replaced: Vec<PublicKey>,
    /// Keys that may be compromised.
    pub revoked: Vec<PublicKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurrentKey {
    pub key: PublicKey,
    /// When the key was first certified, in seconds since 1970.
    pub issued: u64,
}

/// The decision about a service's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyDecision {
    /// It is the current key.
    Current {
        /// The key's epoch.
        epoch: u64,
        /// When it was first certified.
        issued: u64,
    },
    /// It is a former key, and never accepted again.
    Retired,
    /// It is new: accept it with [`KeyRegistry::accept`].
    New,
}

/// Why a key is retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationReason {
    Replaced,
    /// It may be compromised.
    Revoked,
}

/// The registry is full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{gone} revoked keys of `{unit}` are stored, which is the maximum")]
pub struct RegistryFull {
    pub unit: UnitName,
    pub gone: usize,
}

impl KeyRegistry {
    /// The state of each service.
    pub fn units(&self) -> impl Iterator<Item = (&UnitName, &ServiceEntry)> {
        self.units.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// The decision about `key`, which `unit` presents as its own.
    pub fn decide(&self, unit: &UnitName, key: &PublicKey) -> KeyDecision {
        let Some(entry) = self.units.get(unit) else { return KeyDecision::New };
        match entry.key {
            Some(current) if current.key == *key => {
                KeyDecision::Current { epoch: entry.epoch, issued: current.issued }
            }
            _ if entry.replaced.contains(key) || entry.revoked.contains(key) => {
                KeyDecision::Retired
            }
            _ => KeyDecision::New,
        }
    }

    /// Makes `key` the current key of `unit` at `now`, in seconds since 1970, and retires the
    /// previous one.
    pub fn accept(
        &mut self,
        unit: &UnitName,
        key: PublicKey,
        now: u64,
    ) -> Result<(), RegistryFull> {
        self.retire(unit, RevocationReason::Replaced)?;
        let entry = self.units.entry(unit.clone()).or_default();
        entry.epoch = entry.epoch.max(1);
        entry.key = Some(CurrentKey { key, issued: now });
        Ok(())
    }

    /// Retires the key of `unit`, if it has one. A replaced key can still be revoked:
    /// `RevocationReason::Revoked` applies to every former key of the service.
    pub fn retire(&mut self, unit: &UnitName, why: RevocationReason) -> Result<(), RegistryFull> {
        let Some(entry) = self.units.get_mut(unit) else { return Ok(()) };
        if let Some(current) = entry.key {
            let room = match why {
                RevocationReason::Replaced => MAX_GONE - FOR_REVOKED,
                RevocationReason::Revoked => MAX_GONE,
            };
            let gone = entry.replaced.len() + entry.revoked.len();
            if gone >= room {
                return Err(RegistryFull { unit: unit.clone(), gone });
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
        assert_eq!(book.decide(&gate, &key(1)), KeyDecision::New);
        book.accept(&gate, key(1), 10).unwrap();
        assert_eq!(book.decide(&gate, &key(1)), KeyDecision::Current { epoch: 1, issued: 10 });
        assert_eq!(book.decide(&unit("cache"), &key(1)), KeyDecision::New);
        book.accept(&gate, key(2), 20).unwrap();
        assert_eq!(book.decide(&gate, &key(1)), KeyDecision::Retired);
        assert_eq!(book.decide(&gate, &key(2)), KeyDecision::Current { epoch: 2, issued: 20 });
        book.retire(&gate, RevocationReason::Revoked).unwrap();
        assert_eq!(book.decide(&gate, &key(2)), KeyDecision::Retired);
        book.accept(&gate, key(3), 30).unwrap();
        assert_eq!(book.decide(&gate, &key(3)), KeyDecision::Current { epoch: 3, issued: 30 });
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
        let full = |gone| Err(RegistryFull { unit: gate.clone(), gone });
        assert_eq!(book.accept(&gate, key(9999), 0), full(room));
        assert_eq!(book.retire(&gate, RevocationReason::Replaced), full(room));
        // An owner can still revoke the current key, and later ones.
        for number in 0..FOR_REVOKED {
            assert!(matches!(
                book.decide(&gate, &key((room + number) as u16)),
                KeyDecision::Current { .. }
            ));
            book.retire(&gate, RevocationReason::Revoked).unwrap();
            book.accept(&gate, key((room + number + 1) as u16), 0).unwrap();
        }
        assert_eq!(book.retire(&gate, RevocationReason::Revoked), full(MAX_GONE));
        assert_eq!(book.decide(&gate, &key(0)), KeyDecision::Retired);
        assert!(matches!(book.decide(&gate, &key(MAX_GONE as u16)), KeyDecision::Current { .. }));
        // Other services are not affected.
        book.accept(&unit("cache"), key(9999), 0).unwrap();
    }

    proptest! {
        /// In any sequence of events, at most one key is current, no former key returns, and epochs
        /// never decrease or repeat.
        #[test]
        fn no_key_comes_back(steps in prop::collection::vec((0u8..3, 0u16..6), 1..60)) {
            let (mut book, gate) = (KeyRegistry::default(), unit("gate"));
            let (mut gone, mut last) = (vec![], 0);
            for (kind, number) in steps {
                let before = (0..6).find(|n| matches!(book.decide(&gate, &key(*n)), KeyDecision::Current { .. }));
                match kind {
                    0 => book.retire(&gate, RevocationReason::Replaced).unwrap(),
                    1 => book.retire(&gate, RevocationReason::Revoked).unwrap(),
                    _ if book.decide(&gate, &key(number)) == KeyDecision::New => {
                        book.accept(&gate, key(number), 0).unwrap();
                    }
                    _ => continue,
                }
                gone.extend(before);
                let count = (0..6).filter(|n| matches!(book.decide(&gate, &key(*n)), KeyDecision::Current { .. }));
                prop_assert!(count.count() <= 1);
                for number in &gone {
                    prop_assert_eq!(book.decide(&gate, &key(*number)), KeyDecision::Retired);
                }
                let epoch = book.units().next().map_or(0, |(_, entry)| entry.epoch);
                prop_assert!(epoch > last || before.is_none() && epoch == last || last == 0);
                last = epoch;
            }
        }
    }
}
