//! Permits with a limit per client, some of which are reserved for clients that have none.

use octet_node::limits::{Permit, Permits};

use super::rates::ClientPrefix;

#[derive(Debug, Clone, Copy)]
pub struct QueryLimits {
    pub all: usize,
    pub per_client: usize,
    /// The permits reserved for clients that have none, so that a few greedy clients cannot take
    /// all.
    pub reserved: usize,
}

impl QueryLimits {
    /// A permit for `client` besides those that are `taken`, if there is one.
    pub fn admit(
        &self,
        taken: &Permits<ClientPrefix>,
        client: ClientPrefix,
    ) -> Option<Permit<ClientPrefix>> {
        taken.take(client, |all, own| {
            let kept = if own == 0 { 0 } else { self.reserved };
            all + kept < self.all && own < self.per_client
        })
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
        let (limits, taken) =
            (QueryLimits { all: 8, per_client: 4, reserved: 2 }, Permits::default());
        let take = |number| limits.admit(&taken, client(number));
        let mut held: Vec<_> = (0..9).filter_map(|_| take(1)).collect();
        assert_eq!(held.len(), 4);
        held.extend((0..9).filter_map(|_| take(2)));
        assert_eq!(held.len(), 6);
        held.extend(take(3));
        held.extend(take(4));
        assert_eq!(held.len(), 8);
        assert!(take(5).is_none());
        held.remove(0);
        assert!(take(1).is_none());
        assert!(take(5).is_some());
        held.clear();
        assert_eq!(taken.in_all(), 0);
    }
}
