//! The clients of this exit: their slots, and how long they keep them. Pure: the tunnels are made elsewhere.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use octet_appliance::{MAX_EXIT_ADDRESSES, exit_address};
use octet_node::address::NodeAddress;

/// How long a slot is kept after its client's last request.
const LEASE_TIME: Duration = Duration::from_secs(180);

/// The slots by number, with the client and the time of its last request.
#[derive(Debug, Default)]
pub struct NumberPool(BTreeMap<u8, (NodeAddress, Instant)>);

impl NumberPool {
    /// Assigns a slot to a client, and returns whether it is new; `None` if no slot is free. Slots whose
    /// address `is_taken` are skipped.
    pub fn assign(
        &mut self,
        client: NodeAddress,
        now: Instant,
        is_taken: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<(u8, bool)> {
        let known = self.number_of(client);
        let is_free =
            |number: &u8| !self.0.contains_key(number) && !is_taken(exit_address(*number));
        let number = known.or_else(|| (1..=MAX_EXIT_ADDRESSES).find(is_free))?;
        self.0.insert(number, (client, now));
        Some((number, known.is_none()))
    }

    /// The client's slot.
    pub fn number_of(&self, client: NodeAddress) -> Option<u8> {
        self.0.iter().find(|(_, (of, _))| *of == client).map(|(number, _)| *number)
    }

    /// Restores a slot of a previous daemon. Returns whether the number is valid.
    pub fn restore(&mut self, number: u8, client: NodeAddress, now: Instant) -> bool {
        let is_one = (1..=MAX_EXIT_ADDRESSES).contains(&number) && self.number_of(client).is_none();
        if is_one {
            self.0.insert(number, (client, now));
        }
        is_one
    }

    /// Frees a slot.
    pub fn free(&mut self, number: u8) {
        self.0.remove(&number);
    }

    /// The slots whose clients have gone silent.
    pub fn expired(&self, now: Instant) -> Vec<u8> {
        let is_over = |at: Instant| now.saturating_duration_since(at) >= LEASE_TIME;
        self.0.iter().filter(|(_, (_, at))| is_over(*at)).map(|(number, _)| *number).collect()
    }

    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::control::PublicKey;
    use proptest::prelude::*;

    fn node(number: u8) -> NodeAddress {
        NodeAddress::of(&PublicKey::new([number; 32]))
    }

    #[test]
    fn a_place_stays_as_long_as_it_is_asked_for() {
        let (mut places, start) = (NumberPool::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let free = |_| false;
        assert_eq!(places.assign(node(1), at(0), free), Some((1, true)));
        assert_eq!(places.assign(node(2), at(10), free), Some((2, true)));
        assert_eq!(places.assign(node(1), at(100), free), Some((1, false)));
        assert_eq!(places.expired(at(189)), [0; 0]);
        assert_eq!(places.expired(at(190)), [2]);
        places.free(2);
        assert_eq!((places.number_of(node(2)), places.expired(at(280))), (None, vec![1]));
        // A slot whose address is taken is skipped, and a client keeps its slot after a restart.
        assert_eq!(places.assign(node(3), at(281), |it| it == exit_address(2)), Some((3, true)));
        assert!(places.restore(2, node(2), at(281)) && !places.restore(4, node(2), at(281)));
        assert!(!places.restore(0, node(4), at(281)) && !places.restore(17, node(4), at(281)));
        assert_eq!(places.numbers().collect::<Vec<_>>(), [1, 2, 3]);
    }

    proptest! {
        /// In any sequence, no client has two slots, no slot has two clients, and no slot in use is lost.
        #[test]
        fn each_has_one(turns in prop::collection::vec((0u8..40, 0u64..30, any::<bool>()), 0..200), taken in 1u8..17) {
            let (mut places, start) = (NumberPool::default(), Instant::now());
            let mut seconds = 0;
            let mut known = BTreeMap::<NodeAddress, (u8, u64)>::new();
            for (who, later, ends) in turns {
                seconds += later;
                let now = start + Duration::from_secs(seconds);
                for number in places.expired(now) {
                    places.free(number);
                }
                known.retain(|_, (_, at)| seconds - *at < LEASE_TIME.as_secs());
                match places.assign(node(who), now, |it| it == exit_address(taken)) {
                    Some((number, is_new)) => {
                        prop_assert!((1..=MAX_EXIT_ADDRESSES).contains(&number) && number != taken);
                        let before = known.insert(node(who), (number, seconds));
                        prop_assert_eq!(before.map(|(number, _)| number), (!is_new).then_some(number));
                    }
                    None => prop_assert_eq!(known.len(), usize::from(MAX_EXIT_ADDRESSES) - 1),
                }
                if ends {
                    places.free(places.number_of(node(who)).unwrap_or(0));
                    known.remove(&node(who));
                }
                let numbers: Vec<_> = known.values().map(|(number, _)| *number).collect();
                prop_assert_eq!(numbers.len(), places.numbers().count());
                prop_assert!(known.iter().all(|(of, (number, _))| places.number_of(*of) == Some(*number)));
            }
        }
    }
}
