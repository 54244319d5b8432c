//! What the kernel is to have, and the changes that lead there. Pure: nothing here touches it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use octet_appliance::{Addressing, Mac, NetworkSettings};

use crate::advert::AdvertisedAddress;
use crate::lease::UplinkLease;
use crate::observed::{
    KernelRoute, LinkAddress, LinkKind, NetworkDevice, Observed, RoutingRule, StaticNeighbour,
};
use crate::plugged::PortBindings;
use crate::router;
use crate::router::plan::RouterSegment;

/// By how many seconds the end of a lease may differ from what the kernel was told.
const SLACK: u32 = 10;

/// What is known of the address that a DHCP server gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UplinkLeaseState {
    /// Nobody was asked yet: what the netd before this one has set stays, as long as it may.
    #[default]
    Unknown,
    Nothing,
    Lease(UplinkLease),
}

/// What is known of what a router advertises.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AdvertisementState {
    /// Nobody was heard yet: what the netd before this one has set stays, as long as it may.
    #[default]
    Unknown,
    Nothing,
    Router(AdvertisedAddress),
}

/// What the kernel is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPlan {
    /// Links that are to be switched on.
    pub up: Vec<u32>,
    /// Links whose addresses are netd's: what is not in `addresses` is removed from them.
    pub owned: Vec<u32>,
    /// Addresses, with what is left of their time.
    pub addresses: Vec<LinkAddress>,
    pub routes: Vec<KernelRoute>,
    /// In which table what comes by which device has its routes.
    pub rules: Vec<RoutingRule>,
    /// The versions of IP for which the table of the VPN ends in a refusal.
    pub dead_ends: Vec<IpAddr>,
    /// Neighbours of which it is known who they are.
    pub neighbours: Vec<StaticNeighbour>,
    /// Whether packets for others are to be handed on. Who is no router leaves that as it is.
    pub forwards: bool,
    /// Whether IPv4 that may be of a lease stays on this link.
    pub keep_leased: Option<u32>,
    /// Whether IPv6 that may have been advertised stays on this link.
    pub keep_advertised: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanStep {
    Up(u32),
    RemoveRoute(KernelRoute),
    RemoveAddress(LinkAddress),
    /// Set an address, or how long it lasts.
    SetAddress(LinkAddress),
    AddRoute(KernelRoute),
    /// Say in which table routes are looked for.
    AddRule(RoutingRule),
    RemoveRule(RoutingRule),
    /// Have the table of the VPN end in a refusal.
    AddDeadEnd(IpAddr),
    RemoveDeadEnd(IpAddr),
    RemoveNeighbour(StaticNeighbour),
    /// Say who a neighbour is.
    SetNeighbour(StaticNeighbour),
    /// Hand on packets for others.
    Forward,
}

impl KernelPlan {
    /// What `settings` and `leased` make of the links that there are, `now` after netd's start; with the
    /// segments of `router`, if this is one, and who is plugged into them.
    pub fn new(
        settings: &NetworkSettings,
        router: Option<(&router::plan::RouterPlan, &PortBindings)>,
        (leased, advertised): (&UplinkLeaseState, &AdvertisementState),
        observed: &Observed,
        now: Duration,
    ) -> Self {
        let (router, plugged) = router.unzip();
        // A router's port that nobody has planned stays off: no guard stands at it.
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
                    seconds: lease.left(now),
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

    /// What the owner's devices send outside has routes of its own, and none of them is the uplink's: without the
    /// VPN there is none at all.
    fn vpn(&mut self, router: &router::plan::RouterPlan) {
        let Some(lan) = &router.lan else { return };
        let (device, any) =
            (lan.device.as_str(), [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]);
        let inside = [
            (router.network.host(0, 0).into(), 16),
            (router.network6.host(0, 0).into(), 48),
            // Nodes, by paths.
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
                    seconds: advert.address_left(now),
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
            // The guard lets no board say that it is the router.
            is_sole: true,
        }));
        if let (Some((ip4, ip6)), Some(mac)) = (segment.board, mac) {
            let addresses = [IpAddr::from(ip4), ip6.into(), mac.link_local()];
            let neighbour = |address| StaticNeighbour { link, address, mac: mac.bytes() };
            self.neighbours.extend(addresses.map(neighbour));
        }
    }

    /// The steps from what there is, in an order in which none undoes another: an address that goes
    /// takes others of its network with it, so what goes, goes first.
    pub fn changes(&self, observed: &Observed) -> Vec<PlanStep> {
        let mut changes = self.ways(observed);
        let is_down =
            |index: &u32| observed.links.iter().any(|link| link.index == *index && !link.up);
        changes.extend(self.up.iter().copied().filter(is_down).map(PlanStep::Up));
        // The kernel ends an address whose time is over, but not the route that came with it.
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
            if there.is_none_or(|there| !lasts_as_long(wanted.seconds, there.seconds)) {
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
        // Last of all: until then nothing passes from one port to another.
        if self.forwards && !observed.forwards {
            changes.push(PlanStep::Forward);
        }
        changes
    }

    /// Before a link is switched on what comes by it has its routes.
    fn ways(&self, observed: &Observed) -> Vec<PlanStep> {
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

    /// Whether an address that is not planned stays nevertheless: the kernel gives every link one of
    /// its own, by which the gate can always be reached.
    fn keeps(&self, there: &LinkAddress) -> bool {
        match there.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => true,
            IpAddr::V6(_) => self.keep_advertised == Some(there.link) && there.seconds.is_some(),
            IpAddr::V4(_) => self.keep_leased == Some(there.link) && there.seconds.is_some(),
        }
    }
}

/// The name of the link that leads out, if it has one.
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

fn lasts_as_long(wanted: Option<u32>, there: Option<u32>) -> bool {
    match (wanted, there) {
        (None, None) => true,
        (Some(wanted), Some(there)) => wanted.abs_diff(there) <= SLACK,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
