//! Which networks links have in IPv6: those of segments are advertised, that of the way out is heard.

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

/// More of a message is not read, in bytes: the largest of a link.
pub const LARGEST: usize = 1500;

/// All devices of a link, and all routers (RFC 4291, 2.7.1).
const DEVICES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The pause between two advertisements that nobody has asked for, and for how long each holds: so some
/// can be lost.
const RETRY_DELAY: Duration = Duration::from_secs(60);
const ROUTER_SECONDS: u16 = 300;
const NETWORK_SECONDS: u32 = 3600;

/// The shortest pause between two on one link (RFC 4861, 10).
const MIN_DELAY: Duration = Duration::from_secs(1);

/// How often it is asked who is there, and the pauses between (RFC 4861, 10).
const SOLICITATIONS: u32 = 3;
const SOLICIT_DELAY: Duration = Duration::from_secs(4);

/// Bits of the networks of the whole box (docs/segments.md), and of the addresses of nodes.
const BOX_BITS: u8 = 48;
const NODES: RouteInformation = RouteInformation {
    network: Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
    length: 8,
    seconds: ROUTER_SECONDS as u32,
};

/// The host that a board is in its network (docs/segments.md).
const BOARD: u128 = 2;

/// What is advertised, and what was heard.
#[derive(Debug)]
pub struct Advertising {
    netd: Netd,
    links: Links,
    /// When the next advertisement goes out on each link, and when the last one did.
    next: BTreeMap<u32, (Instant, Option<Instant>)>,
    /// How often it is still asked who is there, and when next.
    asks: Option<(u32, Instant)>,
    /// What the router that leads out has said.
    heard: Option<Heard>,
    board: Option<u8>,
}

/// What a router has said in all of its advertisements: each thing holds for as long as it was said, whether or not later
/// ones say it again (RFC 4861, 6.2.3 and 6.3.4).
#[derive(Debug)]
struct Heard {
    from: Ipv6Addr,
    /// Until when it leads out.
    until: Instant,
    /// The networks of the link, what was said last first; each until when, `None` for ever.
    prefixes: Vec<(PrefixInformation, Option<Instant>)>,
    /// The networks elsewhere to which it leads, in the same way.
    routes: Vec<(RouteInformation, Option<Instant>)>,
    /// Who answers questions about names, in the same way.
    names: Vec<(Ipv6Addr, Option<Instant>)>,
}

impl Heard {
    fn new(from: Ipv6Addr, now: Instant) -> Self {
        Self { from, until: now, prefixes: vec![], routes: vec![], names: vec![] }
    }

    fn take(&mut self, advert: RouterAdvertisement, now: Instant) {
        let end = |seconds: u32| now + Duration::from_secs(seconds.into());
        self.until = end(advert.router_seconds.into());
        let prefixes = advert.prefixes.into_iter().map(|it| (it, it.seconds.map(end)));
        add(&mut self.prefixes, prefixes.collect(), now, |it| (it.network, it.length));
        let ends = |seconds: u32| (seconds != u32::MAX).then(|| end(seconds));
        let routes = advert.routes.into_iter().map(|it| (it, ends(it.seconds)));
        add(&mut self.routes, routes.collect(), now, |it| (it.network, it.length));
        let names = advert.names.into_iter().map(|(it, seconds)| (it, ends(seconds)));
        add(&mut self.names, names.collect(), now, |it| *it);
    }

    /// Whether packets to anywhere else go by it still.
    fn leads(&self, now: Instant) -> bool {
        let lasts = |end: &Option<Instant>| end.is_none_or(|end| end > now);
        self.until > now || self.routes.iter().any(|(_, end)| lasts(end))
    }
}

