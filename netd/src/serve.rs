//! netd's socket: what it can be asked, and by whom.

mod reported;
mod show;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use octet_appliance::{InvalidPolicy, Zone};
use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{
    ArgKind, Arguments, Capability, ColumnKind, Connection, DESCRIBE, Failure, FailureCode,
    Message, Reply, ReplyBody, Request, Verb,
};
use octet_node::links::{ADVERTISED, Advertised, LEASED, LINKS, Lease, Links, PLUGGED, TRAFFIC};
use octet_node::serve::places::{Limits, Places};
use octet_node::settings::{self, Which};
use octet_node::{Callers, peer_uid};
use serde_json::{Value, json};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::Sender;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::generation::Author;
use crate::kernel::Kernel;
use crate::lease;
use crate::network::PlugError;
use crate::plugged::Plugged;
use crate::router::explain::Answer;
use crate::router::plan::Plan;
use crate::router::report::asked;
use crate::told::{self, Node, Told};

/// How many may be connected at once; a further one is turned away.
const LIMITS: Limits = Limits { all: 32, for_operators: 12, of_one: 6 };

/// The pause when nobody can be let in.
const BREATH: Duration = Duration::from_millis(100);

/// What answers are made of.
#[derive(Debug)]
pub struct Shared {
    callers: Callers,
    kernel: Kernel,
    places: Places,
    /// Held while nft lists the rules: one at a time.
    listing: Mutex<()>,
    /// What is known beside what the kernel says.
    noted: Mutex<Noted>,
    /// The links, as units are told of them.
    links: watch::Sender<Links>,
    node: Arc<Node>,
    /// To whom goes what is to be done.
    wishes: Sender<Wish>,
}

/// What is known beside what the kernel says.
#[derive(Debug, Default)]
struct Noted {
    /// What a DHCP server has given.
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
    /// A server has given an address, or there is none any more.
    Leased {
        /// The link.
        link: String,
        /// What was given.
        lease: Option<Lease>,
        /// Takes why it cannot be.
        done: oneshot::Sender<Result<(), lease::Refused>>,
    },
    /// A router has advertised something, or there is none any more.
    Advertised {
        /// The link.
        link: String,
        /// What was advertised.
        advert: Option<Advertised>,
        /// Takes why it cannot be.
        done: oneshot::Sender<Result<(), lease::Refused>>,
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
        let places = Places::new(LIMITS);
        let (listing, noted, links) = Default::default();
        Self { callers, kernel, places, listing, noted, links, node, wishes }
    }

