//! Connection limits of a service's socket: no user can use up those of others.

use crate::callers::Callers;
use crate::limits::{Permit, Permits};

/// The maximum number of concurrent clients; further ones are refused.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    pub all: usize,
    /// The number of `all` reserved for operators: for PID 1, and for units that impersonate operators. Both
    /// may use the others, too, but the last one is PID 1's.
    pub for_operators: usize,
    /// The maximum of any other user, so that a compromised service cannot lock out others.
    pub of_one: usize,
}

/// The connections of one service.
#[derive(Debug, Clone)]
pub struct ConnectionLimit {
    /// The number of connections of each user.
    taken: Permits<u32>,
    limits: ConnectionLimits,
}

impl ConnectionLimit {
    pub fn new(limits: ConnectionLimits) -> Self {
        Self { taken: Permits::default(), limits }
    }

    /// A permit for user `uid`, if it is one of `callers` and a limit is not reached.
    pub fn admit(&self, callers: &Callers, uid: u32) -> Option<Permit<u32>> {
        let all = self.limits.all;
        match uid {
            _ if callers.is_pid_1(uid) => self.take_of(uid, all, all),
            _ if callers.may_impersonate(uid) => self.take_of(uid, all.saturating_sub(1), all),
            _ => callers.is_listed(uid).then(|| self.take(uid)).flatten(),
        }
    }

    /// A permit for user `uid`, which calls for itself, if a limit is not reached.
    pub fn take(&self, uid: u32) -> Option<Permit<u32>> {
        let ConnectionLimits { all, for_operators, of_one } = self.limits;
        self.take_of(uid, all.saturating_sub(for_operators), of_one)
    }

    /// A permit for user `uid`, if it has fewer than `of_one`, and there are fewer than `most` in total.
    fn take_of(&self, uid: u32, most: usize, of_one: usize) -> Option<Permit<u32>> {
        self.taken.take(uid, |all, own| all < most && own < of_one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callers::PID_1;

    #[test]
    fn nobody_takes_the_places_of_others() {
        let places = ConnectionLimit::new(ConnectionLimits { all: 7, for_operators: 2, of_one: 3 });
        let callers = Callers::parse("901=show;902=show;903=show;904=show,*").unwrap();
        let all = |uid| -> Vec<Permit<u32>> {
            std::iter::from_fn(|| places.admit(&callers, uid)).take(100).collect()
        };
        // A user that is no caller gets none.
        assert_eq!(all(905).len(), 0);
        let (first, second) = (all(901), all(902));
        assert_eq!((first.len(), second.len(), all(903).len()), (3, 2, 0));
        let root = all(PID_1);
        assert_eq!(root.len(), 2);
        drop(first);
        assert_eq!(all(903).len(), 1);
        assert_eq!(all(PID_1).len(), 3);
        drop(root);
        // Units that impersonate operators leave one for root.
        let brought = all(904);
        assert_eq!((brought.len(), all(PID_1).len()), (4, 1));
        drop(brought);
        assert_eq!(all(PID_1).len(), 5);
    }
}
