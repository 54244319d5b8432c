//! What netd can be asked, on its socket.

mod explain;
mod probing;
mod reported;
mod show;

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
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::{AbortHandle, spawn_blocking};

use crate::backend::Backend;
use crate::generation::Author;
use crate::lease;
use crate::network::PlugError;
use crate::plugged::PortBindings;
use crate::router::kind::{FlowKind, InvalidKind};
use crate::router::plan::RouterPlan;
use crate::told::{self, NetworkConfig, NodeFacts};

/// How many may be connected at once; a further one is turned away.
pub const LIMITS: ConnectionLimits = ConnectionLimits { all: 32, for_operators: 12, of_one: 6 };

/// What answers are made of.
#[derive(Debug)]
pub struct ServeState<B> {
    backend: B,
    /// Held while rules are listed: one at a time.
    listing: Mutex<()>,
    /// What is known beside what the kernel says.
    noted: Mutex<Noted>,
    /// Held while packets are sent for an operator: one at a time.
    probing: Mutex<()>,
    /// What ends it that what comes in is noted.
    watching: Mutex<Option<AbortHandle>>,
    /// The links, as units are told of them.
    links: watch::Sender<Links>,
    node: Arc<NodeFacts>,
    /// To whom goes what is to be done.
    wishes: Sender<NetdCommand>,
}

/// What is known beside what the kernel says.
#[derive(Debug, Default)]
struct Noted {
    /// What a DHCP server has given.
    dhcp: Option<Value>,
    plugged: PortBindings,
    /// How often somebody else has changed the rules, and who did so last.
    alarms: u64,
    alarm: Option<Author>,
}

/// What is to be done, and who waits until it is.
#[derive(Debug)]
pub enum NetdCommand {
    /// Something else is in force now.
    Told {
        told: Box<NetworkConfig>,
        /// Takes why it cannot be lived with.
        done: oneshot::Sender<Result<(), String>>,
    },
    /// A server has given an address, or there is none any more.
    Leased {
        link: String,
        lease: Option<LinkLease>,
        /// Takes why it cannot be.
        done: oneshot::Sender<Result<(), lease::InvalidLease>>,
    },
    /// A router has advertised something, or there is none any more.
    Advertised {
        link: String,
        advert: Option<RouterAdvertised>,
        /// Takes why it cannot be.
        done: oneshot::Sender<Result<(), lease::InvalidLease>>,
    },
    /// Somebody has asked for an address.
    Plugged {
        device: String,
        mac: String,
        /// Takes why it cannot be.
        done: oneshot::Sender<Result<(), PlugError>>,
    },
}

impl<B> ServeState<B> {
    /// Answers from what `backend` says at the time. What is to be done goes to `wishes`.
    pub fn new(backend: B, node: Arc<NodeFacts>, wishes: Sender<NetdCommand>) -> Self {
        let (listing, noted, probing, watching, links) = Default::default();
        Self { backend, listing, noted, probing, watching, links, node, wishes }
    }

    /// Notes what a DHCP server has given, who is plugged in, and how the links are.
    pub async fn note(&self, dhcp: Option<Value>, plugged: &PortBindings, links: Links) {
        self.links.send_if_modified(|known| {
            let differ = *known != links;
            *known = links;
            differ
        });
        let mut noted = self.noted.lock().await;
        noted.dhcp = dhcp;
        if noted.plugged != *plugged {
            noted.plugged = plugged.clone();
        }
    }

    /// Notes that somebody else has changed the rules.
    pub async fn alarm(&self, author: &Author) {
        let mut noted = self.noted.lock().await;
        noted.alarms += 1;
        noted.alarm = Some(author.clone());
    }
}

