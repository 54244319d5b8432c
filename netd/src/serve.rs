//! netd's socket: what it can be asked, and by whom.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use octet_appliance::NetworkSettings;
use octet_node::control::SOCKETS;
use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{
    Capability, ColumnKind, Connection, DESCRIBE, Failure, FailureCode, Message, Reply, ReplyBody,
    Request, Verb,
};
use octet_node::settings::{self, Which, section_in};
use octet_node::{Callers, peer_uid};
use serde_json::{Value, json};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::Sender;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::kernel::Kernel;
use crate::nft;
use crate::observed::{LinkKind, Observed};

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
    /// What the DHCP client has last said of itself.
    dhcp: Mutex<Option<Value>>,
    /// To whom settings go that are in force now.
    settings: Sender<NewSettings>,
}

/// Settings that are in force now, and who waits until they are lived with.
#[derive(Debug)]
pub struct NewSettings {
    /// What they say.
    pub settings: NetworkSettings,
    /// Takes why they cannot be lived with.
    pub done: oneshot::Sender<Result<(), String>>,
}

impl Shared {
    /// Answers for `callers`, from what the kernel says at the time.
    /// New settings go to `settings`.
    pub fn new(callers: Callers, kernel: Kernel, settings: Sender<NewSettings>) -> Self {
        let room = Arc::new(Semaphore::new(MOST_CLIENTS));
        Self { callers, kernel, room, listing: Mutex::new(()), dhcp: Mutex::new(None), settings }
    }

    /// Notes how the DHCP client is doing.
    pub async fn note_dhcp(&self, state: Option<Value>) {
        *self.dhcp.lock().await = state;
    }
}

/// Everything netd can be asked; `describe` answers with this list.
pub fn verbs() -> Vec<Verb> {
    let own = vec![
        Verb::new(DESCRIBE, Capability::Read, "Lists these verbs"),
        Verb::new(
            "show",
            Capability::Read,
            "Shows links, addresses, routes, and rules with counters",
        )
        .shown(ColumnKind::Lines, &["rules"]),
    ];
    own.into_iter().chain(settings::verbs()).collect()
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
    verb.check(request.args)?;
    match verb.name.as_str() {
        "show" => show(shared).await,
        CHECK => check(shared).await,
        APPLY => apply(shared).await,
        _ => Ok(json!(verbs)), // describe: the list has no other
    }
}

/// Accepts what is to come, unless it names a link that is not there.
async fn check(shared: &Shared) -> Result<Value, Failure> {
    let next = read(Which::Next).await?;
    let observed = shared.kernel.observe().await.map_err(|error| failed(error.to_string()))?;
    if let Some(wanted) = &next.link
        && observed.uplink(Some(wanted.as_str())).is_none()
    {
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
    let settings = read(Which::InForce).await?;
    let (done, is_done) = oneshot::channel();
    let gone = |_| failed("netd is about to end".to_owned());
    shared.settings.send(NewSettings { settings, done }).await.map_err(|_| gone(()))?;
    is_done.await.map_err(|_| gone(()))?.map_err(failed)?;
    Ok(Value::Null)
}

/// Asks `config`, which may take a while.
async fn read(which: Which) -> Result<NetworkSettings, Failure> {
    let read = spawn_blocking(move || section_in(Path::new(SOCKETS), "network", which));
    Ok(read.await.map_err(|error| failed(error.to_string()))??)
}

fn failed(error: String) -> Failure {
    Failure::new(FailureCode::Failed, error, "ask again; see the log")
}

async fn show(shared: &Shared) -> Result<Value, Failure> {
    let observed = shared.kernel.observe().await.map_err(|error| failed(error.to_string()))?;
    let _one_at_a_time = shared.listing.lock().await;
    let rules = nft::run("list table inet octet_fw").await;
    let rules = rules.map_err(|error| failed(error.to_string()))?;
    let mut answer = report(&observed);
    answer["dhcp"] = json!(*shared.dhcp.lock().await);
    answer["rules"] = rules.lines().collect();
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
