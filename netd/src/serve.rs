//! netd's socket: what it can be asked, and by whom.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use octet_appliance::{InvalidPolicy, Zone};
use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{
    ArgKind, Arguments, Capability, ColumnKind, Connection, DESCRIBE, Failure, FailureCode,
    Message, Reply, ReplyBody, Request, Verb,
};
use octet_node::settings::{self, Which};
use octet_node::{Callers, peer_uid};
use serde_json::{Value, json};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::Sender;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::generation::Author;
use crate::kernel::Kernel;
use crate::network::PlugError;
use crate::nft;
use crate::observed::{LinkKind, Observed};
use crate::plugged::Plugged;
use crate::router::counters;
use crate::router::explain::Answer;
use crate::router::plan::Plan;
use crate::router::report::asked;
use crate::told::{Node, Told};

/// What the unit `lan` reports with.
const PLUGGED: &str = "plugged";

/// How many may be connected at once; a further one is turned away.
const MOST_CLIENTS: usize = 16;

/// The pause when nobody can be let in.
const BREATH: Duration = Duration::from_millis(100);

/// What answers are made of.
#[derive(Debug)]
pub struct Shared {
    callers: Callers,
    kernel: Kernel,
    room: Arc<Semaphore>,
    /// Held while nft lists the rules: one at a time.
    listing: Mutex<()>,
    /// What is known beside what the kernel says.
    noted: Mutex<Noted>,
    node: Arc<Node>,
    /// To whom goes what is to be done.
    wishes: Sender<Wish>,
}

/// What is known beside what the kernel says.
#[derive(Debug, Default)]
struct Noted {
    /// What the DHCP client has last said of itself.
    dhcp: Option<Value>,
    /// Who is plugged in.
    plugged: Plugged,
    /// How often somebody else has changed the rules, and who did so last.
    alarms: u64,
    alarm: Option<Author>,
}

/// What is to be done, and who waits until it is.
#[derive(Debug)]
pub enum Wish {
    /// Something else is in force now.
    Told {
        /// What it says.
        told: Box<Told>,
        /// Takes why it cannot be lived with.
        done: oneshot::Sender<Result<(), String>>,
    },
    /// Somebody has asked for an address.
    Plugged {
        /// The router's device.
        device: String,
        /// His Ethernet address.
        mac: String,
        /// Takes why it cannot be.
        done: oneshot::Sender<Result<(), PlugError>>,
    },
}

impl Shared {
    /// Answers for `callers`, from what the kernel says at the time. What is to be done goes to `wishes`.
    pub fn new(callers: Callers, kernel: Kernel, node: Arc<Node>, wishes: Sender<Wish>) -> Self {
        let room = Arc::new(Semaphore::new(MOST_CLIENTS));
        let (listing, noted) = (Mutex::new(()), Mutex::default());
        Self { callers, kernel, room, listing, noted, node, wishes }
    }

    /// Notes how the DHCP client is doing, and who is plugged in.
    pub async fn note(&self, dhcp: Option<Value>, plugged: &Plugged) {
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

/// Everything netd can be asked; `describe` answers with this list.
pub fn verbs() -> Vec<Verb> {
    let own = vec![
        Verb::new(DESCRIBE, Capability::Read, "Lists these verbs"),
        Verb::new(
            "show",
            Capability::Read,
            "Shows the box, links, addresses, routes, and rules with counters",
        )
        .shown(ColumnKind::Lines, &["box", "rules"]),
    ];
    let own = own.into_iter().chain([
        Verb::new("plan", Capability::Read, "Lists what the file comes to on a router")
            .shown(ColumnKind::Lines, &["plan"]),
        Verb::new("explain", Capability::Read, "Says which line decides about one kind of flow")
            .required("from", ArgKind::Text, "Who begins it: board-3, lan, uplink, router or path")
            .required("to", ArgKind::Text, "With whom")
            .required("what", ArgKind::Text, "tcp/PORT, udp/PORT, icmp or a protocol's number"),
        Verb::new(PLUGGED, Capability::Own, "Takes who has first asked for an address at a port")
            .required("port", ArgKind::Text, "The router's device, as eth3")
            .required("mac", ArgKind::Text, "His Ethernet address"),
    ]);
    own.chain(settings::verbs()).collect()
}

/// Serves everyone who connects, each for itself.
pub async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // There are no descriptors: those who leave give theirs back.
            sleep(BREATH).await;
            continue;
        };
        let (Ok(uid), Ok(place)) =
            (peer_uid(&stream), Arc::clone(&shared.room).try_acquire_owned())
        else {
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // Who breaks the connection is not told about it.
            let _ = converse(&stream, uid, &shared).await;
            drop(place);
        });
    }
}

