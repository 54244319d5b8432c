//! Limits of concurrent sessions per operator.

use octet_node::control::PublicKey;
use octet_node::control::operator::OperatorKey;
use octet_node::limits::{Permit, Permits};

use crate::gate::owns;

#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    pub all: usize,
    /// The number of `all` reserved for operators with `own`, who may use the others, too.
    pub for_own: usize,
    pub of_one: usize,
    /// The maximum of one operator with `own`.
    pub of_one_own: usize,
}

impl SessionLimits {
    /// A permit for `operator` besides the `sessions` there are, if one is free.
    pub fn admit(
        &self,
        sessions: &Permits<PublicKey>,
        operator: &OperatorKey,
    ) -> Option<Permit<PublicKey>> {
        let (all, of_one) = match owns(operator) {
            true => (self.all, self.of_one_own),
            false => (self.all.saturating_sub(self.for_own), self.of_one),
        };
        sessions.take(operator.key, |taken, own| taken < all && own < of_one)
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
        let places = Permits::default();
        let room = SessionLimits { all: 3, for_own: 0, of_one: 2, of_one_own: 2 };
        let [anna, ben, carl] = [1, 2, 3].map(|key| operator(key, "read"));
        let first = room.admit(&places, &anna).unwrap();
        let _second = room.admit(&places, &anna).unwrap();
        assert!(room.admit(&places, &anna).is_none());
        let _ben = room.admit(&places, &ben).unwrap();
        assert!(room.admit(&places, &carl).is_none());
        drop(first);
        assert_eq!((places.in_all(), places.of(&anna.key)), (2, 1));
        assert!(room.admit(&places, &carl).is_some());
        assert_eq!(places.of(&carl.key), 0);
    }

    /// However many sessions keys without `own` have, those with it can connect.
    #[test]
    fn some_are_kept_for_own() {
        let places = Permits::default();
        let room = SessionLimits { all: 10, for_own: 4, of_one: 2, of_one_own: 3 };
        let all = |operator: &OperatorKey| -> Vec<Permit<PublicKey>> {
            std::iter::from_fn(|| room.admit(&places, operator)).take(100).collect()
        };
        let greedy: Vec<_> = (1..9).map(|key| all(&operator(key, "operate"))).collect();
        assert_eq!(greedy.iter().map(Vec::len).sum::<usize>(), room.all - room.for_own);
        let owners: Vec<_> = (9..12).map(|key| all(&operator(key, "own"))).collect();
        assert_eq!(owners.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1, 0]);
    }
}
