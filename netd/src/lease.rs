//! A DHCP lease of the uplink, as the unit `lan` reports it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use octet_appliance::Cidr;
use octet_node::links;

use crate::router::plan::RouterPlan;

/// The shortest lifetime that the kernel accepts, in seconds.
const MIN: u32 = 1;

/// An address that a DHCP server has leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkLease {
    /// The address with the prefix of its network.
    pub address: Cidr,
    /// The default gateway.
    pub gateway: Option<IpAddr>,
    pub server: IpAddr,
    /// When the lease ends, counted from netd's start; `None`: never.
    pub until: Option<Duration>,
}

/// A lease that is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLease {
    /// The link does not use DHCP.
    #[error("`{0}` is not the link by which an address is asked for")]
    NotAsked(String),
    /// The address has the wrong IP version.
    #[error("{0} is an address of the other version of IP")]
    Version(Cidr),
    /// A server outside leases an address in the box's own networks.
    #[error(
        "{0} is in a network of the box itself: give the box another `{key}` in [cluster] (`cargo image new` draws one)",
        key = network_of(.0)
    )]
    Inside(Cidr),
    /// The gateway, which need not be in the network of the address, is in the box's own networks.
    #[error("the gateway {0} is in a network of the box itself")]
    GatewayInside(Ipv4Addr),
    /// A route that no router of a box advertises, or a route reported on a router.
    #[error(
        "{0} is not a network of a box to which a router leads: it is a /48 of fd00::/8, on a board"
    )]
    Route(Cidr),
    #[error("the gateway {0} is not on the link")]
    Gateway(IpAddr),
}

/// The key of `[cluster]` for the box's network of this IP version.
fn network_of(address: &Cidr) -> &'static str {
    if address.address().is_ipv4() { "network" } else { "network6" }
}

impl UplinkLease {
    /// Checks what `lan` reports at `now`, counted from netd's start. On a `router` the address
    /// must be outside the box's own networks.
    pub fn check(
        reported: &links::LinkLease,
        router: Option<&RouterPlan>,
        now: Duration,
    ) -> Result<Self, InvalidLease> {
        let address = reported.address;
        let IpAddr::V4(ip) = address.address() else { return Err(InvalidLease::Version(address)) };
        let overlaps = |plan: &&RouterPlan| {
            let own = plan.network.host(0, 1);
            plan.network.contains(ip) || address.is_on_link(IpAddr::V4(own))
        };
        if router.is_some_and(|plan| overlaps(&plan)) {
            return Err(InvalidLease::Inside(address));
        }
        if let Some(far) = reported.gateway.filter(|gateway| !address.is_valid_gateway(*gateway)) {
            return Err(InvalidLease::Gateway(far.into()));
        }
        let is_inside =
            |gateway: &Ipv4Addr| router.is_some_and(|plan| plan.network.contains(*gateway));
        if let Some(inside) = reported.gateway.filter(is_inside) {
            return Err(InvalidLease::GatewayInside(inside));
        }
        let gateway = reported.gateway.map(IpAddr::V4);
        let until = reported.seconds.map(|it| now + Duration::from_secs(it.max(MIN).into()));
        Ok(Self { address, gateway, server: IpAddr::V4(reported.server), until })
    }

    /// Remaining lifetime in seconds; `None`: unlimited.
    pub fn remaining(&self, now: Duration) -> Option<u32> {
        let left = self.until?.saturating_sub(now).as_secs();
        Some(u32::try_from(left).unwrap_or(u32::MAX - 1).min(u32::MAX - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::Appliance;

    const FILE: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[cluster]\nboards = 4\n";

    fn router() -> RouterPlan {
        let appliance = Appliance::parse("appliance.toml", FILE).unwrap();
        let settings = appliance.cluster_settings().unwrap();
        RouterPlan::new(&settings, &[]).unwrap()
    }

    #[test]
    fn a_gateway_is_on_the_link_and_not_in_the_box() {
        let check = |address: &str, gateway: &str| {
            let reported = links::LinkLease {
                address: address.to_owned().try_into().unwrap(),
                gateway: Some(gateway.parse().unwrap()),
                server: Ipv4Addr::new(192, 0, 2, 1),
                seconds: Some(600),
                board: None,
            };
            UplinkLease::check(&reported, Some(&router()), Duration::ZERO)
                .map(|lease| lease.gateway)
        };
        let is = |gateway: &str| Ok(Some(gateway.parse().unwrap()));
        assert_eq!(check("192.0.2.7/24", "192.0.2.1"), is("192.0.2.1"));
        assert!(matches!(check("192.0.2.7/24", "198.51.100.1"), Err(InvalidLease::Gateway(_))));
        assert_eq!(check("192.0.2.7/32", "198.51.100.1"), is("198.51.100.1"));
        assert!(matches!(check("192.0.2.7/32", "192.0.2.7"), Err(InvalidLease::Gateway(_))));
        assert!(matches!(check("192.0.2.7/32", "10.20.3.1"), Err(InvalidLease::GatewayInside(_))));
        // A box behind a box: the error names the key to change.
        let error = check("10.20.3.7/24", "10.20.3.1").unwrap_err().to_string();
        assert!(error.contains("another `network` in [cluster]"), "{error}");
    }

    #[test]
    fn an_address_lasts_as_long_as_it_is_given_for() {
        let now = Duration::from_secs(100);
        for (seconds, ends) in [(None, None), (Some(0), Some(101)), (Some(40), Some(140))] {
            let reported = links::LinkLease {
                address: "192.0.2.7/24".to_owned().try_into().unwrap(),
                gateway: None,
                server: Ipv4Addr::new(192, 0, 2, 1),
                seconds,
                board: None,
            };
            let lease = UplinkLease::check(&reported, None, now).unwrap();
            assert_eq!(lease.until, ends.map(Duration::from_secs));
        }
    }
}
