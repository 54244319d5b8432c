//! A fair queue of received messages, with a turn per client. The socket has one queue for all,
//! which a flooding client would fill.

use std::collections::{HashMap, VecDeque};

use octet_node::limits::{Permit, Permits};

use super::query_limit::QueryLimits;
use super::rates::ClientPrefix;

/// The maximum number of queued messages.
const LIMITS: QueryLimits = QueryLimits { all: 1024, per_client: 128, reserved: 256 };

#[derive(Debug)]
pub(super) struct FairQueue<T> {
    queues: HashMap<ClientPrefix, VecDeque<(Permit<ClientPrefix>, T)>>,
    /// Each client with queued messages, once.
    order: VecDeque<ClientPrefix>,
    places: Permits<ClientPrefix>,
}

impl<T> FairQueue<T> {
    pub(super) fn new() -> Self {
        Self { queues: HashMap::new(), order: VecDeque::new(), places: Permits::default() }
    }

    /// Queues `item` of `client`; returns whether there is room for it.
    pub(super) fn add(&mut self, client: ClientPrefix, item: T) -> bool {
        let Some(place) = LIMITS.admit(&self.places, client) else { return false };
        let own = self.queues.entry(client).or_default();
        if own.is_empty() {
            self.order.push_back(client);
        }
        own.push_back((place, item));
        true
    }

    /// The oldest item of the next client.
    pub(super) fn next(&mut self) -> Option<T> {
        let client = self.order.pop_front()?;
        let own = self.queues.get_mut(&client)?;
        let (_, item) = own.pop_front()?;
        if own.is_empty() {
            self.queues.remove(&client);
        } else {
            self.order.push_back(client);
        }
        Some(item)
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
    fn who_asks_little_waits_for_no_more_than_one_of_each_other() {
        let mut turns = FairQueue::new();
        let waiting = (0..1000).filter(|nth| turns.add(client(1), (1, *nth))).count();
        assert_eq!(waiting, LIMITS.per_client);
        assert!(turns.add(client(2), (2, 0)) && turns.add(client(2), (2, 1)));
        assert!(turns.add(client(3), (3, 0)));
        let first: Vec<_> = (0..6).filter_map(|_| turns.next()).collect();
        assert_eq!(first, [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2)]);
        assert_eq!(std::iter::from_fn(|| turns.next()).count(), LIMITS.per_client - 3);
        assert!(turns.queues.is_empty() && turns.order.is_empty());
        // A removed item makes room.
        assert!(turns.add(client(1), (1, 0)));
    }

    #[test]
    fn those_who_fill_it_leave_room_for_who_has_nothing() {
        let mut turns = FairQueue::new();
        for number in 0..64 {
            let waiting = (0..200).filter(|nth| turns.add(client(number), *nth)).count();
            assert!(waiting <= LIMITS.per_client);
        }
        assert!(turns.add(client(100), 0));
        assert!(!turns.add(client(1), 0));
        assert!(std::iter::from_fn(|| turns.next()).count() <= LIMITS.all);
    }
}
