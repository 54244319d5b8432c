//! A person's end.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iroh::endpoint::Connection;
use iroh::{Endpoint, EndpointAddr, EndpointId};
use octet_node::control::PublicKey;
use octet_node::key::random;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::{ALPN, open};
use crate::courier::{Unreached, Wire};
use crate::gate::{LONGEST, SILENCE};
use crate::limits::ANSWER;
use crate::place::Place;
use crate::request::{Answer, Request};

/// How long a mailbox may take to be reached.
const REACH: Duration = Duration::from_secs(5);

/// How long one that was not reached is not tried again.
const REST: Duration = Duration::from_secs(60);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a board may take to have a command run: longer than its gate.
const CARRIED: Duration = Duration::from_secs(LONGEST.as_secs() + SILENCE.as_secs() + 10);

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// Connections to mailboxes.
pub struct Client {
    runtime: Runtime,
    open: BTreeMap<PublicKey, (Endpoint, Connection)>,
    /// When those were tried that were not reached.
    silent: BTreeMap<PublicKey, Instant>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// None yet.
    ///
    /// # Errors
    /// The kernel gives no descriptors.
    pub fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { runtime, open: BTreeMap::new(), silent: BTreeMap::new() })
    }
}

impl Wire for Client {
    fn ask(&mut self, place: &Place, request: &Request) -> Result<Answer, Unreached> {
        let unreached = || Unreached(place.to_string());
        let (_, connection) = match self.open.remove(&place.mailbox) {
            Some(open) => self.open.entry(place.mailbox).or_insert(open),
            None => {
                let tried = self.silent.get(&place.mailbox);
                if tried.is_some_and(|tried| tried.elapsed() < REST) {
                    return Err(unreached());
                }
                // As somebody who was never there.
                let reached =
                    random().ok().and_then(|seed| self.runtime.block_on(reach(&seed, place)));
                let Some(reached) = reached else {
                    self.silent.insert(place.mailbox, Instant::now());
                    return Err(unreached());
                };
                self.open.entry(place.mailbox).or_insert(reached)
            }
        };
        let bytes = request.to_bytes();
        let answered = self.runtime.block_on(async {
            timeout(PATIENCE, converse(connection, &bytes)).await.ok().flatten()
        });
        if answered.is_none() {
            self.part(place);
        }
        answered.ok_or_else(unreached)
    }

    fn part(&mut self, place: &Place) {
        if let Some((endpoint, connection)) = self.open.remove(&place.mailbox) {
            connection.close(0u32.into(), b"");
            let _ = self.runtime.block_on(async { timeout(GOODBYE, endpoint.close()).await });
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for (_, (endpoint, connection)) in std::mem::take(&mut self.open) {
            connection.close(0u32.into(), b"");
            let _ = self.runtime.block_on(async { timeout(GOODBYE, endpoint.close()).await });
        }
    }
}

/// Has the board whose messenger is at `place` run the signed `command`. It knows this one by the key made of `seed`.
/// Returns what it answers, if it does.
pub fn bring(seed: &[u8; 32], place: &Place, command: &str) -> Option<Answer> {
    let request = Request::Run(command.to_owned()).to_bytes();
    let runtime = Builder::new_current_thread().enable_io().enable_time().build().ok()?;
    runtime.block_on(async {
        let (endpoint, connection) = reach(seed, place).await?;
        let answered = timeout(CARRIED, converse(&connection, &request)).await;
        connection.close(0u32.into(), b"");
        let _ = timeout(GOODBYE, endpoint.close()).await;
        answered.ok().flatten()
    })
}

/// A connection to the mailbox at `place`, with the key made of `seed`.
async fn reach(seed: &[u8; 32], place: &Place) -> Option<(Endpoint, Connection)> {
    let id = EndpointId::from_bytes(place.mailbox.as_bytes()).ok()?;
    let mut at: Vec<SocketAddr> = vec![];
    if place.addresses.iter().any(SocketAddr::is_ipv4) {
        at.push(([0; 4], 0).into());
    }
    if place.addresses.iter().any(SocketAddr::is_ipv6) {
        at.push(([0u16; 8], 0).into());
    }
    let endpoint = open(seed, &at).await.ok()?;
    let address =
        place.addresses.iter().fold(EndpointAddr::new(id), |address, at| address.with_ip_addr(*at));
    let connected = timeout(REACH, endpoint.connect(address, ALPN)).await;
    match connected {
        Ok(Ok(connection)) => Some((endpoint, connection)),
        _ => {
            let _ = timeout(GOODBYE, endpoint.close()).await;
            None
        }
    }
}

async fn converse(connection: &Connection, request: &[u8]) -> Option<Answer> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(request).await.ok()?;
    send.finish().ok()?;
    Answer::from_bytes(&receive.read_to_end(ANSWER).await.ok()?)
}
