//! Permits with a limit per client, some of which are reserved for clients that have none.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::rates::ClientPrefix;

#[derive(Debug, Clone, Copy)]
pub struct QueryLimits {
    pub all: usize,
    pub per_client: usize,
    /// The permits reserved for clients that have none, so that a few greedy clients cannot take
    /// all.
    pub reserved: usize,
}

#[derive(Debug)]
pub struct QueryLimit {
    limits: QueryLimits,
    taken: RefCell<HashMap<ClientPrefix, usize>>,
}

/// A permit; it is returned when it is dropped.
#[derive(Debug)]
pub struct QueryPermit {
    limit: Rc<QueryLimit>,
    client: ClientPrefix,
}

impl QueryLimit {
    pub fn new(room: QueryLimits) -> Rc<Self> {
        Rc::new(Self { limits: room, taken: RefCell::default() })
    }

    /// A permit for `client`, if there is one.
    pub fn take(self: &Rc<Self>, client: ClientPrefix) -> Option<QueryPermit> {
        let mut taken = self.taken.borrow_mut();
        let all: usize = taken.values().sum();
        let own = taken.get(&client).copied().unwrap_or(0);
        let kept = if own == 0 { 0 } else { self.limits.reserved };
        if all + kept >= self.limits.all || own >= self.limits.per_client {
            return None;
        }
        taken.insert(client, own + 1);
        Some(QueryPermit { limit: Rc::clone(self), client })
    }
}

impl Drop for QueryPermit {
    fn drop(&mut self) {
        let mut taken = self.limit.taken.borrow_mut();
        if let Some(count) = taken.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn client(number: u8) -> ClientPrefix {
        ClientPrefix::from(SocketAddr::new(Ipv4Addr::new(10, 20, number, 2).into(), 53))
    }

    #[test]
    fn nobody_takes_the_last_places_from_who_has_none() {
        let places = QueryLimit::new(QueryLimits { all: 8, per_client: 4, reserved: 2 });
        let mut held: Vec<QueryPermit> = (0..9).filter_map(|_| places.take(client(1))).collect();
        assert_eq!(held.len(), 4);
        held.extend((0..9).filter_map(|_| places.take(client(2))));
        assert_eq!(held.len(), 6);
        held.extend(places.take(client(3)));
        held.extend(places.take(client(4)));
        assert_eq!(held.len(), 8);
        assert!(places.take(client(5)).is_none());
        held.remove(0);
        assert!(places.take(client(1)).is_none());
        assert!(places.take(client(5)).is_some());
        held.clear();
        assert!(places.taken.borrow().is_empty());
    }
}
