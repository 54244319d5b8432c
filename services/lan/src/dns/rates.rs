//! The rate limit of queries: a token bucket per client, checked before anything is parsed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use octet_node::limits::client;

/// The sustained rate of one client, in queries per second.
pub const RATE: u32 = 400;

/// The burst of one client, in queries.
pub const BURST: u32 = 800;

/// The maximum number of clients with a bucket of their own. The guard of the router's ports
/// permits fewer addresses than that.
pub const MAX_CLIENTS: usize = 1024;

/// The minimum interval of looking for idle clients.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// A client: an IPv4 address, or an IPv6 /64, within which a client can choose any address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientPrefix {
    network: IpAddr,
    /// The link, for link-local addresses.
    link: u32,
}

#[derive(Debug, Default)]
pub struct ClientRates {
    buckets: HashMap<ClientPrefix, Bucket>,
    /// The shared bucket of clients that have none of their own.
    others: Bucket,
    looked: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u64,
    at: Duration,
}

impl From<SocketAddr> for ClientPrefix {
    fn from(from: SocketAddr) -> Self {
        let link = match from {
            SocketAddr::V6(v6) => v6.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        Self { network: client(from.ip()), link }
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self { left: u64::from(BURST) * 1000, at: Duration::ZERO }
    }
}

impl Bucket {
    fn fill(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.at).as_millis();
        let more = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_mul(RATE.into());
        // Fractions of a millisecond are carried over.
        self.at += Duration::from_millis(u64::try_from(elapsed).unwrap_or(0));
        self.left = self.left.saturating_add(more).min(u64::from(BURST) * 1000);
    }

    fn take(&mut self, now: Duration) -> bool {
        self.fill(now);
        let left = self.left.checked_sub(1000);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

impl ClientRates {
    /// Whether `client` is within the limit at `now`.
    pub fn take(&mut self, now: Duration, client: ClientPrefix) -> bool {
        if !self.buckets.contains_key(&client) && !self.has_room(now) {
            return self.others.take(now);
        }
        let new = Bucket { at: now, ..Bucket::default() };
        self.buckets.entry(client).or_insert(new).take(now)
    }

    /// Whether there is room for another client. If not, clients with a full bucket are removed
    /// first.
    fn has_room(&mut self, now: Duration) -> bool {
        if self.buckets.len() >= MAX_CLIENTS && now.saturating_sub(self.looked) >= RETRY_DELAY {
            self.looked = now;
            self.buckets.retain(|_, bucket| {
                bucket.fill(now);
                bucket.left < u64::from(BURST) * 1000
            });
        }
        self.buckets.len() < MAX_CLIENTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> ClientPrefix {
        ClientPrefix::from(SocketAddr::new(address.parse().unwrap(), 5353))
    }

    fn taken(rates: &mut ClientRates, now: Duration, client: ClientPrefix) -> usize {
        (0..10_000).filter(|_| rates.take(now, client)).count()
    }

    #[test]
    fn who_asks_too_often_is_held_up_alone() {
        let mut rates = ClientRates::default();
        let (one, other) = (client("10.20.1.2"), client("10.20.2.2"));
        let second = Duration::from_secs(1);
        assert_eq!(taken(&mut rates, second, one), BURST as usize);
        assert_eq!(taken(&mut rates, second, one), 0);
        assert!((0..100).all(|_| rates.take(second, other)));
        assert_eq!(taken(&mut rates, 2 * second, one), RATE as usize);
        // Steps of fractions of a millisecond have the same result.
        let steps = 0..10_000u32;
        let step = Duration::from_micros(100);
        let taken = steps.filter(|at| rates.take(2 * second + *at * step, one)).count();
        assert!((RATE as usize - 1..=RATE as usize).contains(&taken), "{taken}");
    }

    #[test]
    fn addresses_of_one_client_are_one() {
        assert_eq!(client("::ffff:10.20.1.2"), client("10.20.1.2"));
        assert_eq!(client("fd6f::1:2:3:4"), client("fd6f::9"));
        assert_ne!(client("fd6f:0:0:1::1"), client("fd6f:0:0:2::1"));
        assert_ne!(client("10.20.1.2"), client("10.20.1.3"));
    }

    #[test]
    fn those_without_room_share() {
        let mut rates = ClientRates::default();
        let now = Duration::from_secs(9);
        let numbered = |number: u32| client(&std::net::Ipv4Addr::from_bits(number).to_string());
        for number in 0..MAX_CLIENTS as u32 {
            assert!(rates.take(now, numbered(number)));
        }
        assert_eq!(taken(&mut rates, now, numbered(5000)), BURST as usize);
        assert!(!rates.take(now, numbered(5001)));
        assert!(rates.take(now, numbered(3)));
        assert_eq!(rates.buckets.len(), MAX_CLIENTS);
        // An idle client is removed.
        assert!(rates.take(now + RETRY_DELAY, numbered(5001)));
        assert_eq!(rates.buckets.len(), 1);
    }
}
