//! The verbs of netd's control socket.

pub(crate) mod explain;
mod probing;
mod reported;
pub(crate) mod show;

use std::cell::RefCell;
use std::sync::Arc;

use octet_appliance::{InvalidPolicy, Zone};
use octet_node::control::file::FileArg;
use octet_node::control::{ColumnKind, Failure, FailureCode, Permission, Verb};
use octet_node::links::{
    ADVERTISED, LEASED, LINKS, LinkLease, Links, PLUGGED, RouterAdvertised, TRAFFIC,
};
use octet_node::serve::tasks::{Call, ConnectionLimits, Verbs};
use octet_node::serve::verbs::{file, flag, nothing, option, text};
use octet_node::settings::Which;
use octet_router::matrix::{CAME, PROBE, WATCH};
use octet_router::openwrt::change::UciChange;
use octet_router::openwrt::router::OpenwrtRouter;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::sync::{Mutex, Semaphore, oneshot, watch};
use tokio::task::{AbortHandle, spawn_blocking};

use crate::backend::Backend;
use crate::config::{NetworkConfig, NodeFacts};
use crate::generation::Author;
use crate::lease;
use crate::network::PlugError;
use crate::port_bindings::PortBindings;
use crate::router::kind::{FlowKind, InvalidKind};
use crate::router::plan::RouterPlan;

/// Maximum number of connections; further ones are refused.
pub const LIMITS: ConnectionLimits = ConnectionLimits { all: 32, for_operators: 12, of_one: 6 };

/// The state that the verbs share.
#[derive(Debug)]
pub struct ServeState<B> {
    backend: B,
    /// One nft lists rules at a time, because it reads the whole ruleset into memory.
    listing: Semaphore,
    /// The configuration that the kernel has; queries never wait for one that is being applied.
    applied: RefCell<Arc<NetworkConfig>>,
    /// What netd knows in addition to the kernel's state.
    noted: RefCell<Noted>,
    /// Serialises probes for operators.
    probing: Mutex<()>,
    /// Aborts the task that ends the recording of received packets.
    watching: Mutex<Option<AbortHandle>>,
    /// The link states that units subscribe to.
    links: watch::Sender<Links>,
    node: Arc<NodeFacts>,
    /// Sends commands to the daemon's loop.
    commands: Sender<NetdCommand>,
}

/// What netd knows in addition to the kernel's state.
#[derive(Debug, Clone, Default)]
struct Noted {
    /// The last DHCP lease.
    dhcp: Option<Value>,
    plugged: PortBindings,
    /// How often another process has changed the ruleset, and which one did so last.
    alarms: u64,
    alarm: Option<Author>,
}

/// A command to the daemon's loop, with a channel for its result.
#[derive(Debug)]
pub enum NetdCommand {
    /// Apply the configuration in force, which has changed.
    ApplyConfig {
        config: Box<NetworkConfig>,
        /// Receives the error if the configuration is rejected.
        done: oneshot::Sender<Result<(), String>>,
    },
    /// The unit `lan` has a new DHCP lease, or none any more.
    SetLease {
        link: String,
        lease: Option<LinkLease>,
        /// Receives the error if the lease is invalid.
        done: oneshot::Sender<Result<(), lease::InvalidLease>>,
    },
    /// The unit `lan` has received a router advertisement, or the last one has expired.
    SetAdvertisement {
        link: String,
        advert: Option<RouterAdvertised>,
        /// Receives the error if the advertisement is invalid.
        done: oneshot::Sender<Result<(), lease::InvalidLease>>,
    },
    /// A node has requested an address at a port.
    BindPort {
        device: String,
        mac: String,
        /// Receives the error if the report is rejected.
        done: oneshot::Sender<Result<(), PlugError>>,
    },
}

impl<B> ServeState<B> {
    /// Creates the state: queries read from `backend`, commands are sent to `commands`.
    pub fn new(
        backend: B,
        node: Arc<NodeFacts>,
        config: Arc<NetworkConfig>,
        commands: Sender<NetdCommand>,
    ) -> Self {
        let (noted, probing, watching, links) = Default::default();
        let (listing, applied) = (Semaphore::new(1), RefCell::new(config));
        Self { backend, listing, applied, noted, probing, watching, links, node, commands }
    }

    /// The configuration that the kernel has.
    pub fn applied(&self) -> Arc<NetworkConfig> {
        Arc::clone(&self.applied.borrow())
    }

    /// Records that the kernel has `config` now.
    pub fn set_applied(&self, config: Arc<NetworkConfig>) {
        *self.applied.borrow_mut() = config;
    }

