//! Configures the resolver from the links: client networks, names of hosts, and upstreams.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};
use std::rc::Rc;

use octet_node::address::NETWORK;
use octet_node::links::{LeadsTo, Links, PlannedSegment};
use octet_node::say;
use serde_json::{Value, json};
use tokio::task::spawn_local;

use crate::daemon::LanConfig;
use crate::dns::box_zone::BoxZone;
use crate::dns::inside::BoxNetworks;
use crate::dns::prefix::IpPrefix;
use crate::dns::upstream_path::UpstreamPath;
use crate::dns::{Dns, Settings};

/// The DNS port.
const PORT: u16 = 53;

/// The host name of the router.
pub const ROUTER: &str = "router";

/// The resolver, which starts once the kind of this node is known.
#[derive(Debug)]
pub struct DnsService {
    sockets: Option<(UdpSocket, TcpListener)>,
    dns: Option<(Rc<Dns>, bool)>,
    /// The last refused upstreams, so that they are logged once.
    refused: Vec<String>,
}

/// The node has changed between board and router, which requires a restart of the resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the role of this node has changed: lan restarts")]
pub struct Changed;

impl DnsService {
    /// Keeps the sockets until the links are known; queries wait in them.
    pub fn new(udp: UdpSocket, tcp: TcpListener) -> Self {
        Self { sockets: Some((udp, tcp)), dns: None, refused: vec![] }
    }

    /// Applies the links. The box's names are in `domain`; `upstreams` resolve outside names,
    /// except for the owner's devices if there is an exit node, which resolves theirs.
    ///
    /// # Errors
    /// The node has changed between board and router.
    pub fn apply(
        &mut self,
        links: &Links,
        domain: &str,
        upstreams: &[IpAddr],
        config: &LanConfig,
    ) -> Result<(), Changed> {
        if links.links.is_empty() {
            return Ok(());
        }
        let dns = match &self.dns {
            Some((dns, is_board)) if *is_board == links.is_board => Rc::clone(dns),
            Some(_) => return Err(Changed),
            None => self.start(links.is_board),
        };
        let exit = config.exit_addresses.as_deref();
        let whole = BoxNetworks {
            all_networks: config.box_networks.clone(),
            uplink_networks: uplink_networks(links, config.openwrt_cluster.is_some()),
            ..box_networks(links, exit.is_some())
        };
        let mut refused = dns.set_box_networks(whole);
        match BoxZone::new(domain, &host_names(links)) {
            Ok(mut own) => {
                if let Err(error) = own.add_aliases(domain, &aliases(links, &config.origins)) {
                    self.log_refused(vec![format!("the origins have no names: {error}")]);
                }
                dns.set_box_zone(own);
            }
            Err(error) => self.log_refused(vec![format!("the box's hosts have no names: {error}")]),
        }
        let out = links.links.iter().find(|link| matches!(link.leads_to, LeadsTo::Out { .. }));
        let out = out.map_or(0, |link| link.index);
        let at_port = |all: &[IpAddr]| -> Vec<_> {
            all.iter().map(|it| upstream_address(*it, out)).collect()
        };
        refused.extend(dns.set_exits(&at_port(exit.unwrap_or_default())));
        refused.extend(dns.set_upstreams(&at_port(upstreams)));
        let mut refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
        refused.sort();
        refused.dedup();
        self.log_refused(refused);
        Ok(())
    }

    fn start(&mut self, is_board: bool) -> Rc<Dns> {
        let dns = Dns::new(Settings { forwards_inside: is_board, ..Settings::default() });
        if let Some((udp, tcp)) = self.sockets.take() {
            let serving = Rc::clone(&dns);
            spawn_local(async move {
                let Err(error) = serving.serve(udp, tcp).await;
                say!("names are no longer published: {error}");
            });
        }
        self.dns = Some((Rc::clone(&dns), is_board));
        dns
    }

    fn log_refused(&mut self, refused: Vec<String>) {
        for text in refused.iter().filter(|text| !self.refused.contains(text)) {
            say!("{text}");
        }
        self.refused = refused;
    }

    /// The resolver; `None` until the links are known.
    pub fn dns(&self) -> Option<&Dns> {
        self.dns.as_ref().map(|(dns, _)| &**dns)
    }

    /// The state for display.
    pub fn show(&self) -> Value {
        let Some((dns, _)) = &self.dns else { return Value::Null };
        json!({
            "upstreams": dns.upstreams(UpstreamPath::Own),
            "lan_upstreams": dns.upstreams(UpstreamPath::Exit),
            "refused": self.refused,
            "cached_bytes": dns.cached_bytes(),
            "counted": dns.counters(),
        })
    }
}

