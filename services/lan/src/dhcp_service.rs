//! DHCP on all links: the client on the uplink, and the servers on the segments.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use octet_appliance::{Cidr, Cluster, LinkName, Mac};
use octet_node::links::{LeadsTo, Link, Links, PlannedSegment};
use octet_node::say;
use serde_json::{Value, json};

use crate::board_number::board_number;
use crate::dhcp::client::{ClientOutput, DhcpClient};
use crate::dhcp::pool::Pool;
use crate::dhcp::request_limit::DhcpRateLimiter;
use crate::dhcp::server::{AddressSource, answer};
use crate::dhcp::{Destination, Lease, LeaseState, ServerMessage};
use crate::netd::Netd;
use crate::udp::{Udp, UdpMessage};

/// The ports of DHCP clients and servers.
const CLIENT: u16 = 68;
const SERVER: u16 = 67;

/// The maximum size of a message, in bytes, as advertised to servers.
pub const LARGEST: usize = 1472;

/// The sockets of the client and the server.
#[derive(Debug)]
pub struct Sockets {
    pub server: Udp,
    pub client: Udp,
}

impl Sockets {
    /// Wraps the sockets that PID 1 has passed.
    pub fn new(server: UdpSocket, client: UdpSocket) -> io::Result<Self> {
        Ok(Self { server: Udp::new(server)?, client: Udp::new(client)? })
    }
}

/// The state of the client and the servers.
#[derive(Debug)]
pub struct DhcpService {
    netd: Netd,
    start: Instant,
    /// The domain of the box's names.
    domain: String,
    /// The box, if its router runs OpenWrt, which assigns no board numbers.
    openwrt_cluster: Option<Cluster>,
    links: Links,
    uplink: Option<UplinkClient>,
    pool: Pool,
    /// The device at each board's port that netd has accepted, and the carrier losses until then.
    peer_macs: BTreeMap<LinkName, (Mac, u32)>,
    /// The last refused device at each port, so that it is logged once.
    refused: BTreeMap<LinkName, String>,
    rate_limiter: DhcpRateLimiter,
}

/// The client on the uplink.
#[derive(Debug)]
struct UplinkClient {
    link: Link,
    client: DhcpClient,
}

impl DhcpService {
    /// Creates the state without leases. The box's names are in `domain`; `openwrt_cluster` is the box if
    /// its router runs OpenWrt.
    pub fn new(netd: Netd, domain: String, openwrt_cluster: Option<Cluster>) -> Self {
        Self {
            netd,
            start: Instant::now(),
            domain,
            openwrt_cluster,
            links: Links::default(),
            uplink: None,
            pool: Pool::default(),
            peer_macs: BTreeMap::new(),
            refused: BTreeMap::new(),
            rate_limiter: DhcpRateLimiter::default(),
        }
    }

    /// The domain of the box's names.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Changes the domain of the box's names.
    pub fn set_domain(&mut self, domain: String) {
        self.domain = domain;
    }