    /// Records the DHCP lease, the port bindings and the link states for later queries.
    pub fn note(&self, dhcp: Option<Value>, plugged: &PortBindings, links: Links) {
        self.links.send_if_modified(|known| {
            let differ = *known != links;
            *known = links;
            differ
        });
        let mut noted = self.noted.borrow_mut();
        noted.dhcp = dhcp;
        if noted.plugged != *plugged {
            noted.plugged = plugged.clone();
        }
    }

    /// Records that another process has changed the ruleset.
    pub fn alarm(&self, author: &Author) {
        let mut noted = self.noted.borrow_mut();
        noted.alarms += 1;
        noted.alarm = Some(author.clone());
    }
}

/// All verbs of netd.
pub fn verbs<B: Backend + Clone + 'static>() -> Verbs<ServeState<B>> {
    use Permission::{Operate, Own, Read};

    let link = || text("link", "The link, for example eth0");
    Verbs::default()
        .with(
            Verb::new(
                "show",
                Read,
                "Shows ports, links, addresses, routes, and the nftables rules with counters",
            )
            .columns(ColumnKind::Lines, &["box", "rules"]),
            flag("links", "Only links, addresses and routes (does not run nft)"),
            async |shared, _, links| show::show(shared, links).await,
        )
        .with(
            Verb::new("plan", Read, "Lists the segments and allow rules that appliance.toml results in")
                .columns(ColumnKind::Lines, &["plan"]),
            nothing(),
            async |shared, _, ()| Ok(json!({ "plan": plan(&shared.applied())?.report() })),
        )
        .with(
            Verb::new(
                "explain",
                Read,
                "Shows whether a flow is allowed and by which rule (`logs kernel` shows dropped packets)",
            )
            .columns(ColumnKind::Lines, &["policy"]),
            text("from", "The zone that opens the connection: board-3, lan, uplink, router or path")
                .parse(zone)
                .and(text("to", "The zone that it goes to").parse(zone))
                .and(
                    text("what", "tcp/PORT, udp/PORT, icmp, mpls-in-ip or proto/NUMBER")
                        .parse(|what| kind(&what)),
                ),
            async |shared, _, ((from, to), kind)| explain::explain(shared, from, to, kind),
        )
        .with(
            Verb::new("openwrt", Read, "Compares an OpenWrt router's exported configuration with the plan")
                .columns(ColumnKind::Lines, &["report", "commands"]),
            file("router", "A file with its `uci export` and /etc/board.json")
                .and(flag("commands", "Print only the commands for `uci batch`")),
            openwrt,
        )
        .with(
            Verb::new(WATCH, Operate, "Records the flows that reach this board, for five minutes"),
            nothing(),
            async |shared, _, ()| probing::watch(shared).await,
        )
        .with(
            Verb::new(
                CAME,
                Read,
                "Shows the flows that have reached this board since `watch`, by sender",
            ),
            nothing(),
            async |shared, _, ()| probing::received(shared).await,
        )
        .with(
            Verb::new(PROBE, Operate, "Sends one packet of each kind to another board or the router")
                .columns(ColumnKind::Lines, &["notes"]),
            text("to", "board-N or router")
                .parse(zone)
                .and(text("what", "Kinds of flows, for example tcp/80,udp/53,icmp").parse(probing::kinds))
                .and(
                    option("mac", "Also bypass the router: to this Ethernet address and to broadcast")
                        .parse(probing::mac),
                ),
            async |shared, _, ((to, kinds), mac)| probing::probe(shared, to, &kinds, mac).await,
        )
        .with(
            Verb::new(LINKS, Read, "Streams the state of the links").internal(),
            nothing(),
            async |shared, call, ()| Ok(stream_links(shared, call).await),
        )
        .with(
            Verb::new(TRAFFIC, Read, "Shows the traffic counters and the state of each link")
                .columns(ColumnKind::Bytes, &["received_bytes", "sent_bytes"]),
            nothing(),
            async |shared, _, ()| show::traffic(shared).await,
        )
        .with(
            Verb::new(LEASED, Own, "Reports a DHCP lease").internal(),
            link().and(
                option("lease", "The lease as JSON; without it the lease has ended")
                    .parse(reported::read("lease")),
            ),
            async |shared, _, (link, lease)| reported::leased(shared, link, lease).await,
        )
        .with(
            Verb::new(ADVERTISED, Own, "Reports a router advertisement").internal(),
            link().and(
                option("advert", "The advertisement as JSON; without it the router is gone")
                    .parse(reported::read("advert")),
            ),
            async |shared, _, (link, advert)| reported::advertised(shared, link, advert).await,
        )
        .with(
            Verb::new(PLUGGED, Own, "Binds a port to the first Ethernet address that asked for a lease there").internal(),
            text("port", "The port's device, for example eth3").and(text("mac", "The Ethernet address")),
            async |shared, _, (device, mac)| reported::plugged(shared, device, mac).await,
        )
        .with_settings(check, apply)
}

