//! The QUIC server: one request per stream, one stream at a time, and a limited number of
//! connections.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iroh::Endpoint;
use iroh::endpoint::{Connection, Incoming, IncomingAddr};
use octet_node::control::PublicKey;
use octet_node::limits::{ClientLimit, client};
use tokio::time::timeout;

use crate::boards::RelayedCommands;
use crate::mailbox::{Mailbox, Visit};
use octet_messages::limits::MAX_REQUEST;
use octet_messages::quic::now;
use octet_messages::request::{MailboxRefusal, MailboxReply, SignedRequest};

#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    pub all: usize,
    /// The maximum per client: an IPv4 address, or a /64 of IPv6.
    pub per_address: usize,
    /// The timeout of a handshake, a request, the delivery of an answer, and an idle connection.
    pub timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { all: 64, per_address: 16, timeout: Duration::from_secs(10) }
    }
}

#[derive(Debug, Clone)]
pub struct Served {
    pub mailbox: Arc<Mutex<Mailbox>>,
    pub relayed: Arc<RelayedCommands>,
}

/// Serves `served` at `endpoint`, until it is closed.
pub async fn serve(endpoint: Endpoint, served: Served, limits: ServerLimits) {
    let connected = ClientLimit::new(limits.all, limits.per_address);
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
        let served = served.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // The error concerns the client only.
            let _ = serve_connection(incoming, &served, client(source.ip()), limits.timeout).await;
        });
    }
}

async fn serve_connection(
    incoming: Incoming,
    served: &Served,
    source: IpAddr,
    patience: Duration,
) -> Option<()> {
    let connection: Connection = timeout(patience, incoming.accept().ok()?).await.ok()?.ok()?;
    let peer = PublicKey::new(*connection.remote_id().as_bytes());
    let mut visit = Visit::new(source);
    loop {
        // Idle clients are disconnected despite their keepalives.
        let (mut send, mut receive) = timeout(patience, connection.accept_bi()).await.ok()?.ok()?;
        let bytes = timeout(patience, receive.read_to_end(MAX_REQUEST)).await.ok()?.ok()?;
        let served = served.clone();
        // The handler blocks on the disk or the gate.
        let handle = move || {
            let answer = match SignedRequest::from_bytes(&bytes) {
                Some(SignedRequest::Run(command)) => served.relayed.run(&peer, &command),
                Some(request) => {
                    let mut mailbox = served.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
                    mailbox.handle(&mut visit, request, now())
                }
                None => MailboxReply::Refused(MailboxRefusal::Malformed),
            };
            (visit, answer.to_bytes())
        };
        let answer;
        (visit, answer) = tokio::task::spawn_blocking(handle).await.ok()?;
        timeout(patience, send.write_all(&answer)).await.ok()?.ok()?;
        send.finish().ok()?;
    }
}