/// The socket address of a server. A link-local one is on the uplink `out` (RFC 4007, 6).
fn upstream_address(address: IpAddr, out: u32) -> SocketAddr {
    match address {
        IpAddr::V6(six) if six.is_unicast_link_local() => {
            SocketAddrV6::new(six, PORT, 0, out).into()
        }
        other => SocketAddr::new(other, PORT),
    }
}

fn segments(links: &Links) -> impl Iterator<Item = &PlannedSegment> {
    links.links.iter().filter_map(|link| match &link.leads_to {
        LeadsTo::Board(segment) | LeadsTo::Lan(segment) => Some(segment),
        LeadsTo::Out { .. } => None,
    })
}

fn addresses((four, six): (std::net::Ipv4Addr, std::net::Ipv6Addr)) -> Vec<IpAddr> {
    vec![four.into(), six.into()]
}

/// The client networks: those of all segments, in each of which this node has an address. With a
/// VPN, the owner's devices use the exit node. Clients that reach the router over a path use it as
/// their exit; netd admits no others.
fn box_networks(links: &Links, has_vpn: bool) -> BoxNetworks {
    let of = |segment: &PlannedSegment| {
        let (four, six) = segment.router;
        [IpPrefix::new(four.into(), 24), IpPrefix::new(six.into(), 64)]
    };
    let networks = segments(links).flat_map(of);
    let lan = links.links.iter().filter_map(|link| match &link.leads_to {
        LeadsTo::Lan(segment) if has_vpn => Some(of(segment)),
        _ => None,
    });
    let (nodes, length) = NETWORK;
    let guests = IpPrefix::new(nodes.into(), length).filter(|_| !links.is_board);
    let out = links.links.iter().flat_map(|link| match &link.leads_to {
        LeadsTo::Out { addresses, .. } => addresses.clone(),
        LeadsTo::Board(_) | LeadsTo::Lan(_) => vec![],
    });
    // The network of a board's uplink belongs to the box.
    let around = out.clone().filter(|_| links.is_board);
    let networks = networks.chain(around.map(|it| IpPrefix::new(it.address(), it.prefix())));
    let own = segments(links).flat_map(|segment| addresses(segment.router));
    let node = own.chain(out.map(|it| it.address())).collect();
    BoxNetworks {
        networks: networks.flatten().collect(),
        own_addresses: node,
        exit_clients: lan.flatten().flatten().collect(),
        guests: guests.into_iter().collect(),
        ..BoxNetworks::default()
    }
}

/// The networks outside of the box that surround this node. For a board, everything around the box
/// is up to the router, which has filtered all answers, unless it runs OpenWrt (`is_openwrt`).
fn uplink_networks(links: &Links, is_openwrt: bool) -> Vec<IpPrefix> {
    if links.is_board {
        return if is_openwrt { vec![] } else { vec![IpPrefix::EVERYTHING] };
    }
    let out = links.links.iter().flat_map(|link| match &link.leads_to {
        LeadsTo::Out { addresses, .. } => &addresses[..],
        LeadsTo::Board(_) | LeadsTo::Lan(_) => &[],
    });
    out.filter_map(|it| IpPrefix::new(it.address(), it.prefix())).collect()
}

/// The names of hosts. The router has an address in every segment; one of them suffices, because
/// all are reachable from everywhere.
fn host_names(links: &Links) -> BTreeMap<String, Vec<IpAddr>> {
    let boards = segments(links).filter_map(|segment| {
        Some((format!("board-{}", segment.number), addresses(segment.board?)))
    });
    let router = segments(links).last().map(|it| (ROUTER.to_owned(), addresses(it.router)));
    boards.chain(router).collect()
}

