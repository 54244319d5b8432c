//! What the kernel is to have, and the changes that lead there. Pure: nothing here touches it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use octet_appliance::{Addressing, Mac, NetworkSettings};

use crate::advert::Advert;
use crate::lease::Lease;
use crate::observed::{Address, Link, LinkKind, Neighbour, Observed, Route, Rule};
use crate::plugged::Plugged;
use crate::router;
use crate::router::plan::Segment;

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

/// What is known of what a router advertises.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Advertised {
    /// Nobody was heard yet: what the netd before this one has set stays, as long as it may.
    #[default]
    Unknown,
    /// There is none.
    Nothing,
    /// This one.
    Router(Advert),
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
    /// Routes.
    pub routes: Vec<Route>,
    /// In which table what comes by which device has its routes.
    pub rules: Vec<Rule>,
    /// The versions of IP for which the table of the VPN ends in a refusal.
    pub dead_ends: Vec<IpAddr>,
    /// Neighbours of which it is known who they are.
    pub neighbours: Vec<Neighbour>,
    /// Whether packets for others are to be handed on. Who is no router leaves that as it is.
    pub forwards: bool,
    /// Whether IPv4 that may be of a lease stays on this link.
    pub keep_leased: Option<u32>,
    /// Whether IPv6 that may have been advertised stays on this link.
    pub keep_advertised: Option<u32>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Switch a link on.
    Up(u32),
    /// Remove a route.
    RemoveRoute(Route),
    /// Remove an address.
    RemoveAddress(Address),
    /// Set an address, or how long it lasts.
    SetAddress(Address),
    /// Add a route.
    AddRoute(Route),
    /// Say in which table routes are looked for.
    AddRule(Rule),
    /// Take that back.
    RemoveRule(Rule),
    /// Have the table of the VPN end in a refusal.
    AddDeadEnd(IpAddr),
    /// Take that back.
    RemoveDeadEnd(IpAddr),
    /// Forget a neighbour.
    RemoveNeighbour(Neighbour),
    /// Say who a neighbour is.
    SetNeighbour(Neighbour),
    /// Hand on packets for others.
    Forward,
}

