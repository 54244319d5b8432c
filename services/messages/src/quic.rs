//! The client of mailboxes: QUIC (RFC 9000) with raw Ed25519 public keys, by `octet_node::quic_client`.
//!
//! A mailbox proves that it holds the key in its address. A client uses a new key for each
//! connection: the sender of a message is anonymous, and a client that fetches messages
//! authenticates with a signature.
//!
//! The server is in the unit `messenger` and uses iroh. All addresses are given.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::quic_client::{RawKeyClient, RawKeyConnection};
use octet_node::tls::AlpnProtocol;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::courier::{MailboxUnreachable, Wire};
use crate::limits::{MAX_ANSWER, MAX_WAIT};
use crate::mailbox_address::MailboxAddress;
use crate::request::{MailboxReply, SignedRequest};

/// The UDP port of a mailbox.
pub const PORT: u16 = 4434;

/// The idle timeout of a connection; keepalives are sent four times within it.
pub const IDLE: Duration = Duration::from_secs(5);

/// The receive window of one connection, in bytes.
pub const WINDOW: u32 = 256 << 10;

/// The timeout to connect to a mailbox.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The time during which an unreachable mailbox is not tried again.
pub(crate) const RETRY_DELAY: Duration = Duration::from_secs(60);

/// The timeout of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeout of an answer to a client that waits for messages.
const WAIT_TIMEOUT: Duration = MAX_WAIT.saturating_add(ANSWER_TIMEOUT);

/// The timeout to deliver the end of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

pub struct MailboxClient {
    runtime: Runtime,
    open: BTreeMap<PublicKey, OpenConnection>,
    /// The last failed attempt to connect to each unreachable mailbox.
    unreachable: BTreeMap<PublicKey, Instant>,
    /// Requests that are answered when there is a message, each on a connection of its own.
    waits: JoinSet<EndedWait>,
}

/// The end of a wait at a mailbox, and its connection if that has answered.
pub struct EndedWait {
    pub place: MailboxAddress,
    answer: Option<(MailboxReply, OpenConnection)>,
}

impl std::fmt::Debug for MailboxClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailboxClient").finish_non_exhaustive()
    }
}

impl MailboxClient {
    pub fn new() -> io::Result<Self> {
        let runtime = runtime()?;
        let (open, unreachable) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { runtime, open, unreachable, waits: JoinSet::new() })
    }

    /// Sends `request` on the open connection to the mailbox at `place`, and does not wait for the
    /// answer: [`next_wait`](Self::next_wait) returns it.
    ///
    /// # Errors
    /// There is no open connection.
    pub fn begin_wait(
        &mut self,
        place: &MailboxAddress,
        request: SignedRequest,
    ) -> Result<(), MailboxUnreachable> {
        let open = self.open.remove(&place.mailbox);
        let open = open.ok_or_else(|| MailboxUnreachable(place.to_string()))?;
        let place = place.clone();
        let wait = async move {
            let answer = open.request(&request, WAIT_TIMEOUT).await;
            EndedWait { place, answer: answer.map(|answer| (answer, open)) }
        };
        self.waits.spawn_on(wait, self.runtime.handle());
        Ok(())
    }

    /// The next wait that ends within `limit`, or `None`.
    pub fn next_wait(&mut self, limit: Duration) -> Option<EndedWait> {
        let Self { runtime, waits, .. } = self;
        let next = async {
            match waits.join_next().await {
                Some(Ok(waited)) => waited,
                // Nothing is waited for.
                Some(Err(_)) | None => std::future::pending().await,
            }
        };
        runtime.block_on(async { timeout(limit, next).await.ok() })
    }

    /// The answer that `waited` has got; further requests use its connection.
    ///
    /// # Errors
    /// There was none.
    pub fn end_wait(&mut self, waited: EndedWait) -> Result<MailboxReply, MailboxUnreachable> {
        let EndedWait { place, answer } = waited;
        let (answer, open) = answer.ok_or_else(|| MailboxUnreachable(place.to_string()))?;
        // What is left there for others goes by another connection.
        if let Some(other) = self.open.insert(place.mailbox, open) {
            self.runtime.spawn(other.close());
        }
        Ok(answer)
    }

    /// Closes all connections but those that wait, while the client waits next: the end of a
    /// connection takes three probe timeouts (RFC 9000, section 10.2).
    pub fn disconnect_later(&mut self) {
        for (_, reached) in std::mem::take(&mut self.open) {
            self.runtime.spawn(reached.close());
        }
    }

    /// Closes all connections but those that wait.
    pub fn disconnect_all(&mut self) {
        for (_, reached) in std::mem::take(&mut self.open) {
            self.runtime.block_on(reached.close());
        }
    }
}

