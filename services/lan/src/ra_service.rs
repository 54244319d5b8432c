//! IPv6 router advertisements: sent on segments, and received on the uplink.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use octet_appliance::{Cidr, Mac};
use octet_node::links::{AdvertisedRoute, LeadsTo, Link, Links, PlannedSegment, RouterAdvertised};
use octet_node::say;

use crate::icmp::{Icmp, IcmpMessage};
use crate::netd::Netd;
use crate::ra::{
    MAX, PrefixInformation, RouteInformation, RouterAdvertisement, SOLICITATION, is_solicitation,
};

/// The maximum size of a message that is read, in bytes: the MTU of a link.
pub const LARGEST: usize = 1500;

/// All nodes and all routers of a link (RFC 4291, 2.7.1).
const DEVICES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The interval of unsolicited advertisements, and their lifetime, which tolerates losses.
const RETRY_DELAY: Duration = Duration::from_secs(60);
const ROUTER_SECONDS: u16 = 300;
const NETWORK_SECONDS: u32 = 3600;

/// The minimum interval of advertisements on one link (RFC 4861, 10).
const MIN_DELAY: Duration = Duration::from_secs(1);

/// The number of router solicitations, and their interval (RFC 4861, 10).
const SOLICITATIONS: u32 = 3;
const SOLICIT_DELAY: Duration = Duration::from_secs(4);

/// The prefix length of the whole box (docs/segments.md), and of node addresses.
const BOX_BITS: u8 = 48;
const NODES: RouteInformation = RouteInformation {
    network: Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
    length: 8,
    seconds: ROUTER_SECONDS as u32,
};

/// The board's host number in its network (docs/segments.md).
const BOARD: u128 = 2;

/// The state of sent and received advertisements.
#[derive(Debug)]
pub struct RaService {
    netd: Netd,
    links: Links,
    /// For each link, when the next advertisement is due, and when the last one was sent.
    next: BTreeMap<u32, (Instant, Option<Instant>)>,
    /// The number of remaining solicitations, and when the next one is due.
    solicitations: Option<(u32, Instant)>,
    /// The advertised state of the uplink's router.
    router: Option<UplinkRouter>,
    board: Option<u8>,
}

/// The accumulated state of a router: each item has its own lifetime, whether or not later
/// advertisements repeat it (RFC 4861, 6.2.3 and 6.3.4).
#[derive(Debug)]
struct UplinkRouter {
    from: Ipv6Addr,
    /// Until when it is a default router.
    until: Instant,
    /// The on-link prefixes, the latest first, with their expiry; `None` for never.
    prefixes: Vec<(PrefixInformation, Option<Instant>)>,
    /// The routes, in the same way.
    routes: Vec<(RouteInformation, Option<Instant>)>,
    /// The DNS servers, in the same way.
    dns_servers: Vec<(Ipv6Addr, Option<Instant>)>,
}

impl UplinkRouter {
    fn new(from: Ipv6Addr, now: Instant) -> Self {
        Self { from, until: now, prefixes: vec![], routes: vec![], dns_servers: vec![] }
    }

    fn update(&mut self, advert: RouterAdvertisement, now: Instant) {
        let end = |seconds: u32| now + Duration::from_secs(seconds.into());
        self.until = end(advert.router_seconds.into());
        let prefixes = advert.prefixes.into_iter().map(|it| (it, it.seconds.map(end)));
        merge(&mut self.prefixes, prefixes.collect(), now, |it| (it.network, it.length));
        let ends = |seconds: u32| (seconds != u32::MAX).then(|| end(seconds));
        let routes = advert.routes.into_iter().map(|it| (it, ends(it.seconds)));
        merge(&mut self.routes, routes.collect(), now, |it| (it.network, it.length));
        let names = advert.dns_servers.into_iter().map(|(it, seconds)| (it, ends(seconds)));
        merge(&mut self.dns_servers, names.collect(), now, |it| *it);
    }

    /// Whether it is still a default router.
    fn is_valid(&self, now: Instant) -> bool {
        let lasts = |end: &Option<Instant>| end.is_none_or(|end| end > now);
        self.until > now || self.routes.iter().any(|(_, end)| lasts(end))
    }
}

