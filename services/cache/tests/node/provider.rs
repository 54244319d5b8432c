//! A node that serves a plain store of iroh-blobs, with a configurable fault.

use iroh::endpoint::{Connection, SendStream, WriteError};
use iroh::protocol::{AcceptError, ProtocolHandler, Router};
use iroh_blobs::protocol::{GetRequest, Request};
use iroh_blobs::store::mem::MemStore;
use iroh_blobs::{ALPN, Hash};
use octet_cache::endpoint;
use octet_cache::peers::PeerNode;
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use tokio::sync::watch;

use crate::host::{LOOPBACK, peer};

/// Longer than the answer that proves a size, and shorter than a piece.
const LONG: usize = 100_000;

/// How it answers requests for pieces.
#[derive(Debug, Clone)]
pub enum Way {
    /// It flips one bit.
    Flips,
    /// It sends half of the first piece, and then nothing.
    FallsSilent,
    /// It answers correctly, after a signal.
    Once(watch::Receiver<bool>),
    /// It answers correctly, but sends the end of the last piece only after a signal.
    EndOnce(watch::Receiver<bool>),
}

#[derive(Debug, Clone)]
pub struct Provider {
    store: MemStore,
    size: u64,
    way: Way,
    /// The received requests.
    pub asked: watch::Sender<Vec<GetRequest>>,
}

impl Provider {
    /// Starts a node that has `bytes`, as board `number`; it runs as long as the returned router
    /// exists.
    pub async fn start(number: u8, bytes: &[u8], way: Way) -> (Self, PeerNode, Router) {
        let store = MemStore::new();
        store.blobs().add_slice(bytes).temp_tag().await.unwrap().leak();
        let endpoint = endpoint::open(&PrivateKey::generate().unwrap(), &[LOOPBACK]).await.unwrap();
        let peer =
            peer(number, PublicKey::new(*endpoint.id().as_bytes()), endpoint.bound_sockets());
        let asked = watch::Sender::new(vec![]);
        let provider = Self { store, size: bytes.len() as u64, way, asked };
        let router = Router::builder(endpoint).accept(ALPN, provider.clone()).spawn();
        (provider, peer, router)
    }

    /// The number of requested pieces, without the request that proves the size.
    pub fn pieces(&self) -> usize {
        self.asked.borrow().iter().filter(|it| is_piece(it)).count()
    }

    async fn answer(&self, to: &mut SendStream, request: GetRequest) -> Result<(), WriteError> {
        let (hash, ranges): (Hash, _) = (request.hash, request.ranges.iter().next().cloned());
        let Some(ranges) = ranges else { return Ok(()) };
        let is_last =
            ranges.boundaries().last().is_some_and(|end| end.0 >= self.size.div_ceil(1024));
        let mut all = self.store.blobs().export_bao(hash, ranges).bao_to_vec().await.unwrap();
        self.asked.send_modify(|asked| asked.push(request));
        if all.len() < LONG {
            return to.write_all(&all).await;
        }
        let happens = |event: &watch::Receiver<bool>| {
            let mut event = event.clone();
            async move {
                let _ = event.wait_for(|it| *it).await;
            }
        };
        match &self.way {
            Way::Flips => {
                let at = all.len() - 1;
                all[at] ^= 1;
                to.write_all(&all).await
            }
            Way::FallsSilent => {
                to.write_all(&all[..all.len() / 2]).await?;
                std::future::pending().await
            }
            Way::Once(event) => {
                happens(event).await;
                to.write_all(&all).await
            }
            Way::EndOnce(event) if is_last => {
                let (first, end) = all.split_at(all.len() - 20_000);
                to.write_all(first).await?;
                happens(event).await;
                to.write_all(end).await
            }
            Way::EndOnce(_) => to.write_all(&all).await,
        }
    }
}

/// A request for the last chunk alone is the one that proves the size.
fn is_piece(request: &GetRequest) -> bool {
    let ranges = request.ranges.iter().next();
    ranges.is_some_and(|it| it.boundaries().len() == 2)
}

impl ProtocolHandler for Provider {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        while let Ok((mut to, mut from)) = connection.accept_bi().await {
            let asked = from.read_to_end(10_000).await.unwrap_or_default();
            let Ok(Request::Get(request)) = postcard::from_bytes(&asked) else { continue };
            let provider = self.clone();
            tokio::spawn(async move {
                if provider.answer(&mut to, request).await.is_ok() {
                    let _ = to.finish();
                }
            });
        }
        Ok(())
    }
}
