//! The rate limit of connection attempts per address. Pure: it has no clock and no socket.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use octet_node::limits::client;

use crate::limits::GateLimits;

/// The maximum number of remembered addresses. Above it, the address that has recovered most is
/// forgotten.
const MAX_ADDRESSES: usize = 1024;

/// The unit of rate limiting: an IPv4 address, or the /64 of an IPv6 address, the smallest network
/// of one customer; link-local addresses count individually.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientNetwork(IpAddr);

impl From<IpAddr> for ClientNetwork {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Self(address),
            _ => Self(client(address)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateDecision {
    Come,
    /// The limit is exceeded with this attempt.
    LimitedFromNow,
    Limited,
}

/// The recent clients, each with its theoretical arrival time (generic cell rate algorithm, ITU-T
/// I.371), and whether the limit was reported.
#[derive(Debug, Default)]
pub struct RateLimiter(HashMap<ClientNetwork, (Duration, bool)>);

impl RateLimiter {
    /// Handles an attempt at `now`.
    pub fn knock(
        &mut self,
        origin: ClientNetwork,
        now: Duration,
        limits: &GateLimits,
    ) -> RateDecision {
        if self.0.len() >= MAX_ADDRESSES && !self.0.contains_key(&origin) {
            let quietest =
                self.0.iter().min_by_key(|(_, (used, _))| *used).map(|(origin, _)| *origin);
            quietest.map(|quietest| self.0.remove(&quietest));
        }
        let (used, told) = self.0.entry(origin).or_default();
        let next = (*used).max(now) + limits.interval;
        if next > now + limits.interval * limits.burst {
            return if std::mem::replace(told, true) {
                RateDecision::Limited
            } else {
                RateDecision::LimitedFromNow
            };
        }
        (*used, *told) = (next, false);
        RateDecision::Come
    }

    /// Refunds an attempt that turned out to be an operator's.
    pub fn welcome(&mut self, origin: ClientNetwork, limits: &GateLimits) {
        if let Some((used, _)) = self.0.get_mut(&origin) {
            *used = used.saturating_sub(limits.interval);
        }
    }
}

/// The connection to drop if there is no room: the oldest of the address with the most. `under_way`
/// is in order of arrival.
pub fn to_go(under_way: &[ClientNetwork]) -> Option<usize> {
    let count = |origin: &ClientNetwork| under_way.iter().filter(|other| *other == origin).count();
    let most = under_way.iter().map(count).max()?;
    under_way.iter().position(|origin| count(origin) == most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin(text: &str) -> ClientNetwork {
        ClientNetwork::from(text.parse::<IpAddr>().unwrap())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn so_often_and_no_more() {
        let (mut door, limits) = (RateLimiter::default(), GateLimits::default());
        let one = origin("10.0.0.1");
        for _ in 0..limits.burst {
            assert_eq!(door.knock(one, seconds(100), &limits), RateDecision::Come);
        }
        assert_eq!(door.knock(one, seconds(100), &limits), RateDecision::LimitedFromNow);
        assert_eq!(door.knock(one, seconds(101), &limits), RateDecision::Limited);
        assert_eq!(door.knock(origin("10.0.0.2"), seconds(101), &limits), RateDecision::Come);
        assert_eq!(door.knock(one, seconds(100) + limits.interval, &limits), RateDecision::Come);
        assert_eq!(
            door.knock(one, seconds(100) + limits.interval, &limits),
            RateDecision::LimitedFromNow
        );
        // Operators may connect as often as they like.
        for _ in 0..100 {
            assert_eq!(door.knock(origin("10.0.0.3"), seconds(200), &limits), RateDecision::Come);
            door.welcome(origin("10.0.0.3"), &limits);
        }
    }

    #[test]
    fn whose_address_it_is() {
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_ne!(origin("fe80::1"), origin("fe80::2"));
    }

    #[test]
    fn who_has_most_goes_first() {
        let (a, b) = (origin("10.0.0.1"), origin("10.0.0.2"));
        assert_eq!(to_go(&[]), None);
        assert_eq!(to_go(&[b, a, a, b, a]), Some(1));
        assert_eq!(to_go(&[b, a]), Some(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// For any sequence of attempts, the table is bounded, and no client exceeds burst and
        /// rate.
        #[test]
        fn bounded(knocks in prop::collection::vec((any::<u16>(), 0u64..3), 1..3000)) {
            let (mut door, limits) = (RateLimiter::default(), GateLimits::default());
            let (mut now, mut came) = (0, 0u64);
            for (address, pause) in knocks {
                now += pause;
                door.knock(ClientNetwork(IpAddr::from(u32::from(address).to_be_bytes())), seconds(now), &limits);
                if door.knock(origin("192.0.2.1"), seconds(now), &limits) == RateDecision::Come {
                    came += 1;
                }
                prop_assert!(door.0.len() <= MAX_ADDRESSES);
            }
            prop_assert!(came <= u64::from(limits.burst) + now / limits.interval.as_secs() + 1);
        }
    }
}
