//! Places that operators take, each for as long as it is held.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use octet_node::control::PublicKey;

/// How many places each operator has.
#[derive(Debug, Clone, Default)]
pub struct Places(Rc<RefCell<HashMap<PublicKey, usize>>>);

/// A place.
#[derive(Debug)]
pub struct Place {
    of: Places,
    key: PublicKey,
}

impl Places {
    /// One for `key`, if there are fewer than `all`, and fewer than `of_one` are its own.
    pub fn take(&self, key: PublicKey, all: usize, of_one: usize) -> Option<Place> {
        if self.all() >= all || self.of(&key) >= of_one {
            return None;
        }
        *self.0.borrow_mut().entry(key).or_default() += 1;
        Some(Place { of: self.clone(), key })
    }

    /// How many are taken.
    pub fn all(&self) -> usize {
        self.0.borrow().values().sum()
    }

    /// How many `key` has.
    pub fn of(&self, key: &PublicKey) -> usize {
        self.0.borrow().get(key).copied().unwrap_or(0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.0.borrow_mut();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_all_and_of_one() {
        let places = Places::default();
        let [anna, ben, carl] = [1, 2, 3].map(|key| PublicKey::new([key; 32]));
        let first = places.take(anna, 3, 2).unwrap();
        let _second = places.take(anna, 3, 2).unwrap();
        assert!(places.take(anna, 3, 2).is_none());
        let _ben = places.take(ben, 3, 2).unwrap();
        assert!(places.take(carl, 3, 2).is_none());
        drop(first);
        assert_eq!((places.all(), places.of(&anna)), (2, 1));
        assert!(places.take(carl, 3, 2).is_some());
        assert_eq!(places.of(&carl), 0);
    }
}