async fn converse(stream: &UnixStream, uid: u32, shared: &Shared) -> io::Result<()> {
    let mut connection = Connection::default();
    let mut buffer = [0; 4096];
    loop {
        while connection.has_pending() {
            stream.ready(Interest::WRITABLE).await?;
            match stream.try_write(connection.pending()) {
                Ok(0) => return Ok(()),
                Ok(count) => connection.sent(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if connection.finished() {
            return Ok(());
        }
        stream.ready(Interest::READABLE).await?;
        let count = match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        for message in connection.received(&buffer[..count], true) {
            // Pieces of files are for verbs that ask for them; there is none here.
            let Message::Request(request) = message else { continue };
            let id = request.id;
            let body = match answer(request, uid, shared).await {
                Ok(value) => ReplyBody::End(value),
                Err(failure) => ReplyBody::Error(failure),
            };
            if connection.reply(&Reply { id, body }).is_err() {
                return Ok(());
            }
        }
    }
}

async fn answer(request: Request, uid: u32, shared: &Shared) -> Result<Value, Failure> {
    shared.callers.check(uid, &request.verb)?;
    let verbs = verbs();
    let Some(verb) = verbs.iter().find(|verb| verb.name == request.verb) else {
        let message = format!("there is no verb `{}`", request.verb);
        return Err(Failure::new(FailureCode::NotFound, message, "`describe` lists all verbs"));
    };
    let args = verb.check(request.args)?;
    match verb.name.as_str() {
        "show" => show(shared).await,
        "plan" => Ok(json!({ "plan": plan(shared).await?.lines_of_text() })),
        "explain" => explain(shared, &args).await,
        PLUGGED => plugged(shared, &args).await,
        CHECK => check(shared).await,
        APPLY => apply(shared).await,
        _ => Ok(json!(verbs)), // describe: the list has no other
    }
}

/// The plan of what is in force, if this is a router.
async fn plan(shared: &Shared) -> Result<Plan, Failure> {
    read(shared, Which::InForce).await?.router.ok_or_else(|| {
        let message = "this node is no router of a box";
        Failure::new(FailureCode::NotFound, message, "ask the router")
    })
}

async fn explain(shared: &Shared, args: &Arguments) -> Result<Value, Failure> {
    let zone = |name| -> Result<Zone, Failure> {
        let zone = args.text(name).unwrap_or_default().parse();
        zone.map_err(|error: InvalidPolicy| {
            Failure::new(FailureCode::BadArgument, error.to_string(), "name one zone")
        })
    };
    let what = args.text("what").unwrap_or_default();
    let (traffic, port) = asked(what).ok_or_else(|| {
        let message = format!("`{what}` is no kind of flow");
        let help = "write tcp/PORT, udp/PORT, icmp or the number of a protocol";
        Failure::new(FailureCode::BadArgument, message, help)
    })?;
    let (from, to) = (zone("from")?, zone("to")?);
    Ok(match plan(shared).await?.explain(from, to, traffic, port) {
        Answer::Let { by, text } => {
            json!({ "answer": "let", "by": by.to_string(), "line": text })
        }
        Answer::Published { board, port } => {
            json!({ "answer": "published", "board": board, "port": port })
        }
        Answer::Denied => json!({ "answer": "denied", "line": "no line lets it" }),
    })
}

/// Accepts what is to come, unless it names a link that is not there.
async fn check(shared: &Shared) -> Result<Value, Failure> {
    let next = read(shared, Which::Next).await?;
    let observed = shared.kernel.observe().await.map_err(|error| failed(error.to_string()))?;
    let planned = next.router.iter().flat_map(Plan::devices);
    let mut wanted = planned.chain(&next.network.link);
    if let Some(wanted) = wanted.find(|it| observed.uplink(Some(it.as_str())).is_none()) {
        let links = observed.links.iter().filter(|link| link.mac().is_some());
        let links: Vec<&str> = links.map(|link| link.name.as_str()).collect();
        let message = format!("there is no link `{}`", wanted.as_str());
        let help = format!("the links are: {}", links.join(", "));
        return Err(Failure::new(FailureCode::BadArgument, message, help));
    }
    Ok(Value::Null)
}

/// Has the network be as the settings in force say.
async fn apply(shared: &Shared) -> Result<Value, Failure> {
    let told = read(shared, Which::InForce).await?;
    let (done, is_done) = oneshot::channel();
    let gone = |_| failed("netd is about to end".to_owned());
    shared.wishes.send(Wish::Told { told: Box::new(told), done }).await.map_err(|_| gone(()))?;
    is_done.await.map_err(|_| gone(()))?.map_err(failed)?;
    Ok(Value::Null)
}

/// Takes a report of the unit `lan`.
async fn plugged(shared: &Shared, args: &Arguments) -> Result<Value, Failure> {
    let text = |name| args.text(name).unwrap_or_default().to_owned();
    let (done, is_done) = oneshot::channel();
    let gone = |_| failed("netd is about to end".to_owned());
    let wish = Wish::Plugged { device: text("port"), mac: text("mac"), done };
    shared.wishes.send(wish).await.map_err(|_| gone(()))?;
    is_done.await.map_err(|_| gone(()))?.map_err(|error| match error {
        PlugError::Rules(error) => failed(error.to_string()),
        error => {
            let help = "report the first who asks at a port since its link came up";
            Failure::new(FailureCode::BadArgument, error.to_string(), help)
        }
    })?;
    Ok(Value::Null)
}

/// Asks `config`, which may take a while.
async fn read(shared: &Shared, which: Which) -> Result<Told, Failure> {
    let node = Arc::clone(&shared.node);
    let read = spawn_blocking(move || Told::read(&node, which));
    read.await.map_err(|error| failed(error.to_string()))?
}

fn failed(error: String) -> Failure {
    Failure::new(FailureCode::Failed, error, "ask again; see the log")
}

async fn show(shared: &Shared) -> Result<Value, Failure> {
    let observed = shared.kernel.observe().await.map_err(|error| failed(error.to_string()))?;
    let _one_at_a_time = shared.listing.lock().await;
    // Without rules there is still something to see.
    let rules =
        nft::run("list table inet octet_fw").await.unwrap_or_else(|error| error.to_string());
    let mut answer = report(&observed);
    answer["rules"] = rules.lines().collect();
    let noted = shared.noted.lock().await;
    answer["dhcp"] = json!(noted.dhcp);
    answer["alarms"] = json!({
        "count": noted.alarms,
        "last": noted.alarm.as_ref().map(|it| format!("{} (process {})", it.name, it.pid)),
    });
    if shared.node.is_router {
        let failed = |error: nft::NftError| failed(error.to_string());
        let drops = counters::drops().await.map_err(failed)?;
        answer["lines"] = json!(counters::lines().await.unwrap_or_default());
        answer["forwards"] = json!(observed.forwards);
        if let Ok(plan) = plan(shared).await {
            answer["box"] = json!(plan.drawn(&observed, &noted.plugged, &drops));
        }
        answer["drops"] = json!(drops);
    }
    Ok(answer)
}

/// Links with their addresses, and routes.
fn report(observed: &Observed) -> Value {
    let mut addresses: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for address in &observed.addresses {
        let text = format!("{}/{}", address.address, address.prefix);
        addresses.entry(address.link).or_default().push(text);
    }
    let links = observed.links.iter().map(|link| {
        let mac = match link.kind {
            LinkKind::Ethernet(mac) => json!(mac_text(mac)),
            LinkKind::Loopback | LinkKind::Other => Value::Null,
        };
        json!({
            "name": link.name, "up": link.up, "carrier": link.carrier, "mac": mac,
            "received": link.traffic.received, "sent": link.traffic.sent,
            "addresses": addresses.remove(&link.index).unwrap_or_default(),
        })
    });
    let links: Vec<_> = links.collect();
    let name = |index| observed.links.iter().find(|link| link.index == index).map(|it| &it.name);
    let routes = observed.routes.iter().map(
        |route| json!({ "to": "default", "gateway": route.gateway, "link": name(route.link) }),
    );
    json!({ "links": links, "routes": routes.collect::<Vec<_>>() })
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
