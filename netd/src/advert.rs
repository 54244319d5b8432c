//! What a router advertises, as the unit `lan` reports it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use octet_appliance::Cidr;
use octet_node::links;

use crate::lease::Refused;
use crate::router::plan::Plan;

/// An address in the network that is advertised, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// The address.
    pub address: Option<Cidr>,
    /// Until when, after netd's start; `None` for ever.
    address_until: Option<Duration>,
    /// The router, and until when packets to other networks may go by it.
    gateway: Option<(Ipv6Addr, Duration)>,
}

impl Advert {
    /// Checks what `lan` reports `now` after netd's start, of a `router` whether it is outside.
    ///
    /// # Errors
    /// It cannot be.
    pub fn check(
        reported: &links::Advertised,
        router: Option<&Plan>,
        now: Duration,
    ) -> Result<Self, Refused> {
        let until = |seconds: u32| now + Duration::from_secs(seconds.into());
        if let Some(address) = reported.address {
            let IpAddr::V6(ip) = address.address() else { return Err(Refused::Version(address)) };
            let is_inside = |plan: &Plan| {
                plan.network6.has(ip) || address.reaches(plan.network6.host(0, 1).into())
            };
            if router.is_some_and(is_inside) {
                return Err(Refused::Inside(address));
            }
        }
        let gateway = reported.gateway.map(|gateway| (gateway, until(reported.gateway_seconds)));
        if let Some((far, _)) = gateway.filter(|(gateway, _)| !gateway.is_unicast_link_local()) {
            return Err(Refused::Gateway(far.into()));
        }
        let address_until = reported.address_seconds.map(until);
        Ok(Self { address: reported.address, address_until, gateway })
    }

    /// Seconds that are left of the address; `None` for ever.
    pub fn address_left(&self, now: Duration) -> Option<u32> {
        let left = self.address_until?.saturating_sub(now).as_secs();
        Some(u32::try_from(left).unwrap_or(u32::MAX - 1).min(u32::MAX - 1))
    }

    /// The way out, as long as it is one.
    pub fn gateway(&self, now: Duration) -> Option<Ipv6Addr> {
        self.gateway.filter(|(_, until)| *until > now).map(|(gateway, _)| gateway)
    }

    /// When something of it ends next.
    pub fn end(&self, now: Duration) -> Option<Duration> {
        let gateway = self.gateway.map(|(_, until)| until);
        [self.address_until, gateway].into_iter().flatten().filter(|end| *end > now).min()
    }

    /// It without an address whose time is over.
    pub fn at(mut self, now: Duration) -> Self {
        if self.address_until.is_some_and(|until| until <= now) {
            self.address = None;
        }
        self
    }
}