/// Everything netd can be asked.
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
            .shown(ColumnKind::Lines, &["box", "rules"]),
            flag("links", "Only links, addresses and routes (does not run nft)"),
            async |shared, _, links| show::show(shared, links).await,
        )
        .with(
            Verb::new("plan", Read, "Lists the segments and allow rules that appliance.toml results in")
                .shown(ColumnKind::Lines, &["plan"]),
            nothing(),
            async |shared, _, ()| Ok(json!({ "plan": plan(shared).await?.lines_of_text() })),
        )
        .with(
            Verb::new(
                "explain",
                Read,
                "Shows whether a flow is allowed and by which rule (`logs kernel` shows dropped packets)",
            )
            .shown(ColumnKind::Lines, &["policy"]),
            text("from", "The zone that opens the connection: board-3, lan, uplink, router or path")
                .parse(zone)
                .and(text("to", "The zone that it goes to").parse(zone))
                .and(
                    text("what", "tcp/PORT, udp/PORT, icmp, mpls-in-ip or proto/NUMBER")
                        .parse(|what| kind(&what)),
                ),
            async |shared, _, ((from, to), kind)| explain::explain(shared, from, to, kind).await,
        )
        .with(
            Verb::new("openwrt", Read, "Compares an OpenWrt router's exported configuration with the plan")
                .shown(ColumnKind::Lines, &["report", "commands"]),
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
            async |shared, _, ()| probing::came(shared).await,
        )
        .with(
            Verb::new(PROBE, Operate, "Sends one packet of each kind to another board or the router")
                .shown(ColumnKind::Lines, &["notes"]),
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
            async |shared, call, ()| Ok(tell_links(shared, call).await),
        )
        .with(
            Verb::new(TRAFFIC, Read, "Shows the traffic counters and the state of each link")
                .shown(ColumnKind::Bytes, &["received_bytes", "sent_bytes"]),
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

/// Bytes that a router may say of itself.
const MAX_EXPORT: u64 = 4 << 20;

async fn openwrt<B>(
    shared: &ServeState<B>,
    call: &mut Call<'_>,
    (_, commands): (FileArg, bool),
) -> Result<Value, Failure> {
    let plan = plan(shared).await?;
    let bytes = call.peer.read_file(call.id, MAX_EXPORT).await?;
    let router = OpenwrtRouter::read(&String::from_utf8_lossy(&bytes), &plan)
        .map_err(|error| Failure::new(FailureCode::BadArgument, error.to_string(), error.help()))?;
    let change = UciChange::of(&plan, &router);
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

/// Tells of the links until whoever has asked goes.
async fn tell_links<B>(shared: &ServeState<B>, call: &mut Call<'_>) -> Value {
    let mut links = shared.links.subscribe();
    loop {
        let told = json!(*links.borrow_and_update());
        if call.peer.item(call.id, told).await.is_err() {
            return Value::Null;
        }
        tokio::select! {
            // What is shared lasts longer than this.
            _ = links.changed() => {}
            () = call.peer.gone() => return Value::Null,
        }
    }
}

/// The plan of what is in force, if this is a router or can say what one of another kind is to do.
async fn plan<B>(shared: &ServeState<B>) -> Result<RouterPlan, Failure> {
    let node = Arc::clone(&shared.node);
    let read = spawn_blocking(move || told::plan(&node, Which::InForce));
    read.await.map_err(|error| failed(error.to_string()))??.ok_or_else(|| {
        let message = "this node is no router of a box";
        Failure::new(FailureCode::NotFound, message, "ask the router")
    })
}

/// Accepts what is to come, unless it names a link that is not there.
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

/// Has the network be as the settings in force say.
async fn apply<B>(shared: &ServeState<B>) -> Result<(), Failure> {
    let told = read(shared, Which::InForce).await?;
    let (done, is_done) = oneshot::channel();
    let gone = |_| failed("netd is about to end".to_owned());
    shared
        .wishes
        .send(NetdCommand::Told { told: Box::new(told), done })
        .await
        .map_err(|_| gone(()))?;
    is_done.await.map_err(|_| gone(()))?.map_err(failed)
}

/// Asks `config`, which may take a while.
async fn read<B>(shared: &ServeState<B>, which: Which) -> Result<NetworkConfig, Failure> {
    let node = Arc::clone(&shared.node);
    let read = spawn_blocking(move || NetworkConfig::read(&node, which));
    read.await.map_err(|error| failed(error.to_string()))?
}

fn failed(error: String) -> Failure {
    Failure::new(FailureCode::Failed, error, "ask again; see the log")
}
