//! Limits per client. Pure: they have no clock and no socket.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The unit of limiting: an IPv4 address, or the /64 of an IPv6 address, within which a client can choose any
/// address.
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & u128::MAX << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The current number of permits per client.
#[derive(Debug, Clone)]
pub struct ClientLimit {
    most: usize,
    of_one: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl ClientLimit {
    /// At most `most` permits at once, and `of_one` per client.
    pub fn new(most: usize, of_one: usize) -> Self {
        Self { most, of_one, taken: Arc::default() }
    }

    /// The current number of permits.
    pub fn in_all(&self) -> usize {
        self.taken().values().sum()
    }

    /// A permit for the client at `address`; `None` if a limit is reached.
    pub fn take(&self, address: IpAddr) -> Option<Permit> {
        let client = client(address);
        let mut taken = self.taken();
        let all: usize = taken.values().sum();
        let own = taken.get(&client).copied().unwrap_or_default();
        if all >= self.most || own >= self.of_one {
            return None;
        }
        taken.insert(client, own + 1);
        Some(Permit { of: self.clone(), client })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit; it is returned when it is dropped.
#[derive(Debug)]
pub struct Permit {
    of: ClientLimit,
    client: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
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
        assert_eq!(limit.taken().len(), 2);
    }
}
