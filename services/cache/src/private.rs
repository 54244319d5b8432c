//! Private fetches: one object from one node, over a path of `forward` whose end does not learn who asks.
//!
//! Each has a path, an address and a key of its own, which end with it. No board and no neighbour is asked, and
//! none learns of it but the first relay of the path.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use octet_node::KeptClient;
use octet_node::control::{CallError, Failure, FailureCode};
use octet_node::key::PrivateKey;
use octet_node::quic_client::{RawKeyClient, RawKeyConnection};
use octet_node::tls::AlpnProtocol;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The maximum number of private fetches at once.
pub const MAX: usize = 2;

/// How often a path is renewed: `forward` ends one that it was not asked for within a minute.
pub const RENEWAL: Duration = Duration::from_secs(15);

/// The timeout of `forward`, which answers within 25 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// The idle timeout of a connection, and the timeout of an attempt to connect.
const IDLE: Duration = Duration::from_secs(10);

/// The receive and the send window of a connection, in bytes.
const WINDOW: u32 = 1 << 20;

/// Makes private paths.
#[derive(Debug)]
pub struct PrivatePaths {
    /// That of `forward`.
    socket: PathBuf,
    /// The port of objects, which all nodes have.
    port: u16,
    renewal: Duration,
    places: Arc<Semaphore>,
}

/// A private path. It ends when this is dropped.
#[derive(Debug)]
pub struct PrivatePath {
    from: IpAddr,
    to: SocketAddr,
    client: RawKeyClient,
    _end: Sender<Infallible>,
}

/// What `forward` answers.
#[derive(Debug, Deserialize)]
struct OpenedPath {
    path: u64,
    from: IpAddr,
    to: IpAddr,
}

impl PrivatePaths {
    pub fn new(socket: PathBuf, port: u16, renewal: Duration) -> Self {
        Self { socket, port, renewal, places: Arc::new(Semaphore::new(MAX)) }
    }

    /// A private path to the node that `forward` knows as `to`, over the relays `via` or over those that it chooses.
    /// It blocks.
    ///
    /// # Errors
    /// There are too many already, or `forward` has no path.
    pub fn open(&self, to: &str, via: Option<&str>) -> Result<PrivatePath, Failure> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message =
                format!("{MAX} objects are being fetched privately, which are as many as can be");
            Failure::new(FailureCode::Busy, message, "ask again when one of them is here")
        })?;
        let mut forward = KeptClient::new(self.socket.clone(), ANSWER_TIMEOUT);
        let mut args = args(json!({ "to": to }));
        args.extend(via.map(|via| ("via".to_owned(), via.into())));
        let opened = forward.call_with("private-path", args).map_err(failure)?;
        let opened: OpenedPath =
            serde_json::from_value(opened).map_err(|error| failure(CallError::Json(error)))?;
        let (end, ended) = channel::<Infallible>();
        let (path, renewal) = (opened.path, self.renewal);
        let keep = move || {
            let _place: OwnedSemaphorePermit = place;
            let number = || args_of(path);
            while ended.recv_timeout(renewal) == Err(RecvTimeoutError::Timeout) {
                // A path that has ended carries nothing any more, so what uses it ends, too.
                let _ = forward.call_with("private-renew", number());
            }
            // If it is not reached, the path ends because it is not renewed.
            let _ = forward.call_with("private-end", number());
        };
        thread::Builder::new()
            .name("private".into())
            .spawn(keep)
            .map_err(|error| Failure::new(FailureCode::Failed, error.to_string(), "ask again"))?;
        // A key for this path alone.
        let client = PrivateKey::generate().ok();
        let client =
            client.and_then(|key| RawKeyClient::new(&key, AlpnProtocol::Objects, IDLE, WINDOW));
        let no_key = || Failure::new(FailureCode::Failed, "no key can be made", "ask again");
        let (from, to) = (opened.from, SocketAddr::new(opened.to, self.port));
        Ok(PrivatePath { from, to, client: client.ok_or_else(no_key)?, _end: end })
    }
}

impl PrivatePath {
    /// Connects to the node at the end, which `forward` has authenticated. `None` if it does not answer.
    pub async fn connect(&self) -> Option<RawKeyConnection> {
        self.client.connect_from(self.from, self.to).await
    }
}

fn args(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(args) => args,
        _ => Map::new(),
    }
}

fn args_of(path: u64) -> Map<String, Value> {
    args(json!({ "path": path }))
}

fn failure(error: CallError) -> Failure {
    match error {
        CallError::Failure(failure) => failure,
        other => {
            let help = "`status` shows whether `forward` runs";
            Failure::new(FailureCode::Failed, format!("forward: {other}"), help)
        }
    }
}
