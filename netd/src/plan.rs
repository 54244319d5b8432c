//! The desired kernel state, and the changes that lead to it. Pure: nothing here touches the
//! kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use octet_appliance::{Addressing, Mac, NetworkSettings};

use crate::advert::AdvertisedAddress;
use crate::lease::UplinkLease;
use crate::observed::{
    KernelRoute, LinkAddress, LinkKind, NetworkDevice, Observed, RoutingRule, StaticNeighbour,
};
use crate::port_bindings::PortBindings;
use crate::router;
use crate::router::plan::RouterSegment;

/// Tolerance in seconds for the end of a lease before the kernel's lifetime is set again.
const SLACK: u32 = 10;

/// What is known about the DHCP lease of the uplink.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UplinkLeaseState {
    /// No DHCP answer yet since the start: the address that the previous netd process has set stays
    /// until it expires.
    #[default]
    Unknown,
    Nothing,
    Lease(UplinkLease),
}

/// What is known about router advertisements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AdvertisementState {
    /// No advertisement yet since the start: what the previous netd process has set stays until it
    /// expires.
    #[default]
    Unknown,
    Nothing,
    Router(AdvertisedAddress),
}

/// The desired kernel state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPlan {
    /// Indices of the links to be switched on.
    pub up: Vec<u32>,
    /// Links whose addresses netd owns: addresses that are not in `addresses` are removed from
    /// them.
    pub owned: Vec<u32>,
    /// Addresses, with their remaining lifetimes.
    pub addresses: Vec<LinkAddress>,
    pub routes: Vec<KernelRoute>,
    /// Rules that select a routing table by the receiving device.
    pub rules: Vec<RoutingRule>,
    /// The IP versions for which the VPN's routing table ends in an unreachable route.
    pub dead_ends: Vec<IpAddr>,
    /// Neighbour entries that are known from the configuration.
    pub neighbours: Vec<StaticNeighbour>,
    /// Whether forwarding is enabled. On a node that is not a router netd does not change that.
    pub forwards: bool,
    /// The link on which IPv4 addresses stay that may come from a lease.
    pub keep_leased: Option<u32>,
    /// The link on which IPv6 addresses stay that may come from an advertisement.
    pub keep_advertised: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanStep {
    Up(u32),
    RemoveRoute(KernelRoute),
    RemoveAddress(LinkAddress),
    /// Set an address, or its lifetime.
    SetAddress(LinkAddress),
    AddRoute(KernelRoute),
    /// Add a rule that selects a routing table.
    AddRule(RoutingRule),
    RemoveRule(RoutingRule),
    /// Add the final unreachable route of the VPN's table.
    AddDeadEnd(IpAddr),
    RemoveDeadEnd(IpAddr),
    RemoveNeighbour(StaticNeighbour),
    /// Set a neighbour entry.
    SetNeighbour(StaticNeighbour),
    /// Enable forwarding.
    Forward,
}