/// Adds new items before known ones. Items with the same `key` are merged, and expired ones
/// removed.
fn merge<T, K: PartialEq>(
    said: &mut Vec<(T, Option<Instant>)>,
    anew: Vec<(T, Option<Instant>)>,
    now: Instant,
    key: impl Fn(&T) -> K,
) {
    let mut all = anew;
    for old in said.drain(..) {
        if all.iter().all(|(it, _)| key(it) != key(&old.0)) {
            all.push(old);
        }
    }
    all.retain(|(_, end)| end.is_none_or(|end| end > now));
    all.truncate(MAX);
    *said = all;
}

/// The seconds until `end`, rounded up.
fn remaining_seconds(end: Instant, now: Instant) -> u32 {
    let left = end.saturating_duration_since(now) + Duration::from_millis(999);
    u32::try_from(left.as_secs()).unwrap_or(u32::MAX)
}

impl RaService {
    pub fn new(netd: Netd) -> Self {
        let (links, next, solicitations, router, board) = Default::default();
        Self { netd, links, next, solicitations, router, board }
    }

    /// Handles a change of the links.
    pub async fn apply(&mut self, links: Links) {
        let before = std::mem::replace(&mut self.links, links);
        let now = Instant::now();
        if has_uplink(&before) != has_uplink(&self.links) {
            // Clients must not send into a black hole, or wait for the next periodic advertisement.
            for (next, last) in self.next.values_mut() {
                *next = last.map_or(now, |last| now.max(last + MIN_DELAY));
            }
        }
        let same = |link: &Link| {
            let is_same = |other: &&Link| {
                (other.index, other.carrier, other.downs) == (link.index, link.carrier, link.downs)
            };
            before.links.iter().find(is_same).is_some()
        };
        let mut begins = false;
        for link in &self.links.links {
            match link.leads_to {
                LeadsTo::Out { asks, .. } => begins |= asks && link.carrier && !same(link),
                LeadsTo::Board(_) | LeadsTo::Lan(_) if !link.carrier => {
                    self.next.remove(&link.index);
                }
                LeadsTo::Board(_) | LeadsTo::Lan(_) if !same(link) => {
                    self.next.insert(link.index, (now, None));
                }
                LeadsTo::Board(_) | LeadsTo::Lan(_) => {}
            }
        }
        let is_there = |index: &u32| self.links.links.iter().any(|link| link.index == *index);
        self.next.retain(|index, _| is_there(index));
        if begins {
            self.solicitations = Some((SOLICITATIONS, now));
        }
        let carrier = self.uplink().is_some_and(|link| link.carrier);
        if !carrier {
            self.solicitations = None;
        }
        if !carrier || begins {
            // The cable may lead elsewhere now, even if the loss of carrier was not seen.
            if self.router.take().is_some() && self.links.is_board {
                self.report().await;
            }
        } else if self.router.is_some() && !self.is_set() {
            // A restarted netd does not have the state.
            self.report().await;
        }
    }

    /// Handles the board number in the DHCP lease.
    pub async fn set_board(&mut self, board: Option<u8>) {
        if self.board != board {
            self.board = board;
            if self.router.is_some() {
                self.report().await;
            }
        }
    }

    /// When the next action is due.
    pub fn due(&self) -> Option<Instant> {
        let next = self.next.values().map(|(next, _)| *next);
        let names = self.router.iter().flat_map(|router| &router.dns_servers);
        next.chain(self.solicitations.map(|(_, at)| at))
            .chain(names.filter_map(|(_, end)| *end))
            .min()
    }

    pub async fn tick(&mut self, socket: &Icmp) {
        let now = Instant::now();
        if let Some(router) = &mut self.router {
            router.dns_servers.retain(|(_, end)| end.is_none_or(|end| end > now));
        }
        let due: Vec<u32> =
            self.next.iter().filter(|(_, (next, _))| *next <= now).map(|(link, _)| *link).collect();
        for link in due {
            self.next.insert(link, (now + RETRY_DELAY, Some(now)));
            self.advertise(socket, link).await;
        }
        if let Some((left, at)) = self.solicitations.filter(|(_, at)| *at <= now) {
            self.solicitations = (left > 1).then(|| (left - 1, at + SOLICIT_DELAY));
            if let Some(link) = self.uplink().map(|link| link.index) {
                // The link may have no address yet; then a later solicitation is sent.
                let _ = socket.send(&SOLICITATION, ROUTERS, link).await;
            }
        }
    }

