//! The event loop: link changes, packets, timers, and control requests.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use octet_appliance::{ApplianceSection, Cluster, NetworkSettings};
use octet_node::say;
use octet_node::{Callers, notify_ready, unit_of};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::channel;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use crate::dhcp_service::{DhcpService, LARGEST, Sockets};
use crate::dns::Dns;
use crate::dns::prefix::IpPrefix;
use crate::dns_service::DnsService;
use crate::icmp::Icmp;
use crate::name_registration::NameRegistry;
use crate::netd::Netd;
use crate::ntp_service::NtpService;
use crate::ra_service::{self, RaService};
use crate::reachability::ReachabilityMonitor;
use crate::serve::{self, CommandSenders};

/// The configuration of the daemon.
pub struct DaemonConfig {
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    pub config: LanConfig,
    pub dhcp: UdpSocket,
    pub dhcp_client: UdpSocket,
    /// The socket for router advertisements and solicitations.
    pub ra: OwnedFd,
    /// The socket for echo requests to gateways.
    pub icmp: OwnedFd,
    pub dns: (UdpSocket, TcpListener),
    pub time: UdpSocket,
    pub control: UnixListener,
    pub callers: Callers,
}

/// The relevant part of `appliance.toml`.
#[derive(Debug, Clone)]
pub struct LanConfig {
    /// The box's name.
    pub identity: ApplianceSection,
    /// The addresses, and the configured servers.
    pub network: NetworkSettings,
    /// The box, if its router runs OpenWrt, which assigns no board numbers.
    pub openwrt_cluster: Option<Cluster>,
    /// The networks of the box, if it is one.
    pub box_networks: Vec<IpPrefix>,
    /// The addresses of the exit node, if the owner's devices use one. If the list is empty,
    /// external names are not resolved for them.
    pub exit_addresses: Option<Vec<IpAddr>>,
    /// The names of web origins, with the hosts that are their fronts.
    pub origins: BTreeMap<String, Vec<String>>,
}

/// The displayed state, shared with the verbs.
pub type SharedStatus = Arc<Mutex<Value>>;

pub fn run(parts: DaemonConfig) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()?;
    LocalSet::new().block_on(&runtime, serve(parts))
}

async fn serve(parts: DaemonConfig) -> io::Result<()> {
    let mut end = signal(SignalKind::terminate())?;
    let netd = Netd::new(&parts.sockets);
    let sockets = Sockets::new(parts.dhcp, parts.dhcp_client)?;
    let icmp = Icmp::new(parts.ra)?;
    let mut reachability = ReachabilityMonitor::new(parts.icmp)?;
    let mut links = netd.follow()?;
    let mut ra = RaService::new(netd.clone());
    let mut config = parts.config;
    let mut dhcp = DhcpService::new(netd, domain(&config.identity), config.openwrt_cluster.clone());
    let mut ntp = NtpService::new(&parts.sockets);
    ntp.serve(parts.time)?;
    let (udp, tcp) = parts.dns;
    let mut dns = DnsService::new(udp, tcp);
    let status = SharedStatus::default();
    let (control, callers) = (parts.control, parts.callers);
    let served = Arc::clone(&status);
    let (sender, mut configs) = channel(1);
    let (names, mut registered) = channel(1);
    let mut name_registry = NameRegistry::default();
    let mut applied: Option<oneshot::Sender<()>> = None;
    let commands = CommandSenders { config: sender, names };
    thread::spawn(move || serve::serve(&control, &callers, unit_of, &served, commands));
    if let Err(error) = notify_ready() {
        say!("cannot notify PID 1: {error}");
    }
    let (mut request, mut answer) = ([0; LARGEST], [0; LARGEST]);
    let mut message = [0; ra_service::LARGEST];
    loop {
        ra.set_board(dhcp.lease().and_then(|lease| lease.board)).await;
        ntp.set_servers(&time_servers(&config, &dhcp));
        reachability.apply(dhcp.links());
        let due = [dhcp.due(), ra.due(), ntp.due(), reachability.due()];
        let due = due.into_iter().flatten().min();
        let upstreams = name_servers(&config, &dhcp, &ra);
        dns.apply(dhcp.links(), dhcp.domain(), &upstreams, &config).map_err(io::Error::other)?;
        if let Some(done) = applied.take() {
            // The caller may have disconnected.
            let _ = done.send(());
        }
        let mut now = dhcp.show();
        now["domain"] = dhcp.domain().into();
        now["names"] = dns.show();
        now["services"] = json!(dns.dns().map(Dns::registered));
        now["time"] = ntp.show();
        now["neighbours"] = reachability.show();
        *status.lock().unwrap_or_else(PoisonError::into_inner) = now;
        tokio::select! {
            _ = end.recv() => return Ok(()),
            update = links.recv() => match update {
                Some(links) => {
                    ra.apply(links.clone()).await;
                    dhcp.apply(links).await;
                }
                None => return Err(io::Error::other("nobody follows netd any more")),
            },
            Some((now, done)) = configs.recv() => {
                (config, applied) = (now, Some(done));
                dhcp.set_domain(domain(&config.identity));
                dhcp.set_openwrt_cluster(config.openwrt_cluster.clone());
            }
            Some(asked) = registered.recv() => name_registry.handle(asked, dns.dns()),
            Some(answer) = ntp.answered() => ntp.receive(answer),
            received = sockets.server.receive(&mut request) => {
                let received = received?;
                dhcp.receive_server(&request[..received.length], received, &sockets).await;
            }
            received = sockets.client.receive(&mut answer) => {
                let received = received?;
                dhcp.receive_client(&answer[..received.length], received, &sockets).await;
            }
            received = icmp.receive(&mut message) => {
                let received = received?;
                reachability.receive_icmpv6(&message[..received.length], received);
                ra.receive(&message[..received.length], received).await;
            }
            received = reachability.receive() => received?,
            () = sleep_until(due.map_or_else(Instant::now, Instant::from_std)), if due.is_some() => {
                dhcp.tick(&sockets).await;
                ra.tick(&icmp).await;
                ntp.tick().await;
                reachability.tick(&icmp).await;
            }
        }
    }
}

/// This node's time servers: for a board its router, otherwise the configured ones, or those of the
/// uplink.
fn time_servers(config: &LanConfig, dhcp: &DhcpService) -> Vec<IpAddr> {
    let named = &config.network.ntp;
    if !named.is_empty() && !dhcp.links().is_board {
        return named.clone();
    }
    let leased = dhcp.lease().into_iter().flat_map(|lease| &lease.ntp_servers);
    leased.copied().map(IpAddr::V4).collect()
}

/// This node's DNS servers, in the same way.
fn name_servers(config: &LanConfig, dhcp: &DhcpService, ra: &RaService) -> Vec<IpAddr> {
    let named = &config.network.dns;
    if !named.is_empty() && !dhcp.links().is_board {
        return named.clone();
    }
    let leased = dhcp.lease().into_iter().flat_map(|lease| &lease.dns_servers);
    let leased = leased.copied().map(IpAddr::V4);
    leased.chain(ra.dns_servers().map(IpAddr::V6)).collect()
}

/// The domain of the box's names, which is reserved for private use (ICANN's resolution
/// 2024.07.29.06).
fn domain(identity: &ApplianceSection) -> String {
    format!("{}.internal", identity.name)
}
