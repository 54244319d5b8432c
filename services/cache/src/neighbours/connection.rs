//! One connection to each neighbour, which is kept while it is used.
//!
//! The ALPN is `octet-cache/1`. On the first stream the taker sends the certificate of its `cache`,
//! and gets that of the giver; each ends with the stream. The streams after it are requests of
//! iroh-blobs. The taker uses its own key, so the giver knows whom a connection counts for, and no
//! second handshake is needed.

use std::sync::Arc;
use std::time::Duration;

use octet_node::quic_client::{Connection, RawKeyClient, RawKeyConnection};
use octet_node::say;
use octet_node::tls::AlpnProtocol;
use tokio::time::{sleep, timeout};

use super::certificates::MAX_CERTIFICATE;
use super::{NeighbourNode, Neighbours, UNREACHABLE_PAUSE, lock};

pub const CACHE_ALPN: &[u8] = b"octet-cache/1";

/// The idle timeout of a connection, and the timeout of one attempt to connect.
const IDLE: Duration = Duration::from_secs(5);

/// The time that one attempt may take, after the 25 s in which `forward` sets up a path: packets
/// before that are lost.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between attempts, if one fails at once.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The receive and the send window of a connection, in bytes.
const WINDOW: u32 = 1 << 20;

#[derive(Debug, thiserror::Error)]
#[error("it cannot be reached")]
pub struct NeighbourUnreachable;

/// The connection to a neighbour, and the last problem with it, which is logged once.
#[derive(Debug, Default)]
pub struct NeighbourSlot {
    open: Option<RawKeyConnection>,
    problem: Option<String>,
}

impl Neighbours {
    /// A connection to the `cache` of `to`, whose certificate was checked.
    ///
    /// # Errors
    /// It does not answer, or proves to be another node; it is not tried again for a while.
    pub async fn connect(&self, to: &NeighbourNode) -> Result<Connection, NeighbourUnreachable> {
        let slot = Arc::clone(lock(&self.slots).entry(to.node).or_default());
        let mut slot = slot.lock().await;
        if self.is_paused(&to.node) {
            return Err(NeighbourUnreachable);
        }
        if let Some(open) = &slot.open
            && open.connection.close_reason().is_none()
        {
            return Ok(open.connection.clone());
        }
        slot.open = None;
        let mut problem = "it does not answer".to_owned();
        let connecting = timeout(CONNECT_TIMEOUT, self.try_to_connect(to, &mut problem)).await;
        let Ok(Some(open)) = connecting else {
            if slot.problem.as_ref() != Some(&problem) {
                say!("the neighbour {} gives no objects: {problem}", to.name);
                slot.problem = Some(problem);
            }
            self.pause(to.node, UNREACHABLE_PAUSE);
            return Err(NeighbourUnreachable);
        };
        slot.problem = None;
        let connection = open.connection.clone();
        slot.open = Some(open);
        Ok(connection)
    }

    /// Tries to connect until the caller's timeout; `None` if the neighbour refuses, or is refused.
    async fn try_to_connect(
        &self,
        to: &NeighbourNode,
        problem: &mut String,
    ) -> Option<RawKeyConnection> {
        loop {
            let own = self.certified.borrow().clone();
            let Some(own) = own else {
                *problem = "this service's key is not certified yet".to_owned();
                return None;
            };
            let client = RawKeyClient::new(&own.key, AlpnProtocol::Cache, IDLE, WINDOW)?;
            let Some(open) = client.connect(to.address).await else {
                sleep(RETRY_DELAY).await;
                continue;
            };
            match timeout(IDLE, exchange(&open.connection, &own.certificate.to_bytes())).await {
                Ok(Ok(theirs)) => match self.keys.check(&theirs, &open.peer, &[to.node]) {
                    Ok(_) => return Some(open),
                    Err(refused) => {
                        *problem = refused.to_string();
                        return None;
                    }
                },
                Ok(Err(refused)) => {
                    *problem = format!("it refuses this node: {refused}");
                    return None;
                }
                Err(_) => {}
            }
        }
    }
}

/// Sends `own`, and returns the certificate of the other end.
async fn exchange(connection: &Connection, own: &[u8]) -> Result<Vec<u8>, String> {
    let exchanged = async {
        let (mut to, mut from) = connection.open_bi().await.ok()?;
        to.write_all(own).await.ok()?;
        to.finish().ok()?;
        from.read_to_end(MAX_CERTIFICATE).await.ok()
    };
    match exchanged.await {
        Some(theirs) => Ok(theirs),
        None => {
            // The reason is in the packet that closes the connection.
            let reason = timeout(RETRY_DELAY, connection.closed()).await;
            Err(reason.map_or_else(|_| "no certificate".to_owned(), |reason| reason.to_string()))
        }
    }
}