    pub async fn receive(&mut self, bytes: &[u8], packet: IcmpMessage) {
        if !packet.is_link_local {
            return;
        }
        if is_solicitation(bytes) {
            let now = Instant::now();
            if let Some((next, last)) = self.next.get_mut(&packet.link) {
                *next = last.map_or(now, |last| now.max(last + MIN_DELAY));
            }
            return;
        }
        let is_out = self.uplink().is_some_and(|link| link.index == packet.link);
        if !is_out || !packet.from.is_unicast_link_local() {
            return;
        }
        let Ok(mut advert) = RouterAdvertisement::parse(bytes) else { return };
        let now = Instant::now();
        // A board reaches the rest of the box through its router. On other uplinks, routes other
        // than the default are not needed.
        advert.routes.retain(|route| self.links.is_board && is_box_route(route));
        if !self.accepts(packet.from, now) {
            return;
        }
        self.solicitations = None;
        let router = self.router.take().filter(|router| router.from == packet.from);
        let router =
            self.router.insert(router.unwrap_or_else(|| UplinkRouter::new(packet.from, now)));
        router.update(advert, now);
        self.report().await;
    }

    /// Whether a router is accepted: a default router, or the box's own. Another one is accepted
    /// once the current one has withdrawn or expired.
    fn accepts(&self, from: Ipv6Addr, now: Instant) -> bool {
        self.router.as_ref().is_none_or(|router| router.from == from || !router.is_valid(now))
    }

    /// The advertised DNS servers.
    pub fn dns_servers(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.router.iter().flat_map(|router| &router.dns_servers).map(|(server, _)| *server)
    }

    fn uplink(&self) -> Option<&Link> {
        let is_out = |link: &&Link| matches!(link.leads_to, LeadsTo::Out { asks: true, .. });
        self.links.links.iter().find(is_out)
    }

    /// Whether the advertised address is configured.
    fn is_set(&self) -> bool {
        let Some(Link { leads_to: LeadsTo::Out { addresses, .. }, .. }) = self.uplink() else {
            return false;
        };
        self.router_advertised()
            .is_none_or(|it| it.address.is_none_or(|own| addresses.contains(&own)))
    }

    fn router_advertised(&self) -> Option<RouterAdvertised> {
        let UplinkRouter { from, until, prefixes, routes, .. } = self.router.as_ref()?;
        let (link, now) = (self.uplink()?, Instant::now());
        let own = |prefix| own_address(prefix, self.links.is_board, self.board, link.mac);
        let lasts = prefixes.iter().filter(|(_, end)| end.is_none_or(|end| end > now));
        let address = { lasts }.find_map(|(prefix, end)| Some((own(prefix)?, *end)));
        let lasts = routes.iter().filter(|(_, end)| end.is_none_or(|end| end > now));
        let routes = lasts.filter_map(|(route, end)| {
            let to = Cidr::new(route.network.into(), route.length).ok()?;
            Some(AdvertisedRoute {
                to,
                gateway: *from,
                seconds: end.map(|end| remaining_seconds(end, now)),
            })
        });
        Some(RouterAdvertised {
            routes: routes.collect(),
            address: address.map(|(address, _)| address),
            address_seconds: address
                .and_then(|(_, end)| end)
                .map(|end| remaining_seconds(end, now)),
            gateway: (*until > now).then_some(*from),
            gateway_seconds: remaining_seconds(*until, now),
        })
    }

    async fn report(&self) {
        let Some(link) = self.uplink() else { return };
        if let Err(error) =
            self.netd.set_router_advertised(&link.name, self.router_advertised()).await
        {
            say!("netd rejects the advertisement: {error}");
        }
    }