fn zone(name: String) -> Result<Zone, Failure> {
    name.parse().map_err(|error: InvalidPolicy| {
        Failure::new(FailureCode::BadArgument, error.to_string(), "name one zone")
    })
}

fn kind(what: &str) -> Result<FlowKind, Failure> {
    what.parse().map_err(|error: InvalidKind| {
        Failure::new(FailureCode::BadArgument, error.to_string(), error.help())
    })
}

/// Maximum size of an export of a router's configuration, in bytes.
const MAX_EXPORT: u64 = 4 << 20;

async fn openwrt<B>(
    shared: &ServeState<B>,
    call: &mut Call<'_>,
    (_, commands): (FileArg, bool),
) -> Result<Value, Failure> {
    let config = shared.applied();
    let plan = plan(&config)?;
    let bytes = call.peer.read_file(call.id, MAX_EXPORT).await?;
    let router = OpenwrtRouter::read(&String::from_utf8_lossy(&bytes), plan)
        .map_err(|error| Failure::new(FailureCode::BadArgument, error.to_string(), error.help()))?;
    let change = UciChange::of(plan, &router);
    if !commands {
        return Ok(json!({ "report": change.report(&router) }));
    }
    if let Some(first) = change.conflicts.first() {
        let message = format!("the router cannot be changed as it is: {first}");
        let help = "without `--commands` all that stands in the way is listed";
        return Err(Failure::new(FailureCode::Failed, message, help));
    }
    Ok(json!({ "commands": change.commands }))
}

/// Streams link states until the client disconnects.
async fn stream_links<B>(shared: &ServeState<B>, call: &mut Call<'_>) -> Value {
    let mut links = shared.links.subscribe();
    loop {
        let state = json!(*links.borrow_and_update());
        if call.peer.item(call.id, state).await.is_err() {
            return Value::Null;
        }
        tokio::select! {
            // The shared state outlives this call.
            _ = links.changed() => {}
            () = call.peer.gone() => return Value::Null,
        }
    }
}

/// The plan of a router, or of the router with OpenWrt of a board's box.
fn plan(config: &NetworkConfig) -> Result<&RouterPlan, Failure> {
    config.plan().ok_or_else(|| {
        let message = "this node is no router of a box";
        Failure::new(FailureCode::NotFound, message, "ask the router")
    })
}

/// Validates the proposed configuration; rejects one that names a missing link.
async fn check<B: Backend>(shared: &ServeState<B>) -> Result<(), Failure> {
    let next = read(shared, Which::Next).await?;
    let observed = shared.backend.observe().await.map_err(|error| failed(error.to_string()))?;
    let planned = next.router.iter().flat_map(RouterPlan::devices);
    let mut wanted = planned.chain(&next.network.link);
    if let Some(wanted) = wanted.find(|it| observed.uplink(Some(it.as_str())).is_none()) {
        let links = observed.links.iter().filter(|link| link.mac().is_some());
        let links: Vec<&str> = links.map(|link| link.name.as_str()).collect();
        let message = format!("there is no link `{}`", wanted.as_str());
        let help = format!("the links are: {}", links.join(", "));
        return Err(Failure::new(FailureCode::BadArgument, message, help));
    }
    Ok(())
}

/// Applies the configuration in force.
async fn apply<B>(shared: &ServeState<B>) -> Result<(), Failure> {
    let config = Box::new(read(shared, Which::InForce).await?);
    let (done, is_done) = oneshot::channel();
    let gone = |_| failed("netd is about to end".to_owned());
    shared.commands.send(NetdCommand::ApplyConfig { config, done }).await.map_err(|_| gone(()))?;
    is_done.await.map_err(|_| gone(()))?.map_err(failed)
}

/// Reads the configuration from `config`, which may take a while.
async fn read<B>(shared: &ServeState<B>, which: Which) -> Result<NetworkConfig, Failure> {
    let node = Arc::clone(&shared.node);
    let read = spawn_blocking(move || NetworkConfig::read(&node, which));
    read.await.map_err(|error| failed(error.to_string()))?
}

fn failed(error: String) -> Failure {
    Failure::new(FailureCode::Failed, error, "ask again; see the log")
}