    /// Changes `openwrt_cluster`, which applies from the next lease.
    pub fn set_openwrt_cluster(&mut self, openwrt_cluster: Option<Cluster>) {
        self.openwrt_cluster = openwrt_cluster;
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Handles a change of the links.
    pub async fn apply(&mut self, links: Links) {
        self.links = links;
        let Self { peer_macs: plugged, links, .. } = self;
        plugged.retain(|name, (_, downs)| {
            let there = |link: &Link| link.name == *name && link.carrier && link.downs == *downs;
            links.links.iter().any(there)
        });
        let now = self.now();
        let out = self.links.links.iter().find_map(|link| match &link.leads_to {
            LeadsTo::Out { asks: true, addresses, .. } => Some((link.clone(), addresses.clone())),
            _ => None,
        });
        let Some((link, addresses)) = out else {
            self.uplink = None;
            return;
        };
        let is_board = self.links.is_board;
        let mut gone = None;
        match &mut self.uplink {
            Some(asking) if (asking.link.index, asking.link.mac) == (link.index, link.mac) => {
                let other = asking.link.downs != link.downs;
                // A board's cable may be at another port now, where its address is not valid.
                if is_board && asking.link.carrier && (other || !link.carrier) {
                    gone = Some(asking.client.link_down(now));
                } else if link.carrier && (other || !asking.link.carrier) {
                    asking.client.link_up(now);
                }
                asking.link = link;
            }
            _ => {
                let has = addresses.iter().map(Cidr::address).find_map(|address| match address {
                    std::net::IpAddr::V4(address) => Some(address),
                    std::net::IpAddr::V6(_) => None,
                });
                let client = DhcpClient::new(link.mac, has, now);
                self.uplink = Some(UplinkClient { link, client });
            }
        }
        // A restarted netd does not know the lease.
        let lease = self.lease().cloned();
        match (gone, lease) {
            (Some(ClientOutput { lease_change: Some(_), .. }), _) => self.report(None).await,
            (_, Some(lease)) if !addresses.contains(&lease.address) => {
                self.report(Some(lease)).await;
            }
            _ => {}
        }
    }

    pub fn lease(&self) -> Option<&Lease> {
        self.uplink.as_ref()?.client.lease()
    }

    pub fn links(&self) -> &Links {
        &self.links
    }

    /// When the client's next action is due; `None` without a carrier.
    pub fn due(&self) -> Option<Instant> {
        let asking = self.uplink.as_ref().filter(|asking| asking.link.carrier)?;
        asking.client.due().map(|due| self.start + due)
    }

    pub async fn tick(&mut self, sockets: &Sockets) {
        let (now, random) = (self.now(), random());
        let outcome = self.uplink.as_mut().map(|asking| asking.client.tick(now, random));
        self.carry_out(outcome.unwrap_or_default(), sockets).await;
    }

    pub async fn receive_client(&mut self, bytes: &[u8], packet: UdpMessage, sockets: &Sockets) {
        let now = self.now();
        let Some(asking) = self.uplink.as_mut() else { return };
        if packet.link != asking.link.index || packet.from.port() != SERVER {
            return;
        }
        let Ok(mut answer) = ServerMessage::parse(bytes) else { return };
        if self.links.is_board {
            answer.board = board_number(&answer, self.openwrt_cluster.as_ref());
        }
        let outcome = asking.client.receive(now, answer);
        self.carry_out(outcome, sockets).await;
    }

    async fn carry_out(&mut self, outcome: ClientOutput, sockets: &Sockets) {
        if let Some(text) = outcome.log {
            say!("{text}");
        }
        if let (Some((message, to)), Some(asking)) = (outcome.send, &self.uplink) {
            let to = SocketAddrV4::new(address(to), SERVER);
            if let Err(error) = sockets.client.send(&message, to, asking.link.index).await {
                say!("DHCP on {}: {error}", asking.link.name);
            }
        }
        match outcome.lease_change {
            Some(LeaseState::Bound(lease)) => self.report(Some(lease)).await,
            Some(LeaseState::Unbound) => self.report(None).await,
            None => {}
        }
    }

    async fn report(&self, lease: Option<Lease>) {
        let Some(asking) = &self.uplink else { return };
        let lease = lease.map(|lease| lease.to_link_lease(self.now()));
        if let Err(error) = self.netd.set_lease(&asking.link.name, lease).await {
            say!("netd rejects the address: {error}");
        }
    }

    /// Handles a client's message.
    pub async fn receive_server(&mut self, bytes: &[u8], packet: UdpMessage, sockets: &Sockets) {
        let now = self.now();
        let Some(link) = self.links.links.iter().find(|link| link.index == packet.link) else {
            return;
        };
        let is_known = |mac| self.pool.is_known(mac);
        let Some(question) = self.rate_limiter.admit(bytes, packet.link, now, is_known) else {
            return;
        };
        let (name, downs, leads_to) = (link.name.clone(), link.downs, link.leads_to.clone());
        let from = *packet.from.ip();
        let answered = match &leads_to {
            LeadsTo::Out { .. } => return,
            LeadsTo::Board(segment) => {
                if !self.accept_peer_mac(&name, downs, segment, question.mac).await {
                    return;
                }
                answer(&question, from, &mut AddressSource::Board(segment), &self.domain, now)
            }
            LeadsTo::Lan(segment) => {
                let mut gives = AddressSource::Lan(segment, &mut self.pool);
                answer(&question, from, &mut gives, &self.domain, now)
            }
        };
        let Some((reply, to)) = answered else { return };
        let to = SocketAddrV4::new(address(to), CLIENT);
        if let Err(error) = sockets.server.send(&reply.bytes(&question), to, packet.link).await {
            say!("DHCP on {name}: {error}");
        }
    }

    /// Whether netd accepts `mac` as the device at the port, which has only one address.
    async fn accept_peer_mac(
        &mut self,
        name: &LinkName,
        downs: u32,
        segment: &PlannedSegment,
        mac: Mac,
    ) -> bool {
        if let Some(said) = segment.mac {
            return said == mac;
        }
        if self.peer_macs.get(name) == Some(&(mac, downs)) {
            return true;
        }
        match self.netd.set_peer_mac(name, mac).await {
            Ok(()) => {
                say!("{mac} is at {name}, which is board {}'s", segment.number);
                self.refused.remove(name);
                self.peer_macs.insert(name.clone(), (mac, downs));
                true
            }
            Err(error) => {
                let said = format!("{mac} gets no address at {name}: {error}");
                if self.refused.get(name) != Some(&said) {
                    say!("{said}");
                    self.refused.insert(name.clone(), said);
                }
                false
            }
        }
    }

    /// The state for display.
    pub fn show(&self) -> Value {
        let now = self.now();
        let lease = self.uplink.as_ref().map(|asking| {
            let lease = asking.client.lease();
            json!({
                "link": asking.link.name,
                "state": asking.client.state(),
                "address": lease.map(|lease| lease.address.to_string()),
                "server": lease.map(|lease| lease.server),
                "seconds": lease.and_then(|lease| lease.remaining_seconds(now)),
                "board": lease.and_then(|lease| lease.board),
            })
        });
        let devices = self.pool.all(now).map(|(mac, host)| json!({ "mac": mac, "host": host }));
        let ports =
            self.peer_macs.iter().map(|(link, (mac, _))| json!({ "port": link, "mac": mac }));
        json!({
            "uplink": lease,
            "boards": ports.collect::<Vec<_>>(),
            "lan": devices.collect::<Vec<_>>(),
            "declined": self.pool.declined(now).collect::<Vec<_>>(),
            "refused": self.refused.values().collect::<Vec<_>>(),
        })
    }
}

fn address(to: Destination) -> Ipv4Addr {
    match to {
        Destination::Broadcast => Ipv4Addr::BROADCAST,
        Destination::Unicast(address) => address,
    }
}

/// A random transaction ID, so that answers cannot be forged by guessing it.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // The kernel's random generator is ready before there are links. If it fails, the answer still
    // has to match the MAC address.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u32::from_be_bytes(bytes) ^ std::process::id()
}