impl Plan {
    /// What `settings` and `leased` make of the links that there are, `now` after netd's start; with the
    /// segments of `router`, if this is one, and who is plugged into them.
    pub fn new(
        settings: &NetworkSettings,
        router: Option<(&router::plan::Plan, &Plugged)>,
        (leased, advertised): (&Leased, &Advertised),
        observed: &Observed,
        now: Duration,
    ) -> Self {
        let (router, plugged) = router.unzip();
        // A router's port that nobody has planned stays off: no guard stands at it.
        let is_planned = |link: &Link| {
            link.kind == LinkKind::Loopback
                || router
                    .is_none_or(|router| router.devices().any(|name| name.as_str() == link.name))
        };
        let is_ours = |link: &&Link| link.kind != LinkKind::Other && is_planned(link);
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
        for segment in router.into_iter().flat_map(router::plan::Plan::segments) {
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
                plan.addresses.extend(addresses.iter().map(|cidr| Address {
                    link: uplink,
                    address: cidr.address(),
                    prefix: cidr.prefix(),
                    seconds: None,
                    is_sole: false,
                }));
                let routes = gateways.iter().map(|gateway| Route::out(*gateway, uplink));
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
                    is_sole: false,
                });
                let route = |gateway| Route::out(gateway, uplink);
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
    fn vpn(&mut self, router: &router::plan::Plan) {
        let Some(lan) = &router.lan else { return };
        let (device, any) =
            (lan.device.as_str(), [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]);
        let inside = [
            (router.network.host(0, 0).into(), 16),
            (router.network6.host(0, 0).into(), 48),
            // Nodes, by paths.
            (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0).into(), 8),
        ];
        self.rules.extend(inside.map(|to| Rule::inside(device, to)));
        self.rules.extend(any.map(|any| Rule::outside(device, any)));
        self.dead_ends.extend(any);
    }

    fn advertised(&mut self, advertised: &Advertised, link: u32, now: Duration) {
        match advertised {
            Advertised::Unknown => self.keep_advertised = Some(link),
            Advertised::Nothing => {}
            Advertised::Router(advert) => {
                self.addresses.extend(advert.address.map(|cidr| Address {
                    link,
                    address: cidr.address(),
                    prefix: cidr.prefix(),
                    seconds: advert.address_left(now),
                    is_sole: false,
                }));
                let route = |gateway| Route::out(IpAddr::V6(gateway), link);
                self.routes.extend(advert.gateway(now).map(route));
                self.routes.extend(advert.routes(now).map(|(to, gateway)| Route {
                    to: (to.address(), to.prefix()),
                    gateway: gateway.into(),
                    link,
                }));
            }
        }
    }

    fn segment(&mut self, segment: &Segment, mac: Option<Mac>, link: u32) {
        let addresses = segment.addresses();
        self.addresses.extend(addresses.map(|(address, prefix)| Address {
            link,
            address,
            prefix,
            seconds: None,
            // The guard lets no board say that it is the router.
            is_sole: true,
        }));
        if let (Some((ip4, ip6)), Some(mac)) = (segment.board, mac) {
            let addresses = [IpAddr::from(ip4), ip6.into(), mac.link_local()];
            let neighbour = |address| Neighbour { link, address, mac: mac.bytes() };
            self.neighbours.extend(addresses.map(neighbour));
        }
    }

    /// The steps from what there is, in an order in which none undoes another: an address that goes
    /// takes others of its network with it, so what goes, goes first.
    pub fn changes(&self, observed: &Observed) -> Vec<Change> {
        let mut changes = self.ways(observed);
        let is_down =
            |index: &u32| observed.links.iter().any(|link| link.index == *index && !link.up);
        changes.extend(self.up.iter().copied().filter(is_down).map(Change::Up));
        // The kernel ends an address whose time is over, but not the route that came with it.
        let keeps_some = |four: bool| {
            let is_one =
                |there: &&Address| there.address.is_ipv4() == four && there.seconds.is_some();
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
        let is_stale =
            |it: &&Neighbour| self.owned.contains(&it.link) && !self.neighbours.contains(it);
        let stale = observed.neighbours.iter().filter(is_stale);
        changes.extend(stale.copied().map(Change::RemoveNeighbour));
        let missing = self.neighbours.iter().filter(|it| !observed.neighbours.contains(it));
        changes.extend(missing.copied().map(Change::SetNeighbour));
        // Last of all: until then nothing passes from one port to another.
        if self.forwards && !observed.forwards {
            changes.push(Change::Forward);
        }
        changes
    }

    /// Before a link is switched on what comes by it has its routes.
    fn ways(&self, observed: &Observed) -> Vec<Change> {
        let Self { rules, dead_ends, .. } = self;
        let new = dead_ends.iter().filter(|it| !observed.dead_ends.contains(it));
        let mut changes: Vec<_> = new.copied().map(Change::AddDeadEnd).collect();
        let new = rules.iter().filter(|it| !observed.rules.contains(it));
        changes.extend(new.cloned().map(Change::AddRule));
        let gone = observed.rules.iter().filter(|it| !rules.contains(it));
        changes.extend(gone.cloned().map(Change::RemoveRule));
        let gone = observed.dead_ends.iter().filter(|it| !dead_ends.contains(it));
        changes.extend(gone.copied().map(Change::RemoveDeadEnd));
        changes
    }

    /// Whether an address that is not planned stays nevertheless: the kernel gives every link one of
    /// its own, by which the gate can always be reached.
    fn keeps(&self, there: &Address) -> bool {
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
    router: Option<&'a router::plan::Plan>,
) -> Option<&'a str> {
    let link = router.map(|router| &router.uplink).or(settings.link.as_ref());
    link.map(octet_appliance::LinkName::as_str)
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