impl Wire for MailboxClient {
    fn request(
        &mut self,
        place: &MailboxAddress,
        request: &SignedRequest,
    ) -> Result<MailboxReply, MailboxUnreachable> {
        let unreached = || MailboxUnreachable(place.to_string());
        let reached = match self.open.remove(&place.mailbox) {
            Some(open) => open,
            None => {
                let tried = self.unreachable.get(&place.mailbox);
                if tried.is_some_and(|tried| tried.elapsed() < RETRY_DELAY) {
                    return Err(unreached());
                }
                // A new key makes the client anonymous.
                let key = PrivateKey::generate().ok();
                let reached = key.and_then(|key| self.runtime.block_on(reach(&key, place)));
                let Some(reached) = reached else {
                    self.unreachable.insert(place.mailbox, Instant::now());
                    return Err(unreached());
                };
                reached
            }
        };
        let asked = reached.request(request, ANSWER_TIMEOUT);
        let Some(answer) = self.runtime.block_on(asked) else {
            self.runtime.block_on(reached.close());
            return Err(unreached());
        };
        self.open.insert(place.mailbox, reached);
        Ok(answer)
    }

    fn disconnect(&mut self, place: &MailboxAddress) {
        if let Some(reached) = self.open.remove(&place.mailbox) {
            self.runtime.block_on(reached.close());
        }
    }
}

impl Drop for MailboxClient {
    fn drop(&mut self) {
        self.disconnect_all();
    }
}

/// Sends one request to the mailbox at `place`, with the client key `key`. Returns the answer if it
/// arrives within `answer_timeout` after connecting.
pub fn send_request(
    key: &PrivateKey,
    place: &MailboxAddress,
    request: &SignedRequest,
    answer_timeout: Duration,
) -> Option<MailboxReply> {
    runtime().ok()?.block_on(async {
        let reached = reach(key, place).await?;
        let answer = reached.request(request, answer_timeout).await;
        reached.close().await;
        answer
    })
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().enable_time().build()
}

/// A connection to a mailbox that has proved its key.
struct OpenConnection(RawKeyConnection);

impl OpenConnection {
    async fn request(
        &self,
        request: &SignedRequest,
        answer_timeout: Duration,
    ) -> Option<MailboxReply> {
        let answer = async {
            let (mut send, mut receive) = self.0.connection.open_bi().await.ok()?;
            send.write_all(&request.to_bytes()).await.ok()?;
            send.finish().ok()?;
            MailboxReply::from_bytes(&receive.read_to_end(MAX_ANSWER).await.ok()?)
        };
        timeout(answer_timeout, answer).await.ok()?
    }

    async fn close(self) {
        self.0.close(CLOSE_TIMEOUT).await;
    }
}

/// Connects to the mailbox at `place` with the client key `key`: to all its addresses concurrently.
/// The first connection that proves the mailbox's key is used.
async fn reach(key: &PrivateKey, place: &MailboxAddress) -> Option<OpenConnection> {
    let client = RawKeyClient::new(key, AlpnProtocol::Messenger, IDLE, WINDOW)?;
    let mut tried = JoinSet::new();
    for address in &place.addresses {
        let connected = connect(client.clone(), *address, place.mailbox);
        tried.spawn(timeout(CONNECT_TIMEOUT, connected));
    }
    while let Some(outcome) = tried.join_next().await {
        if let Ok(Ok(Some(reached))) = outcome {
            return Some(reached);
        }
    }
    None
}

async fn connect(
    client: RawKeyClient,
    to: SocketAddr,
    mailbox: PublicKey,
) -> Option<OpenConnection> {
    let reached = OpenConnection(client.connect(to).await?);
    if reached.0.peer != mailbox {
        reached.close().await;
        return None;
    }
    Some(reached)
}
