//! The event loop: link changes, packets, timers, and control requests.

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

use crate::ra_service::{self, RaService};
use crate::dns::Dns;
use crate::dns::prefix::IpPrefix;
use crate::icmp::Icmp;
use crate::dhcp_service::{LARGEST, DhcpService, Sockets};
use crate::dns_service::DnsService;
use crate::netd::Netd;
use crate::reachability::ReachabilityMonitor;
use crate::name_registration::NameRegistry;
use crate::serve::{self, CommandSenders};
use crate::ntp_service::NtpService;

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
    let mut reaching = ReachabilityMonitor::new(parts.icmp)?;
    let mut links = netd.follow();
    let mut advertising = RaService::new(netd.clone());
    let mut told = parts.config;
    let mut leasing = DhcpService::new(netd, domain(&told.identity), told.openwrt_cluster.clone());
    let mut timing = NtpService::new(&parts.sockets);
    timing.serve(parts.time)?;
    let (udp, tcp) = parts.dns;
    let mut naming = DnsService::new(udp, tcp);
    let shown = SharedStatus::default();
    let (control, callers) = (parts.control, parts.callers);
    let served = Arc::clone(&shown);
    let (sender, mut changes) = channel(1);
    let (names, mut registered) = channel(1);
    let mut registering = NameRegistry::default();
    let mut applied: Option<oneshot::Sender<()>> = None;
    let to = CommandSenders { config: sender, names };
    thread::spawn(move || serve::serve(&control, &callers, unit_of, &served, to));
    if let Err(error) = notify_ready() {
        say!("cannot notify PID 1: {error}");
    }
    let (mut question, mut answer) = ([0; LARGEST], [0; LARGEST]);
    let mut message = [0; ra_service::LARGEST];
    loop {
        advertising.set_board(leasing.lease().and_then(|lease| lease.board)).await;
        timing.set_servers(&time_servers(&told, &leasing));
        reaching.apply(leasing.links());
        let due = [leasing.due(), advertising.due(), timing.due(), reaching.due()];
        let due = due.into_iter().flatten().min();
        let asked = name_servers(&told, &leasing, &advertising);
        naming
            .apply(leasing.links(), leasing.domain(), &asked, &told)
            .map_err(io::Error::other)?;
        if let Some(done) = applied.take() {
            // The caller may have disconnected.
            let _ = done.send(());
        }
        let mut now = leasing.show();
        now["domain"] = leasing.domain().into();
        now["names"] = naming.show();
        now["services"] = json!(naming.dns().map(Dns::registered));
        now["time"] = timing.show();
        now["neighbours"] = reaching.show();
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = now;
        tokio::select! {
            _ = end.recv() => return Ok(()),
            told = links.recv() => match told {
                Some(links) => {
                    advertising.apply(links.clone()).await;
                    leasing.apply(links).await;
                }
                None => return Err(io::Error::other("nobody follows netd any more")),
            },
            Some((now, done)) = changes.recv() => {
                (told, applied) = (now, Some(done));
                leasing.set_domain(domain(&told.identity));
                leasing.set_openwrt_cluster(told.openwrt_cluster.clone());
            }
            Some(asked) = registered.recv() => registering.handle(asked, naming.dns()),
            Some(answer) = timing.answered() => timing.receive(answer),
            came = sockets.server.receive(&mut question) => {
                let came = came?;
                leasing.receive_server(&question[..came.length], came, &sockets).await;
            }
            came = sockets.client.receive(&mut answer) => {
                let came = came?;
                leasing.receive_client(&answer[..came.length], came, &sockets).await;
            }
            came = icmp.receive(&mut message) => {
                let came = came?;
                reaching.receive_icmpv6(&message[..came.length], came);
                advertising.receive(&message[..came.length], came).await;
            }
            came = reaching.receive() => came?,
            () = sleep_until(due.map_or_else(Instant::now, Instant::from_std)), if due.is_some() => {
                leasing.tick(&sockets).await;
                advertising.tick(&icmp).await;
                timing.tick().await;
                reaching.tick(&icmp).await;
            }
        }
    }
}

/// This node's time servers: for a board its router, otherwise the configured ones, or those of the
/// uplink.
fn time_servers(config: &LanConfig, leasing: &DhcpService) -> Vec<IpAddr> {
    let named = &config.network.ntp;
    if !named.is_empty() && !leasing.links().is_board {
        return named.clone();
    }
    let leased = leasing.lease().into_iter().flat_map(|lease| &lease.ntp_servers);
    leased.copied().map(IpAddr::V4).collect()
}

/// This node's DNS servers, in the same way.
fn name_servers(config: &LanConfig, leasing: &DhcpService, advertising: &RaService) -> Vec<IpAddr> {
    let named = &config.network.dns;
    if !named.is_empty() && !leasing.links().is_board {
        return named.clone();
    }
    let leased = leasing.lease().into_iter().flat_map(|lease| &lease.dns_servers);
    let leased = leased.copied().map(IpAddr::V4);
    leased.chain(advertising.dns_servers().map(IpAddr::V6)).collect()
}

/// The domain of the box's names, which is reserved for private use (ICANN's resolution
/// 2024.07.29.06).
fn domain(identity: &ApplianceSection) -> String {
    format!("{}.internal", identity.name)
}