/// The names of web origins, with the addresses of their fronts. A front that this node does not know is left out:
/// the router knows all.
fn aliases(
    links: &Links,
    origins: &BTreeMap<String, Vec<String>>,
) -> BTreeMap<String, Vec<IpAddr>> {
    let hosts = host_names(links);
    let addresses = |fronts: &Vec<String>| -> Vec<IpAddr> {
        fronts.iter().filter_map(|host| hosts.get(host)).flatten().copied().collect()
    };
    let named = origins.iter().map(|(name, fronts)| (name.clone(), addresses(fronts)));
    named.filter(|(_, addresses)| !addresses.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::links::Link;

    #[test]
    fn a_server_with_an_address_of_the_link_is_asked_on_the_link() {
        let scope = |text: &str| match upstream_address(text.parse().unwrap(), 7) {
            SocketAddr::V6(six) => (six.port(), six.scope_id()),
            SocketAddr::V4(four) => (four.port(), 0),
        };
        assert_eq!(scope("fe80::1"), (53, 7));
        assert_eq!([scope("2001:db8::1"), scope("192.0.2.1")], [(53, 0); 2]);
    }

    #[test]
    fn hosts_are_called_as_the_file_has_it() {
        let of = |number, host| {
            let six = format!("fd00:0:0:{number:x}::{host}").parse().unwrap();
            (std::net::Ipv4Addr::new(10, 20, number, host), six)
        };
        let link = |number: u8, leads_to: fn(PlannedSegment) -> LeadsTo, board| Link {
            index: number.into(),
            name: format!("eth{number}").try_into().unwrap(),
            mac: octet_appliance::Mac::new([2, 0, 0, 0, 0, number]).unwrap(),
            carrier: true,
            downs: 0,
            leads_to: leads_to(PlannedSegment { number, router: of(number, 1), board, mac: None }),
        };
        let links = vec![link(3, LeadsTo::Board, Some(of(3, 2))), link(250, LeadsTo::Lan, None)];
        let links = Links { is_board: false, links };
        let hosts = host_names(&links);
        assert_eq!(hosts["board-3"], addresses(of(3, 2)));
        assert_eq!(hosts["router"], addresses(of(250, 1)));
        let origins: [(&str, &[&str]); 4] = [
            ("web", &["board-3"]),
            ("own", &["router"]),
            ("far", &["board-4"]),
            ("two", &["board-4", "board-3", "router"]),
        ];
        let owned = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
        let origins = origins.map(|(name, hosts)| (name.to_owned(), owned(hosts))).into();
        let named = aliases(&links, &origins);
        assert_eq!(named["web"], addresses(of(3, 2)));
        assert_eq!((named["own"].clone(), named.len()), (addresses(of(250, 1)), 3));
        assert_eq!(named["two"], [addresses(of(3, 2)), addresses(of(250, 1))].concat());
        let by_vpn = box_networks(&links, true);
        let way = |inside: &BoxNetworks, text: &str| inside.upstream_path(text.parse().unwrap());
        let inside = box_networks(&links, false);
        for (address, off, on) in [
            ("10.20.3.2", Some(UpstreamPath::Own), Some(UpstreamPath::Own)),
            ("127.0.0.1", Some(UpstreamPath::Own), Some(UpstreamPath::Own)),
            ("10.20.250.7", Some(UpstreamPath::Own), Some(UpstreamPath::Exit)),
            ("::ffff:10.20.250.7", Some(UpstreamPath::Own), Some(UpstreamPath::Exit)),
            ("fd00:0:0:fa::77", Some(UpstreamPath::Own), Some(UpstreamPath::Exit)),
            ("fc15:3721::1", Some(UpstreamPath::Guest), Some(UpstreamPath::Guest)),
            ("192.0.2.1", None, None),
        ] {
            assert_eq!((way(&inside, address), way(&by_vpn, address)), (off, on), "{address}");
        }
        let of_board = box_networks(&Links { is_board: true, ..links.clone() }, false);
        assert_eq!(way(&of_board, "fc15:3721::1"), None);
        let may = |text: &str| inside.networks.iter().any(|it| it.contains(text.parse().unwrap()));
        assert!(
            may("10.20.3.2") && may("fd00:0:0:fa::77") && !may("10.20.4.2") && !may("192.0.2.1")
        );
        assert_eq!(inside.own_addresses.len(), 4);
    }

    #[test]
    fn a_router_knows_what_is_around_the_box() {
        let addresses = ["192.168.1.7/24", "fd00:7::9/64"];
        let addresses = addresses.map(|it| it.to_owned().try_into().unwrap()).to_vec();
        let out = Link {
            index: 1,
            name: "eth0".to_owned().try_into().unwrap(),
            mac: octet_appliance::Mac::new([2, 0, 0, 0, 0, 1]).unwrap(),
            carrier: true,
            downs: 0,
            leads_to: LeadsTo::Out { asks: true, addresses, gateways: vec![] },
        };
        let kept = |is_board, silent, address: &str| {
            let links = Links { is_board, links: vec![out.clone()] };
            let inside = BoxNetworks {
                uplink_networks: uplink_networks(&links, silent),
                ..BoxNetworks::default()
            };
            inside.is_private(address.parse().unwrap())
        };
        for (address, by_router, by_board, behind_another) in [
            ("192.168.1.80", false, false, true),
            ("fd00:7::80", false, false, true),
            ("192.168.2.80", true, false, true),
            ("fc15:3721::1", true, true, true),
            ("192.0.2.80", false, false, false),
        ] {
            assert_eq!(kept(false, false, address), by_router, "{address}");
            assert_eq!(kept(true, false, address), by_board, "{address}");
            assert_eq!(kept(true, true, address), behind_another, "{address}");
        }
    }
}