impl KernelPlan {
    /// The plan for the present links from `settings` and `leased`, `now` after netd's start; on a
    /// router with its segments and port bindings.
    pub fn new(
        settings: &NetworkSettings,
        router: Option<(&router::plan::RouterPlan, &PortBindings)>,
        (leased, advertised): (&UplinkLeaseState, &AdvertisementState),
        observed: &Observed,
        now: Duration,
    ) -> Self {
        let (router, plugged) = router.unzip();
        // A port of the router that no segment uses stays down: it has no guard.
        let is_planned = |link: &NetworkDevice| {
            link.kind == LinkKind::Loopback
                || router
                    .is_none_or(|router| router.devices().any(|name| name.as_str() == link.name))
        };
        let is_ours = |link: &&NetworkDevice| link.kind != LinkKind::Other && is_planned(link);
        let up = observed.links.iter().filter(is_ours).map(|link| link.index);
        let ports = observed.links.iter().filter(|link| link.mac().is_some());
        let mut plan = Self {
            up: up.collect(),
            owned: ports.map(|link| link.index).collect(),
            addresses: vec![],
            routes: vec![],
            rules: vec![],
            dead_ends: vec![],
            neighbours: vec![],
            forwards: router.is_some(),
            keep_leased: None,
            keep_advertised: None,
        };
        for segment in router.into_iter().flat_map(router::plan::RouterPlan::segments) {
            let link = observed.links.iter().find(|link| link.name == segment.device.as_str());
            if let Some((link, plugged)) = link.zip(plugged) {
                plan.segment(segment, plugged.mac(segment), link.index);
            }
        }
        if let Some(router) = router.filter(|router| router.vpn) {
            plan.vpn(router);
        }
        let name = uplink(settings, router);
        let Some(uplink) = observed.uplink(name).map(|link| link.index) else { return plan };
        match (&settings.addressing, leased) {
            (Addressing::Fixed { addresses, gateways }, _) => {
                plan.addresses.extend(addresses.iter().map(|cidr| LinkAddress {
                    link: uplink,
                    address: cidr.address(),
                    prefix: cidr.prefix(),
                    seconds: None,
                    is_sole: false,
                }));
                let routes = gateways.iter().map(|gateway| KernelRoute::out(*gateway, uplink));
                plan.routes.extend(routes);
            }
            (Addressing::Dhcp, UplinkLeaseState::Unknown) => plan.keep_leased = Some(uplink),
            (Addressing::Dhcp, UplinkLeaseState::Nothing) => {}
            (Addressing::Dhcp, UplinkLeaseState::Lease(lease)) => {
                plan.addresses.push(LinkAddress {
                    link: uplink,
                    address: lease.address.address(),
                    prefix: lease.address.prefix(),
                    seconds: lease.remaining(now),
                    is_sole: false,
                });
                let route = |gateway| KernelRoute::out(gateway, uplink);
                plan.routes.extend(lease.gateway.map(route));
            }
        }
        if settings.addressing == Addressing::Dhcp {
            plan.advertised(advertised, uplink, now);
        }
        plan
    }

