//! What the kernel is to have, and the changes that lead there. Pure: nothing here touches it.

use std::net::IpAddr;
use std::time::Duration;

use octet_appliance::{Addressing, NetworkSettings};

use crate::dhcp::Lease;
use crate::observed::{Address, LinkKind, Observed, Route};

/// By how many seconds the end of a lease may differ from what the kernel was told.
const SLACK: u32 = 10;

/// What is known of the address that a DHCP server gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Leased {
    /// Nobody was asked yet: what the netd before this one has set stays, as long as it may.
    #[default]
    Unknown,
    /// There is none.
    Nothing,
    /// This one.
    Lease(Lease),
}

/// What the kernel is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Links that are to be switched on.
    pub up: Vec<u32>,
    /// Links whose addresses are netd's: what is not in `addresses` is removed from them.
    pub owned: Vec<u32>,
    /// Addresses, with what is left of their time.
    pub addresses: Vec<Address>,
    /// Default routes.
    pub routes: Vec<Route>,
    /// Whether IPv4 that may be of a lease stays on this link.
    pub keep_leased: Option<u32>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Switch a link on.
    Up(u32),
    /// Remove a default route.
    RemoveRoute(Route),
    /// Remove an address.
    RemoveAddress(Address),
    /// Set an address, or how long it lasts.
    SetAddress(Address),
    /// Add a default route.
    AddRoute(Route),
}

impl Plan {
    /// What `settings` and `leased` make of the links that there are, `now` after netd's start.
    pub fn new(
        settings: &NetworkSettings,
        leased: &Leased,
        observed: &Observed,
        now: Duration,
    ) -> Self {
        let is_ours = |kind: LinkKind| kind != LinkKind::Other;
        let up = observed.links.iter().filter(|link| is_ours(link.kind)).map(|link| link.index);
        let ports = observed.links.iter().filter(|link| link.mac().is_some());
        let mut plan = Self {
            up: up.collect(),
            owned: ports.map(|link| link.index).collect(),
            addresses: vec![],
            routes: vec![],
            keep_leased: None,
        };
        let name = settings.link.as_ref().map(octet_appliance::LinkName::as_str);
        let Some(uplink) = observed.uplink(name).map(|link| link.index) else { return plan };
        match (&settings.addressing, leased) {
            (Addressing::Fixed { addresses, gateways }, _) => {
                plan.addresses.extend(addresses.iter().map(|cidr| Address {
                    link: uplink,
                    address: cidr.address(),
                    prefix: cidr.prefix(),
                    seconds: None,
                }));
                let routes =
                    gateways.iter().map(|gateway| Route { gateway: *gateway, link: uplink });
                plan.routes.extend(routes);
            }
            (Addressing::Dhcp, Leased::Unknown) => plan.keep_leased = Some(uplink),
            (Addressing::Dhcp, Leased::Nothing) => {}
            (Addressing::Dhcp, Leased::Lease(lease)) => {
                plan.addresses.push(Address {
                    link: uplink,
                    address: lease.address.address(),
                    prefix: lease.address.prefix(),
                    seconds: lease.left(now),
                });
                let route = |gateway| Route { gateway: IpAddr::V4(gateway), link: uplink };
                plan.routes.extend(lease.gateway.map(route));
            }
        }
        plan
    }

    /// The steps from what there is, in an order in which none undoes another: an address that goes
    /// takes others of its network with it, so what goes, goes first.
    pub fn changes(&self, observed: &Observed) -> Vec<Change> {
        let mut changes = vec![];
        let is_down =
            |index: &u32| observed.links.iter().any(|link| link.index == *index && !link.up);
        changes.extend(self.up.iter().copied().filter(is_down).map(Change::Up));
        // The kernel ends an address whose time is over, but not the route that came with it.
        let kept =
            observed.addresses.iter().any(|there| there.address.is_ipv4() && self.keeps(there));
        let stale = observed.routes.iter().filter(|route| {
            let kept = kept && route.gateway.is_ipv4() && self.keep_leased == Some(route.link);
            !kept && !self.routes.contains(route)
        });
        changes.extend(stale.copied().map(Change::RemoveRoute));
        for there in &observed.addresses {
            let wanted = self.addresses.iter().any(|wanted| is_same(wanted, there));
            if !wanted && self.owned.contains(&there.link) && !self.keeps(there) {
                changes.push(Change::RemoveAddress(there.clone()));
            }
        }
        for wanted in &self.addresses {
            let there = observed.addresses.iter().find(|there| is_same(wanted, there));
            if there.is_none_or(|there| !lasts_as_long(wanted.seconds, there.seconds)) {
                changes.push(Change::SetAddress(wanted.clone()));
            }
        }
        let missing = self.routes.iter().filter(|route| !observed.routes.contains(route));
        changes.extend(missing.copied().map(Change::AddRoute));
        changes
    }

    /// Whether an address that is not planned stays nevertheless: the kernel gives every link one of
    /// its own, by which the gate can always be reached.
    fn keeps(&self, there: &Address) -> bool {
        match there.address {
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => self.keep_leased == Some(there.link) && there.seconds.is_some(),
        }
    }
}

fn is_same(one: &Address, other: &Address) -> bool {
    (one.link, one.address, one.prefix) == (other.link, other.address, other.prefix)
}

fn lasts_as_long(wanted: Option<u32>, there: Option<u32>) -> bool {
    match (wanted, there) {
        (None, None) => true,
        (Some(wanted), Some(there)) => wanted.abs_diff(there) <= SLACK,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
