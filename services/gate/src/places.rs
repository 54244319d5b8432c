//! Limits of concurrent sessions per operator.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use octet_node::control::PublicKey;
use octet_node::control::operator::OperatorKey;

use crate::gate::owns;

/// The number of sessions of each operator.
#[derive(Debug, Clone, Default)]
pub struct SessionLimit(Rc<RefCell<HashMap<PublicKey, usize>>>);

#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    pub all: usize,
    /// The number of `all` reserved for operators with `own`, who may use the others, too.
    pub for_own: usize,
    pub of_one: usize,
    /// The maximum of one operator with `own`.
    pub of_one_own: usize,
}

#[derive(Debug)]
pub struct SessionPermit {
    of: SessionLimit,
    key: PublicKey,
}

impl SessionLimit {
    /// A permit for `operator` within `room`, if one is free.
    pub fn take(&self, operator: &OperatorKey, room: &SessionLimits) -> Option<SessionPermit> {
        let key = operator.key;
        let (all, of_one) = match owns(operator) {
            true => (room.all, room.of_one_own),
            false => (room.all.saturating_sub(room.for_own), room.of_one),
        };
        if self.all() >= all || self.of(&key) >= of_one {
            return None;
        }
        *self.0.borrow_mut().entry(key).or_default() += 1;
        Some(SessionPermit { of: self.clone(), key })
    }

    pub fn all(&self) -> usize {
        self.0.borrow().values().sum()
    }

    /// The number of sessions of `key`.
    pub fn of(&self, key: &PublicKey) -> usize {
        self.0.borrow().get(key).copied().unwrap_or(0)
    }
}

impl Drop for SessionPermit {
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

    fn operator(key: u8, may: &str) -> OperatorKey {
        let key = PublicKey::new([key; 32]);
        let may = vec![may.to_owned().try_into().unwrap()];
        OperatorKey { key, name: "anna".parse().unwrap(), may }
    }

    #[test]
    fn so_many_in_all_and_of_one() {
        let places = SessionLimit::default();
        let room = SessionLimits { all: 3, for_own: 0, of_one: 2, of_one_own: 2 };
        let [anna, ben, carl] = [1, 2, 3].map(|key| operator(key, "read"));
        let first = places.take(&anna, &room).unwrap();
        let _second = places.take(&anna, &room).unwrap();
        assert!(places.take(&anna, &room).is_none());
        let _ben = places.take(&ben, &room).unwrap();
        assert!(places.take(&carl, &room).is_none());
        drop(first);
        assert_eq!((places.all(), places.of(&anna.key)), (2, 1));
        assert!(places.take(&carl, &room).is_some());
        assert_eq!(places.of(&carl.key), 0);
    }

    /// However many sessions keys without `own` have, those with it can connect.
    #[test]
    fn some_are_kept_for_own() {
        let places = SessionLimit::default();
        let room = SessionLimits { all: 10, for_own: 4, of_one: 2, of_one_own: 3 };
        let all = |operator: &OperatorKey| -> Vec<SessionPermit> {
            std::iter::from_fn(|| places.take(operator, &room)).take(100).collect()
        };
        let greedy: Vec<_> = (1..9).map(|key| all(&operator(key, "operate"))).collect();
        assert_eq!(greedy.iter().map(Vec::len).sum::<usize>(), room.all - room.for_own);
        let owners: Vec<_> = (9..12).map(|key| all(&operator(key, "own"))).collect();
        assert_eq!(owners.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1, 0]);
    }
}