    /// Traffic of the owner's devices to the outside uses its own routing table, which never uses
    /// the uplink: without the VPN's device it is refused.
    fn vpn(&mut self, router: &router::plan::RouterPlan) {
        let Some(lan) = &router.lan else { return };
        let (device, any) =
            (lan.device.as_str(), [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]);
        let inside = [
            (router.network.host(0, 0).into(), 16),
            (router.network6.host(0, 0).into(), 48),
            // Nodes, which are reached by paths.
            (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0).into(), 8),
        ];
        self.rules.extend(inside.map(|to| RoutingRule::inside(device, to)));
        self.rules.extend(any.map(|any| RoutingRule::outside(device, any)));
        self.dead_ends.extend(any);
    }

    fn advertised(&mut self, advertised: &AdvertisementState, link: u32, now: Duration) {
        match advertised {
            AdvertisementState::Unknown => self.keep_advertised = Some(link),
            AdvertisementState::Nothing => {}
            AdvertisementState::Router(advert) => {
                self.addresses.extend(advert.address.map(|cidr| LinkAddress {
                    link,
                    address: cidr.address(),
                    prefix: cidr.prefix(),
                    seconds: advert.address_remaining(now),
                    is_sole: false,
                }));
                let route = |gateway| KernelRoute::out(IpAddr::V6(gateway), link);
                self.routes.extend(advert.gateway(now).map(route));
                self.routes.extend(advert.routes(now).map(|(to, gateway)| KernelRoute {
                    to: (to.address(), to.prefix()),
                    gateway: gateway.into(),
                    link,
                }));
            }
        }
    }

    fn segment(&mut self, segment: &RouterSegment, mac: Option<Mac>, link: u32) {
        let addresses = segment.addresses();
        self.addresses.extend(addresses.map(|(address, prefix)| LinkAddress {
            link,
            address,
            prefix,
            seconds: None,
            // The guard keeps boards from using the router's address, so duplicate address
            // detection is not needed.
            is_sole: true,
        }));
        if let (Some((ip4, ip6)), Some(mac)) = (segment.board, mac) {
            let addresses = [IpAddr::from(ip4), ip6.into(), mac.link_local()];
            let neighbour = |address| StaticNeighbour { link, address, mac: mac.bytes() };
            self.neighbours.extend(addresses.map(neighbour));
        }
    }

    /// The steps from the observed state to the plan, ordered so that none undoes another. Removals
    /// come first: with an address the kernel also removes others of the same network.
    pub fn changes(&self, observed: &Observed) -> Vec<PlanStep> {
        let mut changes = self.rule_steps(observed);
        let is_down =
            |index: &u32| observed.links.iter().any(|link| link.index == *index && !link.up);
        changes.extend(self.up.iter().copied().filter(is_down).map(PlanStep::Up));
        // The kernel removes an expired address, but not the route that was added with it.
        let keeps_some = |four: bool| {
            let is_one =
                |there: &&LinkAddress| there.address.is_ipv4() == four && there.seconds.is_some();
            observed.addresses.iter().filter(is_one).any(|there| self.keeps(there))
        };
        let kept = [keeps_some(true), keeps_some(false)];
        let stale = observed.routes.iter().filter(|route| {
            let kept = match route.gateway {
                IpAddr::V4(_) => kept[0] && self.keep_leased == Some(route.link),
                IpAddr::V6(_) => kept[1] && self.keep_advertised == Some(route.link),
            };
            !kept && !self.routes.contains(route)
        });
        changes.extend(stale.copied().map(PlanStep::RemoveRoute));
        for there in &observed.addresses {
            let wanted = self.addresses.iter().any(|wanted| is_same(wanted, there));
            if !wanted && self.owned.contains(&there.link) && !self.keeps(there) {
                changes.push(PlanStep::RemoveAddress(there.clone()));
            }
        }
        for wanted in &self.addresses {
            let there = observed.addresses.iter().find(|there| is_same(wanted, there));
            if there.is_none_or(|there| !has_same_lifetime(wanted.seconds, there.seconds)) {
                changes.push(PlanStep::SetAddress(wanted.clone()));
            }
        }
        let missing = self.routes.iter().filter(|route| !observed.routes.contains(route));
        changes.extend(missing.copied().map(PlanStep::AddRoute));
        let is_stale =
            |it: &&StaticNeighbour| self.owned.contains(&it.link) && !self.neighbours.contains(it);
        let stale = observed.neighbours.iter().filter(is_stale);
        changes.extend(stale.copied().map(PlanStep::RemoveNeighbour));
        let missing = self.neighbours.iter().filter(|it| !observed.neighbours.contains(it));
        changes.extend(missing.copied().map(PlanStep::SetNeighbour));
        // Last of all: until then nothing is forwarded between ports.
        if self.forwards && !observed.forwards {
            changes.push(PlanStep::Forward);
        }
        changes
    }

    /// Steps for routing rules, done before a link is switched on, so that its traffic has its
    /// routes.
    fn rule_steps(&self, observed: &Observed) -> Vec<PlanStep> {
        let Self { rules, dead_ends, .. } = self;
        let new = dead_ends.iter().filter(|it| !observed.dead_ends.contains(it));
        let mut changes: Vec<_> = new.copied().map(PlanStep::AddDeadEnd).collect();
        let new = rules.iter().filter(|it| !observed.rules.contains(it));
        changes.extend(new.cloned().map(PlanStep::AddRule));
        let gone = observed.rules.iter().filter(|it| !rules.contains(it));
        changes.extend(gone.cloned().map(PlanStep::RemoveRule));
        let gone = observed.dead_ends.iter().filter(|it| !dead_ends.contains(it));
        changes.extend(gone.copied().map(PlanStep::RemoveDeadEnd));
        changes
    }

    /// Whether an address that is not in the plan stays: the kernel's own link-local address of
    /// each link, by which the gate can always be reached.
    fn keeps(&self, there: &LinkAddress) -> bool {
        match there.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => true,
            IpAddr::V6(_) => self.keep_advertised == Some(there.link) && there.seconds.is_some(),
            IpAddr::V4(_) => self.keep_leased == Some(there.link) && there.seconds.is_some(),
        }
    }
}

/// The name of the uplink, if the node has one.
pub fn uplink<'a>(
    settings: &'a NetworkSettings,
    router: Option<&'a router::plan::RouterPlan>,
) -> Option<&'a str> {
    let link = router.map(|router| &router.uplink).or(settings.link.as_ref());
    link.map(octet_appliance::LinkName::as_str)
}

fn is_same(one: &LinkAddress, other: &LinkAddress) -> bool {
    (one.link, one.address, one.prefix) == (other.link, other.address, other.prefix)
}

fn has_same_lifetime(wanted: Option<u32>, there: Option<u32>) -> bool {
    match (wanted, there) {
        (None, None) => true,
        (Some(wanted), Some(there)) => wanted.abs_diff(there) <= SLACK,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
