//! Sends probes from one board to another, or to its router, to test which packets arrive.
//!
//! Probes are sent only to addresses of the box and from the board's own addresses; those that
//! bypass the router stay on the board's own link.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket as StdUdpSocket};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use octet_appliance::{Cluster, Mac, TrafficKind};
use octet_router::kind::FlowKind;
use octet_router::matrix::{BoardEnd, ReceivedProbes, SentProbe};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

use crate::backend::{Backend, BackendError};
use crate::observed::{Observed, StaticNeighbour};

/// Maximum number of traffic kinds in one probe.
pub const MAX: usize = 256;

const TEXT: &[u8] = b"octet probe";

/// The groups whose processes may open a socket for echo requests
/// (Documentation/networking/ip-sysctl.rst); none by default.
const PINGERS: &str = "/proc/sys/net/ipv4/ping_group_range";

/// The port of probes that bypass the router: discard (RFC 863), where nothing listens.
const NOBODY: u16 = 9;

/// How long a connection attempt or an echo may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// An echo request without what the kernel fills in: the checksum, and the identifier of the socket
/// (RFC 792, RFC 4443).
const ECHO: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 1];
const ECHO6: [u8; 8] = [128, 0, 0, 0, 0, 0, 0, 1];

const REPLIES: [u8; 2] = [0, 129];

#[derive(Debug, Clone)]
pub struct OwnPort {
    /// The position of this board, as it is reported to others.
    pub seat: BoardEnd,
    link: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeTarget {
    Board(u8),
    /// The router, as this board's neighbour table has it.
    Router,
}

impl OwnPort {
    /// Finds the port of this node that has an address of a board of `cluster`.
    pub fn find(cluster: &Cluster, observed: &Observed) -> Option<Self> {
        let mut found = observed.addresses.iter();
        let (link, number) = found.find_map(|it| Some((it.link, cluster.board_at(it.address)?)))?;
        let port = observed.links.iter().find(|it| it.index == link)?;
        let own = observed.addresses.iter().filter(|it| it.link == link);
        let seat = BoardEnd {
            number,
            mac: Mac::new(port.mac()?)?,
            addresses: own.map(|it| it.address).collect(),
        };
        Some(Self { seat, link })
    }

    /// The node's addresses that the plan assigns to this board.
    fn sources(&self, cluster: &Cluster) -> Vec<IpAddr> {
        let (ip4, ip6) = cluster.addresses(self.seat.number);
        let own = [IpAddr::V4(ip4), IpAddr::V6(ip6)].into_iter();
        own.filter(|it| self.seat.addresses.contains(it)).collect()
    }

    /// Sends one packet of each of `kinds` to `to`, for each IP version with an address, and then
    /// echo requests to the router. A packet that cannot be sent counts as not received.
    pub async fn send(
        &self,
        cluster: &Cluster,
        to: ProbeTarget,
        kinds: &[FlowKind],
    ) -> io::Result<SentProbe> {
        let pings = Pings::open()?;
        let (ip4, ip6) = cluster.gateways(self.seat.number);
        let mut answers = ReceivedProbes::new();
        let mut echoed = true;
        for source in self.sources(cluster) {
            let of_version = |(v4, v6): (Ipv4Addr, Ipv6Addr)| -> IpAddr {
                if source.is_ipv4() { v4.into() } else { v6.into() }
            };
            let gateway = of_version((ip4, ip6));
            let target = match to {
                ProbeTarget::Board(number) => of_version(cluster.addresses(number)),
                ProbeTarget::Router => gateway,
            };
            let answered = RefCell::new(BTreeSet::new());
            let all = join_all(kinds.iter().map(async |kind| {
                if send(source, target, *kind, &pings).await {
                    answered.borrow_mut().insert(*kind);
                }
            }));
            // Once a later echo request is answered, the probes before it were forwarded or
            // answered. The second echo covers a router that processes packets in parallel.
            let last =
                async { pings.echo(source, gateway).await && pings.echo(source, gateway).await };
            echoed &= match select(pin!(all), pin!(last)).await {
                Either::Left((_, last)) => last.await,
                Either::Right((has_echoed, _)) => has_echoed,
            };
            answers.insert(target, answered.take());
        }
        Ok(SentProbe { answers, echoed })
    }

