//! What a router on the uplink advertises (RFC 4861), as the unit `lan` reports it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use octet_appliance::Cidr;
use octet_node::links;

use crate::lease::InvalidLease;
use crate::router::plan::RouterPlan;

/// An address in the advertised prefix, the default gateway and the routes of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertisedAddress {
    pub address: Option<Cidr>,
    /// When the address expires, counted from netd's start; `None`: never.
    address_until: Option<Duration>,
    /// The default gateway, and when its lifetime ends.
    gateway: Option<(Ipv6Addr, Duration)>,
    /// Routes to the networks of the box: prefix, gateway and expiry; `None`: never.
    routes: Vec<(Cidr, Ipv6Addr, Option<Duration>)>,
}

impl AdvertisedAddress {
    /// Checks what `lan` reports at `now`, counted from netd's start. On a `router` the prefix must
    /// be outside the box's own networks.
    pub fn check(
        reported: &links::RouterAdvertised,
        router: Option<&RouterPlan>,
        now: Duration,
    ) -> Result<Self, InvalidLease> {
        let until = |seconds: u32| now + Duration::from_secs(seconds.into());
        if let Some(address) = reported.address {
            let IpAddr::V6(ip) = address.address() else {
                return Err(InvalidLease::Version(address));
            };
            let is_inside = |plan: &RouterPlan| {
                plan.network6.contains(ip) || address.is_on_link(plan.network6.host(0, 1).into())
            };
            if router.is_some_and(is_inside) {
                return Err(InvalidLease::Inside(address));
            }
        }
        for route in &reported.routes {
            if router.is_some() || !is_of_box(&route.to) {
                return Err(InvalidLease::Route(route.to));
            }
            if !route.gateway.is_unicast_link_local() {
                return Err(InvalidLease::Gateway(route.gateway.into()));
            }
        }
        let routes = reported.routes.iter().map(|it| (it.to, it.gateway, it.seconds.map(until)));
        let routes = routes.collect();
        let gateway = reported.gateway.map(|gateway| (gateway, until(reported.gateway_seconds)));
        if let Some((far, _)) = gateway.filter(|(gateway, _)| !gateway.is_unicast_link_local()) {
            return Err(InvalidLease::Gateway(far.into()));
        }
        let address_until = reported.address_seconds.map(until);
        Ok(Self { address: reported.address, address_until, gateway, routes })
    }

    /// Remaining lifetime of the address in seconds; `None`: unlimited.
    pub fn address_remaining(&self, now: Duration) -> Option<u32> {
        let left = self.address_until?.saturating_sub(now).as_secs();
        Some(u32::try_from(left).unwrap_or(u32::MAX - 1).min(u32::MAX - 1))
    }

    /// The default gateway, until its lifetime ends.
    pub fn gateway(&self, now: Duration) -> Option<Ipv6Addr> {
        self.gateway.filter(|(_, until)| *until > now).map(|(gateway, _)| gateway)
    }

    /// Routes to the networks of the box with their gateways, without expired ones.
    pub fn routes(&self, now: Duration) -> impl Iterator<Item = (Cidr, Ipv6Addr)> {
        let lasts = move |until: &Option<Duration>| until.is_none_or(|until| until > now);
        let routes = self.routes.iter().filter(move |(_, _, until)| lasts(until));
        routes.map(|(to, gateway, _)| (*to, *gateway))
    }

    /// When the next of its lifetimes ends.
    pub fn end(&self, now: Duration) -> Option<Duration> {
        let gateway = self.gateway.map(|(_, until)| until);
        let routes = self.routes.iter().filter_map(|(_, _, until)| *until);
        let ends = [self.address_until, gateway].into_iter().flatten().chain(routes);
        ends.filter(|end| *end > now).min()
    }

    /// The advertisement without what has expired at `now`.
    pub fn at(mut self, now: Duration) -> Self {
        self.gateway = self.gateway.filter(|(_, until)| *until > now);
        self.routes.retain(|(_, _, until)| until.is_none_or(|until| until > now));
        if self.address_until.is_some_and(|until| until <= now) {
            self.address = None;
        }
        self
    }
}

/// Whether `to` can be a network of a box: the router of a box advertises no other routes.
fn is_of_box(to: &Cidr) -> bool {
    to.prefix() == 48 && matches!(to.address(), IpAddr::V6(network) if network.octets()[0] == 0xfd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_leads_to_networks_of_a_box() {
        let check = |to: &str, gateway: &str| {
            let to = Cidr::try_from(to.to_owned()).unwrap();
            let gateway = gateway.parse().unwrap();
            let route = links::AdvertisedRoute { to, gateway, seconds: Some(300) };
            let (address, address_seconds, gateway_seconds) = (None, None, 0);
            let routes = vec![route];
            let reported = links::RouterAdvertised {
                address,
                address_seconds,
                gateway: None,
                gateway_seconds,
                routes,
            };
            AdvertisedAddress::check(&reported, None, Duration::ZERO).is_ok()
        };
        assert!(check("fd6f:6374:6574::/48", "fe80::1"));
        assert!(!check("fd6f:6374:6574::/48", "fd6f:6374:6574:3::1"));
        for wide in ["fd00::/8", "2001:db8::/48", "fd6f:6374:6574::/49", "192.0.2.1/24"] {
            assert!(!check(wide, "fe80::1"), "{wide}");
        }
    }
}
