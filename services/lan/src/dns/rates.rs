//! The rate limit of queries per client, checked before anything is parsed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use octet_node::limits::{Rate, RateLimiter, client};

/// The sustained rate of one client, in queries per second.
pub const RATE: u32 = 400;

/// The burst of one client, in queries.
pub const BURST: u32 = 800;

/// The maximum number of clients with a limit of their own. The guard of the router's ports
/// permits fewer addresses than that.
pub const MAX_CLIENTS: usize = 1024;

/// A client: an IPv4 address, or an IPv6 /64, within which a client can choose any address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientPrefix {
    network: IpAddr,
    /// The link, for link-local addresses.
    link: u32,
}

#[derive(Debug)]
pub struct ClientRates {
    of: RateLimiter<ClientPrefix>,
    /// The shared limit of clients for which there is no room.
    others: RateLimiter<()>,
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

impl Default for ClientRates {
    fn default() -> Self {
        let rate = Rate { burst: BURST, ..Rate::per_second(RATE) };
        Self { of: RateLimiter::new(rate, MAX_CLIENTS), others: RateLimiter::new(rate, 1) }
    }
}

impl ClientRates {
    /// Whether `client` is within the limit at `now`.
    pub fn take(&mut self, now: Duration, client: ClientPrefix) -> bool {
        match self.of.has_room(client, now) {
            true => self.of.allows(client, now),
            false => self.others.allows((), now),
        }
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
        // An idle client is removed.
        assert!(rates.take(now + Duration::from_secs(1), numbered(5001)));
    }
}