    /// Sends a packet that bypasses the router: to the all-nodes group on this board's link, and to
    /// `mac`.
    pub async fn send_past<B: Backend>(&self, backend: &B, mac: Mac) -> Result<(), BackendError> {
        let address = mac.link_local();
        let neighbour = StaticNeighbour { link: self.link, address, mac: mac.bytes() };
        backend.set_neighbour(&neighbour).await?;
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await?;
        // The board must not receive its own multicast packets.
        socket.set_multicast_loop_v6(false)?;
        let all: IpAddr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into();
        for to in [all, address] {
            let IpAddr::V6(to) = to else { continue };
            socket.send_to(TEXT, SocketAddrV6::new(to, NOBODY, 0, self.link)).await?;
        }
        Ok(())
    }
}

/// Sends one packet and returns whether it was answered; unknown for what is neither a connection
/// nor an echo request.
async fn send(source: IpAddr, target: IpAddr, kind: FlowKind, pings: &Pings) -> bool {
    let to = SocketAddr::new(target, kind.port);
    match kind.traffic {
        TrafficKind::Tcp => connect(source, to).await.is_ok(),
        TrafficKind::Udp => {
            // The router answers with an error if the board is not allowed to send, or the target
            // does not exist.
            if let Ok(socket) = UdpSocket::bind((source, 0)).await {
                let _ = socket.send_to(TEXT, to).await;
            }
            false
        }
        TrafficKind::Ping => pings.echo(source, target).await,
        TrafficKind::Number(_) => false,
    }
}

async fn connect(source: IpAddr, to: SocketAddr) -> io::Result<()> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind((source, 0).into())?;
    timeout(TIMEOUT, socket.connect(to)).await??;
    Ok(())
}

/// Permission to send echo requests. What was allowed to this process's group is revoked on drop.
struct Pings {
    before: String,
}

impl Pings {
    fn open() -> io::Result<Self> {
        let before = std::fs::read_to_string(PINGERS)?;
        let own = rustix::process::getegid().as_raw();
        std::fs::write(PINGERS, format!("{own} {own}"))?;
        Ok(Self { before })
    }

    /// Whether `target` answers an echo request.
    async fn echo(&self, source: IpAddr, target: IpAddr) -> bool {
        timeout(TIMEOUT, echo(source, target)).await.is_ok_and(|it| it.is_ok())
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        // Drop cannot report an error; the next probe sets the value again.
        let _ = std::fs::write(PINGERS, self.before.trim());
    }
}

async fn echo(source: IpAddr, target: IpAddr) -> io::Result<()> {
    let (family, protocol, request) = match target {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, ECHO),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, ECHO6),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(protocol))?;
    rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    // A connected socket receives ICMP errors about its own packets.
    rustix::net::connect(&socket, &SocketAddr::new(target, 0))?;
    // tokio has no type for ICMP sockets; its UdpSocket polls any datagram socket in the same way.
    let socket = UdpSocket::from_std(StdUdpSocket::from(socket))?;
    socket.send(&request).await?;
    let mut answer = [0; 64];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answer[..length].first().is_some_and(|kind| REPLIES.contains(kind)) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{LinkAddress, LinkCounters, LinkKind, NetworkDevice};
    use octet_appliance::Appliance;

    const BOX: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[cluster]\nboards = 4\n";

    fn observed(addresses: &[(u32, &str)]) -> Observed {
        let link = |(index, kind)| NetworkDevice {
            index,
            name: format!("eth{index}"),
            kind,
            up: true,
            carrier: true,
            carrier_downs: 0,
            traffic: LinkCounters::default(),
        };
        let port = LinkKind::Ethernet([2, 0, 0, 0, 0, 7]);
        let address = |(link, text): &(u32, &str)| LinkAddress {
            link: *link,
            address: text.parse().unwrap(),
            prefix: 24,
            seconds: None,
            is_sole: false,
        };
        Observed {
            links: [(1, LinkKind::Loopback), (2, port), (3, LinkKind::Other)].map(link).into(),
            addresses: addresses.iter().map(address).collect(),
            ..Observed::default()
        }
    }

    /// A node without an address of a board sends nothing, and probes use only the board's own
    /// address.
    #[test]
    fn a_board_is_known_by_the_address_of_its_port() {
        let appliance = Appliance::parse("a.toml", BOX).unwrap();
        let cluster = appliance.cluster_settings().unwrap().cluster;
        let find = |addresses: &[(u32, &str)]| OwnPort::find(&cluster, &observed(addresses));
        let own = find(&[(1, "127.0.0.1"), (2, "fe80::7"), (2, "10.20.3.2")]).unwrap();
        assert_eq!((own.seat.number, own.link), (3, 2));
        assert_eq!(own.seat.mac.bytes(), [2, 0, 0, 0, 0, 7]);
        assert_eq!(own.seat.addresses.len(), 2);
        let (ip4, ip6) = cluster.addresses(3);
        assert_eq!(own.sources(&cluster), [IpAddr::V4(ip4)]);
        let text = ip6.to_string();
        let own = find(&[(2, &text), (2, "10.20.3.2")]).unwrap();
        assert_eq!(own.sources(&cluster), [IpAddr::V4(ip4), ip6.into()]);
        // The router's address, an unassigned one, that of a missing board, and one on a device
        // made by a program.
        for (link, other) in
            [(2, "10.20.3.1"), (2, "192.0.2.7"), (2, "10.20.9.2"), (3, "10.20.3.2")]
        {
            assert!(find(&[(link, other)]).is_none(), "{other}");
        }
    }
}
