//! Whose connection attempts are limited together, and which handshake is dropped for another.

use std::net::IpAddr;

use octet_node::limits::client;

/// The maximum number of remembered addresses. Above it, the address that has recovered most is
/// forgotten.
pub const MAX_ADDRESSES: usize = 1024;

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

    fn origin(text: &str) -> ClientNetwork {
        ClientNetwork::from(text.parse::<IpAddr>().unwrap())
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
}