    async fn advertise(&self, socket: &Icmp, index: u32) {
        let link = self.links.links.iter().find(|link| link.index == index);
        let out = has_uplink(&self.links);
        let advert = link.and_then(|link| match &link.leads_to {
            LeadsTo::Board(segment) => Some(advert(segment, false, out)),
            LeadsTo::Lan(segment) => Some(advert(segment, true, out)),
            LeadsTo::Out { .. } => None,
        });
        if let Some(advert) = advert {
            // Clients that miss it solicit; a new link may have no address yet.
            let _ = socket.send(&advert.bytes(), DEVICES, index).await;
        }
    }
}

/// Whether the router has an IPv6 uplink: a gateway and a global address. A unique local address
/// (RFC 4193) does not count.
fn has_uplink(links: &Links) -> bool {
    let is_outside = |it: &Cidr| matches!(it.address(), IpAddr::V6(own) if !own.is_unique_local());
    links.links.iter().any(|link| match &link.leads_to {
        LeadsTo::Out { addresses, gateways, .. } => {
            gateways.iter().any(IpAddr::is_ipv6) && addresses.iter().any(is_outside)
        }
        LeadsTo::Board(_) | LeadsTo::Lan(_) => false,
    })
}

/// Whether a route can lead to a box's networks: a /48 within `fd00::/8` (RFC 4193). Nodes, in the
/// other half, are reached over paths.
fn is_box_route(route: &RouteInformation) -> bool {
    route.length == BOX_BITS && route.network.octets()[0] == 0xfd
}

/// The advertisement of a segment. Boards do not use autoconfiguration: their addresses follow from
/// their port. A router without an uplink is no default router (RFC 7084, G-4), but always
/// advertises routes to the rest of the box (L-3), and to nodes over paths.
fn advert(segment: &PlannedSegment, autonomous: bool, has_uplink: bool) -> RouterAdvertisement {
    let router = segment.router.1;
    let whole = u128::MAX << (128 - u32::from(BOX_BITS));
    let whole = Ipv6Addr::from_bits(router.to_bits() & whole);
    let whole =
        RouteInformation { network: whole, length: BOX_BITS, seconds: ROUTER_SECONDS.into() };
    let network = Ipv6Addr::from_bits(router.to_bits() & !u128::from(u64::MAX));
    let seconds = Some(NETWORK_SECONDS);
    let prefix = PrefixInformation { network, length: 64, on_link: true, autonomous, seconds };
    let names = vec![(router, ROUTER_SECONDS.into())];
    let router_seconds = if has_uplink { ROUTER_SECONDS } else { 0 };
    RouterAdvertisement {
        router_seconds,
        prefixes: vec![prefix],
        routes: vec![whole, NODES],
        dns_servers: names,
    }
}

/// This node's address in an advertised prefix, if it should have one.
fn own_address(
    prefix: &PrefixInformation,
    is_board: bool,
    board: Option<u8>,
    mac: Mac,
) -> Option<Cidr> {
    let is_wide = prefix.length == 64;
    let host = match board.filter(|_| is_board) {
        // A board's network has the board's number.
        Some(number) if u16::from(number) == prefix.network.segments()[3] => BOARD,
        Some(_) => return None,
        None if is_board || !prefix.autonomous => return None,
        None => match mac.link_local() {
            // The interface identifier of the link-local address (RFC 4291, appendix A).
            IpAddr::V6(own) => own.to_bits() & u128::from(u64::MAX),
            IpAddr::V4(_) => return None,
        },
    };
    let address = Ipv6Addr::from_bits(prefix.network.to_bits() | host);
    Cidr::new(address.into(), 64).ok().filter(|_| is_wide)
}

#[cfg(test)]
mod tests {
    use octet_appliance::LinkName;

    use super::*;

    fn segment() -> PlannedSegment {
        let router = (std::net::Ipv4Addr::new(10, 20, 3, 1), "fd00:0:0:3::1".parse().unwrap());
        PlannedSegment { number: 3, router, board: None, mac: None }
    }

    /// A board with this link, after this number of carrier losses.
    fn board(downs: u32) -> Links {
        let leads_to = LeadsTo::Out { asks: true, addresses: vec![], gateways: vec![] };
        let (mac, name) = (Mac::new([2, 0, 0, 0, 0, 7]).unwrap(), LinkName::ethernet(0));
        let link = Link { index: 2, name, mac, carrier: true, downs, leads_to };
        Links { is_board: true, links: vec![link] }
    }