    /// Notes what a DHCP server has given, who is plugged in, and how the links are.
    pub async fn note(&self, dhcp: Option<Value>, plugged: &Plugged, links: Links) {
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

/// Everything netd can be asked; `describe` answers with this list.
pub fn verbs() -> Vec<Verb> {
    let own = vec![
        Verb::new(DESCRIBE, Capability::Read, "Lists these verbs"),
        Verb::new(
            "show",
            Capability::Read,
            "Shows the box, links, addresses, routes, and rules with counters",
        )
        .optional("links", ArgKind::Flag, "Only links, addresses and routes, without asking nft")
        .shown(ColumnKind::Lines, &["box", "rules"]),
    ];
    let own = own.into_iter().chain([
        Verb::new("plan", Capability::Read, "Lists what the file comes to on a router")
            .shown(ColumnKind::Lines, &["plan"]),
        Verb::new("explain", Capability::Read, "Says which line decides about one kind of flow")
            .required("from", ArgKind::Text, "Who begins it: board-3, lan, uplink, router or path")
            .required("to", ArgKind::Text, "With whom")
            .required(
                "what",
                ArgKind::Text,
                "tcp/PORT, udp/PORT, icmp, mpls-in-ip or a protocol's number",
            ),
        Verb::new(LINKS, Capability::Read, "Tells of the links, and again when they change"),
        Verb::new(
            TRAFFIC,
            Capability::Read,
            "Shows what has passed each link, and whether it is up",
        )
        .shown(ColumnKind::Bytes, &["received_bytes", "sent_bytes"]),
        Verb::new(LEASED, Capability::Own, "Takes what a DHCP server has given")
            .required("link", ArgKind::Text, "The link that asks, as eth0")
            .optional("lease", ArgKind::Option, "The lease as JSON; without it there is none"),
        Verb::new(ADVERTISED, Capability::Own, "Takes what a router has advertised")
            .required("link", ArgKind::Text, "The link that asks, as eth0")
            .optional("advert", ArgKind::Option, "It as JSON; without it there is none"),
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
        let Ok(uid) = peer_uid(&stream) else { continue };
        let Some(place) = shared.places.admit(&shared.callers, uid) else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // Who breaks the connection is not told about it.
            let _ = converse(&stream, uid, &shared).await;
            drop(place);
        });
    }
}

/// Sends what waits. Returns whether the other end is still there.
async fn send(stream: &UnixStream, connection: &mut Connection) -> io::Result<bool> {
    while connection.has_pending() {
        stream.ready(Interest::WRITABLE).await?;
        match stream.try_write(connection.pending()) {
            Ok(0) => return Ok(false),
            Ok(count) => connection.sent(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Tells of the links until whoever has asked goes: then the connection has nothing else to carry.
async fn tell_links(
    stream: &UnixStream,
    id: u64,
    mut connection: Connection,
    shared: &Shared,
) -> io::Result<()> {
    let mut links = shared.links.subscribe();
    loop {
        let told = json!(*links.borrow_and_update());
        if connection.reply(&Reply { id, body: ReplyBody::Item(told) }).is_err()
            || !send(stream, &mut connection).await?
        {
            return Ok(());
        }
        tokio::select! {
            changed = links.changed() => if changed.is_err() { return Ok(()) },
            gone = is_gone(stream) => return gone,
        }
    }
}

/// Returns when the other end goes, or says something where nothing more is asked.
async fn is_gone(stream: &UnixStream) -> io::Result<()> {
    loop {
        stream.ready(Interest::READABLE).await?;
        // Readiness may be what is left of an earlier message.
        match stream.try_read(&mut [0; 64]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read.map(drop),
        }
    }
}

async fn converse(stream: &UnixStream, uid: u32, shared: &Shared) -> io::Result<()> {
    let mut connection = Connection::default();
    let mut buffer = [0; 4096];
    loop {
        if !send(stream, &mut connection).await? {
            return Ok(());
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
            if request.verb == LINKS && shared.callers.check(uid, LINKS).is_ok() {
                return tell_links(stream, id, connection, shared).await;
            }
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
        "show" => show::show(shared, args.flag("links")).await,
        "plan" => Ok(json!({ "plan": plan(shared).await?.lines_of_text() })),
        "explain" => explain(shared, &args).await,
        TRAFFIC => show::traffic(shared).await,
        LEASED => reported::leased(shared, &args).await,
        ADVERTISED => reported::advertised(shared, &args).await,
        PLUGGED => reported::plugged(shared, &args).await,
        CHECK => check(shared).await,
        APPLY => apply(shared).await,
        _ => Ok(json!(verbs)), // describe: the list has no other
    }
}

/// The plan of what is in force, if this is a router or can say what one of another kind is to do.
async fn plan(shared: &Shared) -> Result<Plan, Failure> {
    let node = Arc::clone(&shared.node);
    let read = spawn_blocking(move || told::plan(&node, Which::InForce));
    read.await.map_err(|error| failed(error.to_string()))??.ok_or_else(|| {
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
        let help = "write tcp/PORT, udp/PORT, icmp, mpls-in-ip or the number of a protocol";
        Failure::new(FailureCode::BadArgument, message, help)
    })?;
    let (from, to) = (zone("from")?, zone("to")?);
    Ok(match plan(shared).await?.explain(from, to, traffic, port) {
        Answer::Let { by, text } => {
            json!({ "answer": "let", "by": by.to_string(), "line": text })
        }
        Answer::Neighbour { index, text } => {
            json!({ "answer": "let", "by": format!("neighbour {}", index + 1), "line": text })
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

/// Asks `config`, which may take a while.
async fn read(shared: &Shared, which: Which) -> Result<Told, Failure> {
    let node = Arc::clone(&shared.node);
    let read = spawn_blocking(move || Told::read(&node, which));
    read.await.map_err(|error| failed(error.to_string()))?
}

fn failed(error: String) -> Failure {
    Failure::new(FailureCode::Failed, error, "ask again; see the log")
}