/// Puts what is said anew before what was said; what is the same by `key` counts once, and what has ended not at all.
fn add<T, K: PartialEq>(
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

/// Seconds until `end`: the last one counts in full.
fn left(end: Instant, now: Instant) -> u32 {
    let left = end.saturating_duration_since(now) + Duration::from_millis(999);
    u32::try_from(left.as_secs()).unwrap_or(u32::MAX)
}

impl Advertising {
    pub fn new(netd: Netd) -> Self {
        let (links, next, asks, heard, board) = Default::default();
        Self { netd, links, next, asks, heard, board }
    }

    /// The links are `links` now.
    pub async fn follow(&mut self, links: Links) {
        let before = std::mem::replace(&mut self.links, links);
        let now = Instant::now();
        if leads_out(&before) != leads_out(&self.links) {
            // Nobody is to send by the router into nothing, or to wait, until it is time for the next one.
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
            self.asks = Some((SOLICITATIONS, now));
        }
        let carrier = self.out().is_some_and(|link| link.carrier);
        if !carrier {
            self.asks = None;
        }
        if !carrier || begins {
            // It may be another cable now, also if it was not seen that there was none.
            if self.heard.take().is_some() && self.links.is_board {
                self.report().await;
            }
        } else if self.heard.is_some() && !self.is_set() {
            // A netd that was started anew does not know it.
            self.report().await;
        }
    }

    /// The lease says which board this is.
    pub async fn number(&mut self, board: Option<u8>) {
        if self.board != board {
            self.board = board;
            if self.heard.is_some() {
                self.report().await;
            }
        }
    }

    /// When there is something to do.
    pub fn due(&self) -> Option<Instant> {
        let next = self.next.values().map(|(next, _)| *next);
        let names = self.heard.iter().flat_map(|heard| &heard.names);
        next.chain(self.asks.map(|(_, at)| at)).chain(names.filter_map(|(_, end)| *end)).min()
    }

    pub async fn tick(&mut self, socket: &Icmp) {
        let now = Instant::now();
        if let Some(heard) = &mut self.heard {
            heard.names.retain(|(_, end)| end.is_none_or(|end| end > now));
        }
        let due: Vec<u32> =
            self.next.iter().filter(|(_, (next, _))| *next <= now).map(|(link, _)| *link).collect();
        for link in due {
            self.next.insert(link, (now + RETRY_DELAY, Some(now)));
            self.advertise(socket, link).await;
        }
        if let Some((left, at)) = self.asks.filter(|(_, at)| *at <= now) {
            self.asks = (left > 1).then(|| (left - 1, at + SOLICIT_DELAY));
            if let Some(link) = self.out().map(|link| link.index) {
                // The link may have no address of its own yet; then the next one goes out.
                let _ = socket.send(&SOLICITATION, ROUTERS, link).await;
            }
        }
    }

    pub async fn came(&mut self, bytes: &[u8], came: IcmpMessage) {
        if !came.is_of_link {
            return;
        }
        if is_solicitation(bytes) {
            let now = Instant::now();
            if let Some((next, last)) = self.next.get_mut(&came.link) {
                *next = last.map_or(now, |last| now.max(last + MIN_DELAY));
            }
            return;
        }
        let is_out = self.out().is_some_and(|link| link.index == came.link);
        if !is_out || !came.from.is_unicast_link_local() {
            return;
        }
        let Ok(mut advert) = RouterAdvertisement::parse(bytes) else { return };
        let now = Instant::now();
        // A board goes by its router to the rest of the box. Whoever is on another uplink has no networks that a node
        // would have to reach without a way out.
        advert.routes.retain(|route| self.links.is_board && is_of_box(route));
        if !self.hears(came.from, now) {
            return;
        }
        self.asks = None;
        let heard = self.heard.take().filter(|heard| heard.from == came.from);
        let heard = self.heard.insert(heard.unwrap_or_else(|| Heard::new(came.from, now)));
        heard.take(advert, now);
        self.report().await;
    }

    /// Whether a router counts. One leads out, or to the rest of the box; another is heard when that one says that it
    /// does not any more, or has said nothing for as long as it holds.
    fn hears(&self, from: Ipv6Addr, now: Instant) -> bool {
        self.heard.as_ref().is_none_or(|heard| heard.from == from || !heard.leads(now))
    }

    /// Who answers questions about names, as was heard.
    pub fn names(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.heard.iter().flat_map(|heard| &heard.names).map(|(server, _)| *server)
    }

    fn out(&self) -> Option<&Link> {
        let is_out = |link: &&Link| matches!(link.leads_to, LeadsTo::Out { asks: true, .. });
        self.links.links.iter().find(is_out)
    }

    /// Whether the address that was heard of is there.
    fn is_set(&self) -> bool {
        let Some(Link { leads_to: LeadsTo::Out { addresses, .. }, .. }) = self.out() else {
            return false;
        };
        self.reported().is_none_or(|it| it.address.is_none_or(|own| addresses.contains(&own)))
    }

    fn reported(&self) -> Option<RouterAdvertised> {
        let Heard { from, until, prefixes, routes, .. } = self.heard.as_ref()?;
        let (link, now) = (self.out()?, Instant::now());
        let own = |prefix| own_address(prefix, self.links.is_board, self.board, link.mac);
        let lasts = prefixes.iter().filter(|(_, end)| end.is_none_or(|end| end > now));
        let address = { lasts }.find_map(|(prefix, end)| Some((own(prefix)?, *end)));
        let lasts = routes.iter().filter(|(_, end)| end.is_none_or(|end| end > now));
        let routes = lasts.filter_map(|(route, end)| {
            let to = Cidr::new(route.network.into(), route.length).ok()?;
            Some(AdvertisedRoute { to, gateway: *from, seconds: end.map(|end| left(end, now)) })
        });
        Some(RouterAdvertised {
            routes: routes.collect(),
            address: address.map(|(address, _)| address),
            address_seconds: address.and_then(|(_, end)| end).map(|end| left(end, now)),
            gateway: (*until > now).then_some(*from),
            gateway_seconds: left(*until, now),
        })
    }

    async fn report(&self) {
        let Some(link) = self.out() else { return };
        if let Err(error) = self.netd.advertised(&link.name, self.reported()).await {
            say!("netd does not take what is advertised: {error}");
        }
    }

    async fn advertise(&self, socket: &Icmp, index: u32) {
        let link = self.links.links.iter().find(|link| link.index == index);
        let out = leads_out(&self.links);
        let advert = link.and_then(|link| match &link.leads_to {
            LeadsTo::Board(segment) => Some(advert(segment, false, out)),
            LeadsTo::Lan(segment) => Some(advert(segment, true, out)),
            LeadsTo::Out { .. } => None,
        });
        if let Some(advert) = advert {
            // Who does not hear it asks; a link that has just come may have no address of its own yet.
            let _ = socket.send(&advert.bytes(), DEVICES, index).await;
        }
    }
}

/// Whether a router has an IPv6 way out: a gateway, and an address with which answers come back. One that is for an
/// inside alone (RFC 4193) brings none.
fn leads_out(links: &Links) -> bool {
    let is_outside = |it: &Cidr| matches!(it.address(), IpAddr::V6(own) if !own.is_unique_local());
    links.links.iter().any(|link| match &link.leads_to {
        LeadsTo::Out { addresses, gateways, .. } => {
            gateways.iter().any(IpAddr::is_ipv6) && addresses.iter().any(is_outside)
        }
        LeadsTo::Board(_) | LeadsTo::Lan(_) => false,
    })
}

/// Whether a route may lead to the networks of a box: those are 48 bits long and drawn from `fd00::/8` (RFC 4193).
/// Nodes, in the other half, are reached by paths.
fn is_of_box(route: &RouteInformation) -> bool {
    route.length == BOX_BITS && route.network.octets()[0] == 0xfd
}

/// What a segment is told of itself. Boards do not make addresses for themselves: theirs follow from
/// their port. A router that does not lead out is no default router (RFC 7084, G-4), but always one to the rest of the
/// box (L-3), and to nodes, by paths.
fn advert(segment: &PlannedSegment, autonomous: bool, leads_out: bool) -> RouterAdvertisement {
    let router = segment.router.1;
    let whole = u128::MAX << (128 - u32::from(BOX_BITS));
    let whole = Ipv6Addr::from_bits(router.to_bits() & whole);
    let whole =
        RouteInformation { network: whole, length: BOX_BITS, seconds: ROUTER_SECONDS.into() };
    let network = Ipv6Addr::from_bits(router.to_bits() & !u128::from(u64::MAX));
    let seconds = Some(NETWORK_SECONDS);
    let prefix = PrefixInformation { network, length: 64, on_link: true, autonomous, seconds };
    let names = vec![(router, ROUTER_SECONDS.into())];
    let router_seconds = if leads_out { ROUTER_SECONDS } else { 0 };
    RouterAdvertisement {
        router_seconds,
        prefixes: vec![prefix],
        routes: vec![whole, NODES],
        names,
    }
}

/// This node's address in a network that is advertised, if it is to have one there.
fn own_address(
    prefix: &PrefixInformation,
    is_board: bool,
    board: Option<u8>,
    mac: Mac,
) -> Option<Cidr> {
    let is_wide = prefix.length == 64;
    let host = match board.filter(|_| is_board) {
        // The network of a board has its number.
        Some(number) if u16::from(number) == prefix.network.segments()[3] => BOARD,
        Some(_) => return None,
        None if is_board || !prefix.autonomous => return None,
        None => match mac.link_local() {
            // The same as on the link (RFC 4291, appendix A).
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

    /// A board with this link, which has lost its cable so often.
    fn board(downs: u32) -> Links {
        let leads_to = LeadsTo::Out { asks: true, addresses: vec![], gateways: vec![] };
        let (mac, name) = (Mac::new([2, 0, 0, 0, 0, 7]).unwrap(), LinkName::numbered(0));
        let link = Link { index: 2, name, mac, carrier: true, downs, leads_to };
        Links { is_board: true, links: vec![link] }
    }

    #[tokio::test]
    async fn one_router_is_heard_until_it_is_gone() {
        let [one, other] = ["fe80::1", "fe80::2"].map(|text| text.parse().unwrap());
        let came = |from| IcmpMessage { length: 0, from, link: 2, is_of_link: true };
        let bytes = advert(&segment(), false, false).bytes();
        let folder = tempfile::tempdir().unwrap();
        let mut advertising = Advertising::new(Netd::new(folder.path()));
        let heard = |it: &Advertising| it.heard.as_ref().map(|heard| heard.from);

        advertising.follow(board(0)).await;
        for from in [one, other] {
            advertising.came(&bytes, came(from)).await;
            assert_eq!(heard(&advertising), Some(one));
        }
        let now = Instant::now();
        let holds = Duration::from_secs(ROUTER_SECONDS.into());
        assert!(!advertising.hears(other, now) && advertising.hears(other, now + holds));

        // Plugged elsewhere, so fast that it was never seen without a cable.
        advertising.follow(board(1)).await;
        assert_eq!((heard(&advertising), advertising.asks.unwrap().0), (None, SOLICITATIONS));
        advertising.came(&bytes, came(other)).await;
        assert_eq!(heard(&advertising), Some(other));
        // Nothing has changed.
        advertising.follow(board(1)).await;
        assert_eq!(heard(&advertising), Some(other));
    }

    #[test]
    fn each_thing_that_is_advertised_lasts_as_long_as_it_was_said() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let whole = advert(&segment(), true, true);
        let bare = RouterAdvertisement {
            prefixes: vec![],
            routes: vec![],
            names: vec![],
            ..whole.clone()
        };
        let (prefix, server) = (whole.prefixes[0], whole.names[0].0);
        let mut heard = Heard::new("fe80::1".parse().unwrap(), now);
        heard.take(whole.clone(), now);
        // It says nothing of networks and servers: they stay, and the router leads out for longer.
        heard.take(bare.clone(), at(200));
        assert_eq!(heard.prefixes, [(prefix, Some(at(3600)))]);
        assert_eq!(heard.names, [(server, Some(at(300)))]);
        assert_eq!((heard.until, left(at(3600), at(200))), (at(500), 3400));
        heard.take(bare.clone(), at(300));
        assert_eq!((heard.names.len(), heard.prefixes.len()), (0, 1));
        // Another one comes first, and this one is taken back.
        let other = PrefixInformation { network: "fd00:0:0:4::".parse().unwrap(), ..prefix };
        heard.take(RouterAdvertisement { prefixes: vec![other], ..bare.clone() }, at(400));
        assert_eq!(heard.prefixes, [(other, Some(at(4000))), (prefix, Some(at(3600)))]);
        let gone = PrefixInformation { seconds: Some(0), ..other };
        heard.take(RouterAdvertisement { prefixes: vec![gone], ..bare.clone() }, at(500));
        assert_eq!(heard.prefixes, [(prefix, Some(at(3600)))]);
        // Whoever says ever more of them has no more places.
        for number in 0..9 {
            let other = PrefixInformation {
                network: Ipv6Addr::new(0xfd00, 0, 0, 10 + number, 0, 0, 0, 0),
                ..prefix
            };
            heard.take(RouterAdvertisement { prefixes: vec![other], ..bare.clone() }, at(600));
        }
        assert_eq!(heard.prefixes.len(), MAX);
        heard.take(RouterAdvertisement { router_seconds: 0, ..bare }, at(700));
        assert_eq!((heard.until, heard.prefixes.len()), (at(700), MAX));
    }

    /// RFC 7084, G-4 and L-3: whoever sends into nothing waits for long, where IPv4 would have answered at once.
    #[tokio::test]
    async fn a_router_without_a_way_out_is_a_route_to_its_box() {
        let out = |addresses: &[&str], gateways: &[&str]| {
            let addresses = addresses.iter().map(|it| Cidr::try_from((*it).to_owned()).unwrap());
            let gateways = gateways.iter().map(|it| it.parse().unwrap()).collect();
            let leads_to = LeadsTo::Out { asks: true, addresses: addresses.collect(), gateways };
            let (mac, name) = (Mac::new([2, 0, 0, 0, 0, 7]).unwrap(), LinkName::numbered(0));
            let out = Link { index: 2, name, mac, carrier: true, downs: 0, leads_to };
            let name = LinkName::numbered(1);
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
            assert_eq!(leads_out(links), *leads, "{links:?}");
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

        // When the way out comes or goes that is said at once, and not within a minute.
        let folder = tempfile::tempdir().unwrap();
        let mut router = Advertising::new(Netd::new(folder.path()));
        router.follow(ways[0].0.clone()).await;
        let begin = Instant::now();
        for (leads, due) in [(0, RETRY_DELAY), (4, MIN_DELAY), (4, RETRY_DELAY), (2, MIN_DELAY)] {
            router.next.insert(3, (begin + RETRY_DELAY, Some(begin)));
            router.follow(ways[leads].0.clone()).await;
            assert_eq!(router.next[&3].0, begin + due);
        }
    }

    /// What its router says of the box is a board's route; of others, and of nodes, none is taken.
    #[tokio::test]
    async fn a_board_has_a_route_to_its_box() {
        let folder = tempfile::tempdir().unwrap();
        let came =
            IcmpMessage { length: 0, from: "fe80::1".parse().unwrap(), link: 2, is_of_link: true };
        let mut said = advert(&segment(), false, false);
        let network = "2001:db8::".parse().unwrap();
        said.routes.push(RouteInformation { network, ..said.routes[0] });
        let bytes = said.bytes();
        for is_board in [true, false] {
            let mut advertising = Advertising::new(Netd::new(folder.path()));
            advertising.follow(Links { is_board, ..board(0) }).await;
            advertising.came(&bytes, came).await;
            let reported = advertising.reported().unwrap();
            let (to, gateway) = (Cidr::try_from("fd00::/48".to_owned()).unwrap(), came.from);
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
        // Somebody else's network, or nobody knows yet which board this is.
        assert_eq!(own_address(&prefix, true, Some(4), mac), None);
        assert_eq!(own_address(&prefix, true, None, mac), None);
        // Others make an address for themselves, where they may.
        assert_eq!(own_address(&prefix, false, None, mac), None);
        let lan = advert(&segment(), true, true).prefixes[0];
        assert_eq!(own_address(&lan, false, Some(3), mac), of("fd00:0:0:3:0:ff:fe00:7/64"));
        let narrow = PrefixInformation { length: 65, ..lan };
        assert_eq!(own_address(&narrow, false, None, mac), None);
    }
}