    #[tokio::test]
    async fn one_router_is_heard_until_it_is_gone() {
        let [one, other] = ["fe80::1", "fe80::2"].map(|text| text.parse().unwrap());
        let packet = |from| IcmpMessage { length: 0, from, link: 2, is_link_local: true };
        let bytes = advert(&segment(), false, false).bytes();
        let folder = tempfile::tempdir().unwrap();
        let mut service = RaService::new(Netd::new(folder.path()));
        let router = |it: &RaService| it.router.as_ref().map(|router| router.from);

        service.apply(board(0)).await;
        for from in [one, other] {
            service.receive(&bytes, packet(from)).await;
            assert_eq!(router(&service), Some(one));
        }
        let now = Instant::now();
        let holds = Duration::from_secs(ROUTER_SECONDS.into());
        assert!(!service.accepts(other, now) && service.accepts(other, now + holds));

        // The cable was moved so fast that the loss of carrier was not seen.
        service.apply(board(1)).await;
        assert_eq!((router(&service), service.solicitations.unwrap().0), (None, SOLICITATIONS));
        service.receive(&bytes, packet(other)).await;
        assert_eq!(router(&service), Some(other));
        // Nothing has changed.
        service.apply(board(1)).await;
        assert_eq!(router(&service), Some(other));
    }

