//! Limits per client. Pure: they have no clock and no socket.

mod rate;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use rate::{Rate, RateDecision, RateLimiter};

/// The unit of limiting: an IPv4 address, or the /64 of an IPv6 address, within which a client can choose any
/// address.
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & u128::MAX << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The current number of permits of each client, which `K` identifies.
#[derive(Debug, Clone)]
pub struct Permits<K>(Arc<Mutex<HashMap<K, usize>>>);

impl<K> Default for Permits<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Copy + Eq + Hash> Permits<K> {
    /// The current number of permits.
    pub fn in_all(&self) -> usize {
        lock(&self.0).values().sum()
    }

    /// The current number of permits of `client`.
    pub fn of(&self, client: &K) -> usize {
        lock(&self.0).get(client).copied().unwrap_or_default()
    }

    /// A permit for `client`, if there is room besides the current permits: those in all, and its own.
    pub fn take(
        &self,
        client: K,
        has_room: impl FnOnce(usize, usize) -> bool,
    ) -> Option<Permit<K>> {
        let mut taken = lock(&self.0);
        let own = taken.get(&client).copied().unwrap_or_default();
        if !has_room(taken.values().sum(), own) {
            return None;
        }
        taken.insert(client, own + 1);
        Some(Permit { taken: Arc::clone(&self.0), client })
    }
}

/// A permit; it is returned when it is dropped.
#[derive(Debug)]
pub struct Permit<K: Eq + Hash> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    client: K,
}

impl<K: Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.client);
            }
        }
    }
}

fn lock<K>(taken: &Mutex<HashMap<K, usize>>) -> MutexGuard<'_, HashMap<K, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The maximum number of permits in all and per client.
#[derive(Debug, Clone)]
pub struct ClientLimit {
    most: usize,
    of_one: usize,
    taken: Permits<IpAddr>,
}

impl ClientLimit {
    /// At most `most` permits at once, and `of_one` per client.
    pub fn new(most: usize, of_one: usize) -> Self {
        Self { most, of_one, taken: Permits::default() }
    }

    /// The current number of permits.
    pub fn in_all(&self) -> usize {
        self.taken.in_all()
    }

    /// A permit for the client at `address`; `None` if a limit is reached.
    pub fn take(&self, address: IpAddr) -> Option<Permit<IpAddr>> {
        self.taken.take(client(address), |all, own| all < self.most && own < self.of_one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_network_of_ipv6_is_one_client() {
        let of = |text| client(address(text));
        assert_eq!(of("fd00:0:0:3::1"), of("fd00:0:0:3:ffff:1:2:3"));
        assert_ne!(of("fd00:0:0:3::1"), of("fd00:0:0:4::1"));
        assert_ne!(of("10.20.3.2"), of("10.20.3.3"));
        assert_eq!(of("::ffff:10.20.3.2"), of("10.20.3.2"));
    }

    #[test]
    fn so_many_of_one_client_and_in_all() {
        let limit = ClientLimit::new(3, 2);
        let take = |text| limit.take(address(text));
        let (first, _second) = (take("fd00::1").unwrap(), take("fd00::2").unwrap());
        assert!(take("fd00::3").is_none(), "another address of the same client");
        let _other = take("10.20.3.2").unwrap();
        assert!(take("10.20.3.3").is_none(), "all are taken");
        assert_eq!(limit.in_all(), 3);
        drop(first);
        assert!(take("fd00::3").is_some() && take("10.20.3.3").is_some());
        assert_eq!(lock(&limit.taken.0).len(), 2);
    }
}
