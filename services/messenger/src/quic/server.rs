//! The QUIC server: one request per stream, one stream at a time, and a limited number of
//! connections.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iroh::Endpoint;
use iroh::endpoint::{Connection, Incoming, IncomingAddr, SendStream};
use octet_node::control::PublicKey;
use octet_node::limits::{ClientLimit, Permits, client};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::boards::RelayedCommands;
use crate::mailbox::{Mailbox, Visit, WakeCallback};
use octet_messages::limits::{MAX_REQUEST, MAX_WAIT};
use octet_messages::quic::now;
use octet_messages::request::{
    Letters, MailboxRefusal, MailboxReply, MailboxRequest, Owned, SignedRequest,
};

/// The maximum number of connections that wait for messages of one owner.
const MAX_WAITING_PER_OWNER: usize = 2;

#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    pub all: usize,
    /// The maximum per client: an IPv4 address, or a /64 of IPv6.
    pub per_address: usize,
    /// The timeout of a handshake, a request, the delivery of an answer, and an idle connection.
    pub timeout: Duration,
    /// The time after which a client that waits for messages is answered.
    pub max_wait: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { all: 64, per_address: 16, timeout: Duration::from_secs(10), max_wait: MAX_WAIT }
    }
}

#[derive(Debug, Clone)]
pub struct Served {
    pub mailbox: Arc<Mutex<Mailbox>>,
    pub relayed: Arc<RelayedCommands>,
}

/// The connections that wait for messages, by address and by owner. They take at most half of all
/// connections, and of those of one address: the others are for messages that are left and fetched.
#[derive(Debug, Clone)]
struct Waiting {
    addresses: ClientLimit,
    owners: Permits<[u8; 32]>,
}

/// Serves `served` at `endpoint`, until it is closed.
pub async fn serve(endpoint: Endpoint, served: Served, limits: ServerLimits) {
    let connected = ClientLimit::new(limits.all, limits.per_address);
    let waiting = Waiting {
        addresses: ClientLimit::new(limits.all / 2, limits.per_address / 2),
        owners: Permits::default(),
    };
    while let Some(incoming) = endpoint.accept().await {
        let IncomingAddr::Ip(source) = incoming.remote_addr() else {
            incoming.refuse();
            continue;
        };
        // When half of the connections are in use, clients must prove their address (RFC 9000,
        // section 8.1.2): the first half can be taken by spoofed addresses.
        if !incoming.remote_addr_validated() && connected.in_all() >= limits.all / 2 {
            let _ = incoming.retry();
            continue;
        }
        let Some(permit) = connected.take(source.ip()) else {
            incoming.refuse();
            continue;
        };
        let (served, waiting) = (served.clone(), waiting.clone());
        tokio::spawn(async move {
            let _permit = permit;
            // The error concerns the client only.
            let _ = serve_connection(incoming, &served, source.ip(), &waiting, limits).await;
        });
    }
}

async fn serve_connection(
    incoming: Incoming,
    served: &Served,
    source: IpAddr,
    waiting: &Waiting,
    limits: ServerLimits,
) -> Option<()> {
    let patience = limits.timeout;
    let connection: Connection = timeout(patience, incoming.accept().ok()?).await.ok()?.ok()?;
    let peer = PublicKey::new(*connection.remote_id().as_bytes());
    let mut visit = Visit::new(client(source));
    loop {
        // Idle clients are disconnected despite their keepalives.
        let (mut send, mut receive) = timeout(patience, connection.accept_bi()).await.ok()?.ok()?;
        let bytes = timeout(patience, receive.read_to_end(MAX_REQUEST)).await.ok()?.ok()?;
        let request = SignedRequest::from_bytes(&bytes);
        let answer;
        (visit, answer) = match request {
            Some(SignedRequest::Run(command)) => {
                let relayed = Arc::clone(&served.relayed);
                let run = move || relayed.run(&peer, &command);
                (visit, tokio::task::spawn_blocking(run).await.ok()?)
            }
            Some(SignedRequest::Owner(owned @ Owned { asked: MailboxRequest::Wait, .. })) => {
                let deadline = Instant::now() + limits.max_wait;
                let permits = || waiting.permits(source, &owned.name);
                wait(served, (visit, &owned), permits, deadline, &connection, &mut send).await?
            }
            Some(request) => handle(served, visit, request, None).await?,
            None => (visit, MailboxReply::Refused(MailboxRefusal::Malformed)),
        };
        timeout(patience, send.write_all(&answer.to_bytes())).await.ok()?.ok()?;
        send.finish().ok()?;
    }
}

impl Waiting {
    fn permits(&self, source: IpAddr, owner: &[u8; 32]) -> Option<impl Sized + use<>> {
        let address = self.addresses.take(source)?;
        let owner = self.owners.take(*owner, |_, own| own < MAX_WAITING_PER_OWNER)?;
        Some((address, owner))
    }
}

/// Handles one request; `waker` is called when a message arrives for its owner after that. The
/// handler blocks on the disk.
async fn handle(
    served: &Served,
    mut visit: Visit,
    request: SignedRequest,
    waker: Option<WakeCallback>,
) -> Option<(Visit, MailboxReply)> {
    let mailbox = Arc::clone(&served.mailbox);
    let handle = move || {
        let mut mailbox = mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let (SignedRequest::Owner(owned), Some(waker)) = (&request, &waker) {
            mailbox.add_waker(&owned.name, waker);
        }
        let answer = mailbox.handle(&mut visit, request, now());
        (visit, answer)
    };
    tokio::task::spawn_blocking(handle).await.ok()
}

/// Answers a request to wait: when there is a message, or at `deadline`. `None` if the client has
/// gone. Each time the whole request is handled again, so that its signature has to be the owner's
/// still: a restored copy of the owner ends the waits of the one before. Only the owner takes
/// `permits`.
async fn wait<T>(
    served: &Served,
    (visit, owned): (Visit, &Owned),
    permits: impl Fn() -> Option<T>,
    deadline: Instant,
    connection: &Connection,
    send: &mut SendStream,
) -> Option<(Visit, MailboxReply)> {
    let arrival = Arc::new(Notify::new());
    let notify = Arc::clone(&arrival);
    let waker: WakeCallback = Arc::new(move || notify.notify_one());
    let mut taken = None;
    loop {
        let request = SignedRequest::Owner(owned.clone());
        let (after, answer) = handle(served, visit.clone(), request, Some(waker.clone())).await?;
        let has_none =
            matches!(&answer, MailboxReply::Letters(Letters { letters, .. }) if letters.is_empty());
        if !has_none || Instant::now() >= deadline {
            return Some((after, answer));
        }
        taken = taken.or_else(&permits);
        if taken.is_none() {
            return Some((after, MailboxReply::Refused(MailboxRefusal::TooManyWaiting)));
        }
        tokio::select! {
            () = arrival.notified() => {}
            () = sleep_until(deadline) => {}
            _ = connection.closed() => return None,
            _ = send.stopped() => return None,
        }
    }
}