    #[test]
    fn each_thing_that_is_advertised_lasts_as_long_as_it_was_said() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let whole = advert(&segment(), true, true);
        let bare = RouterAdvertisement {
            prefixes: vec![],
            routes: vec![],
            dns_servers: vec![],
            ..whole.clone()
        };
        let (prefix, server) = (whole.prefixes[0], whole.dns_servers[0].0);
        let mut router = UplinkRouter::new("fe80::1".parse().unwrap(), now);
        router.update(whole.clone(), now);
        // An advertisement without prefixes and servers keeps them, and extends the router's
        // lifetime.
        router.update(bare.clone(), at(200));
        assert_eq!(router.prefixes, [(prefix, Some(at(3600)))]);
        assert_eq!(router.dns_servers, [(server, Some(at(300)))]);
        assert_eq!((router.until, remaining_seconds(at(3600), at(200))), (at(500), 3400));
        router.update(bare.clone(), at(300));
        assert_eq!((router.dns_servers.len(), router.prefixes.len()), (0, 1));
        // A new prefix comes first, and the old one is withdrawn.
        let other = PrefixInformation { network: "fd00:0:0:4::".parse().unwrap(), ..prefix };
        router.update(RouterAdvertisement { prefixes: vec![other], ..bare.clone() }, at(400));
        assert_eq!(router.prefixes, [(other, Some(at(4000))), (prefix, Some(at(3600)))]);
        let gone = PrefixInformation { seconds: Some(0), ..other };
        router.update(RouterAdvertisement { prefixes: vec![gone], ..bare.clone() }, at(500));
        assert_eq!(router.prefixes, [(prefix, Some(at(3600)))]);
        // The number of items is limited.
        for number in 0..9 {
            let other = PrefixInformation {
                network: Ipv6Addr::new(0xfd00, 0, 0, 10 + number, 0, 0, 0, 0),
                ..prefix
            };
            router.update(RouterAdvertisement { prefixes: vec![other], ..bare.clone() }, at(600));
        }
        assert_eq!(router.prefixes.len(), MAX);
        router.update(RouterAdvertisement { router_seconds: 0, ..bare }, at(700));
        assert_eq!((router.until, router.prefixes.len()), (at(700), MAX));
    }

    /// RFC 7084, G-4 and L-3: clients of a router without an uplink would wait for timeouts, where
    /// IPv4 fails at once.
    #[tokio::test]
    async fn a_router_without_a_way_out_is_a_route_to_its_box() {
        let out = |addresses: &[&str], gateways: &[&str]| {
            let addresses = addresses.iter().map(|it| Cidr::try_from((*it).to_owned()).unwrap());
            let gateways = gateways.iter().map(|it| it.parse().unwrap()).collect();
            let leads_to = LeadsTo::Out { asks: true, addresses: addresses.collect(), gateways };
            let (mac, name) = (Mac::new([2, 0, 0, 0, 0, 7]).unwrap(), LinkName::ethernet(0));
            let out = Link { index: 2, name, mac, carrier: true, downs: 0, leads_to };
            let name = LinkName::ethernet(1);
            let leads_to = LeadsTo::Board(segment());
            let board = Link { index: 3, name, leads_to, ..out.clone() };
            Links { is_board: false, links: vec![out, board] }
        };
        let ways = [
            (out(&[], &[]), false),
            (out(&["192.0.2.7/24"], &["192.0.2.1"]), false),
            (out(&["fd00:1::7/64", "192.0.2.7/24"], &["fe80::1"]), false),
            (out(&["2001:db8::7/64"], &["192.0.2.1"]), false),
            (out(&["2001:db8::7/64", "fd00:1::7/64"], &["fe80::1", "192.0.2.1"]), true),
        ];
        for (links, leads) in &ways {
            assert_eq!(has_uplink(links), *leads, "{links:?}");
        }
        for leads in [false, true] {
            let read =
                RouterAdvertisement::parse(&advert(&segment(), true, leads).bytes()).unwrap();
            assert_eq!(read.router_seconds, if leads { ROUTER_SECONDS } else { 0 });
            let network = "fd00::".parse().unwrap();
            assert_eq!(
                read.routes,
                [RouteInformation { network, length: 48, seconds: 300 }, NODES]
            );
        }

        // A change of the uplink is advertised at once, not within a minute.
        let folder = tempfile::tempdir().unwrap();
        let mut router = RaService::new(Netd::new(folder.path()));
        router.apply(ways[0].0.clone()).await;
        let begin = Instant::now();
        for (leads, due) in [(0, RETRY_DELAY), (4, MIN_DELAY), (4, RETRY_DELAY), (2, MIN_DELAY)] {
            router.next.insert(3, (begin + RETRY_DELAY, Some(begin)));
            router.apply(ways[leads].0.clone()).await;
            assert_eq!(router.next[&3].0, begin + due);
        }
    }

    /// A board accepts its router's route to the box, but not those of other routers, or to nodes.
    #[tokio::test]
    async fn a_board_has_a_route_to_its_box() {
        let folder = tempfile::tempdir().unwrap();
        let packet = IcmpMessage {
            length: 0,
            from: "fe80::1".parse().unwrap(),
            link: 2,
            is_link_local: true,
        };
        let mut said = advert(&segment(), false, false);
        let network = "2001:db8::".parse().unwrap();
        said.routes.push(RouteInformation { network, ..said.routes[0] });
        let bytes = said.bytes();
        for is_board in [true, false] {
            let mut service = RaService::new(Netd::new(folder.path()));
            service.apply(Links { is_board, ..board(0) }).await;
            service.receive(&bytes, packet).await;
            let reported = service.router_advertised().unwrap();
            let (to, gateway) = (Cidr::try_from("fd00::/48".to_owned()).unwrap(), packet.from);
            let route = AdvertisedRoute { to, gateway, seconds: Some(300) };
            assert_eq!(reported.routes, [route][..usize::from(is_board)]);
            assert_eq!(reported.gateway, None);
        }
    }

    #[test]
    fn a_boards_address_follows_from_its_port() {
        let mac = Mac::new([2, 0, 0, 0, 0, 7]).unwrap();
        let of = |text: &str| Some(Cidr::try_from(text.to_owned()).unwrap());
        let prefix = advert(&segment(), false, true).prefixes[0];
        assert_eq!(own_address(&prefix, true, Some(3), mac), of("fd00:0:0:3::2/64"));
        // Another network, or the board's number is not known yet.
        assert_eq!(own_address(&prefix, true, Some(4), mac), None);
        assert_eq!(own_address(&prefix, true, None, mac), None);
        // Other nodes use autoconfiguration where it is allowed.
        assert_eq!(own_address(&prefix, false, None, mac), None);
        let lan = advert(&segment(), true, true).prefixes[0];
        assert_eq!(own_address(&lan, false, Some(3), mac), of("fd00:0:0:3:0:ff:fe00:7/64"));
        let narrow = PrefixInformation { length: 65, ..lan };
        assert_eq!(own_address(&narrow, false, None, mac), None);
    }
}
