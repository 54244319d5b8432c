//! Connections between nodes: QUIC, with one stream in both directions for each pair. A node's key is its identity, so
//! nobody can speak for another one, and only configured keys are accepted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use iroh::{Endpoint, EndpointAddr};
use octet_node::control::PublicKey;
use octet_node::quic::{self, EndpointError, QuicConfig};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::consensus::MAX_FRAME;
use crate::inbox::LedgerInbox;
use crate::outbox::PeerOutbox;

/// The protocol.
pub const ALPN: &[u8] = b"octet/ledger/1";

/// The idle timeout of a connection; keepalives are sent four times within it.
const IDLE: Duration = Duration::from_secs(8);

/// The windows of a connection, in bytes: a large frame is on its way while the next one is written.
const WINDOW: u32 = 1 << 20;

/// The timeout of a handshake and of the first stream.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The most connections that wait for a handshake or the first stream. Anybody can have some of them.
const MAX_HANDSHAKES: usize = 32;

/// The shortest and the longest time between two attempts to connect.
const MIN_RETRY: Duration = Duration::from_millis(250);
const MAX_RETRY: Duration = Duration::from_secs(8);

/// Another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerPeer {
    pub key: PublicKey,
    /// Where it listens; `None` if it connects to this node.
    pub address: Option<SocketAddr>,
}

#[derive(Debug, Default)]
struct Peer {
    outbox: PeerOutbox,
    /// The newest connection. An older one goes: its peer may have ended without a word.
    connection: Mutex<Option<Connection>>,
}

impl Peer {
    fn replace(&self, new: &Connection) {
        let mut current = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = current.replace(new.clone()) {
            old.close(VarInt::from_u32(0), b"replaced");
        }
    }

    fn connection(&self) -> Option<Connection> {
        let current = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|connection| connection.close_reason().is_none())
    }
}

/// The connections of a node.
#[derive(Debug, Clone)]
pub(crate) struct LedgerNet {
    own: PublicKey,
    peers: Arc<BTreeMap<PublicKey, (LedgerPeer, Peer)>>,
    inbox: Arc<LedgerInbox>,
}

impl LedgerNet {
    pub(crate) fn new(own: PublicKey, peers: &[LedgerPeer], inbox: Arc<LedgerInbox>) -> Self {
        let others = peers.iter().filter(|peer| peer.key != own);
        let peers = others.map(|peer| (peer.key, (*peer, Peer::default()))).collect();
        Self { own, peers: Arc::new(peers), inbox }
    }

    /// Sends a frame to all peers.
    pub(crate) fn send_all(&self, frame: &Arc<[u8]>) {
        self.peers.values().for_each(|(_, peer)| peer.outbox.push(frame.clone()));
    }

    /// Sends a frame to one peer.
    pub(crate) fn send(&self, to: &PublicKey, frame: Arc<[u8]>) {
        if let Some((_, peer)) = self.peers.get(to) {
            peer.outbox.push(frame);
        }
    }

    pub(crate) async fn open(
        seed: &[u8; 32],
        listen: &[SocketAddr],
    ) -> Result<Endpoint, EndpointError> {
        let config = QuicConfig { alpns: &[ALPN], idle: IDLE, streams: 1, window: WINDOW };
        quic::open(seed, listen, config).await
    }

    /// Accepts connections and makes them, for ever.
    pub(crate) async fn run(self, endpoint: Endpoint) {
        for (peer, _) in self.peers.values() {
            if let Some(address) = peer.address {
                tokio::spawn(self.clone().dial(endpoint.clone(), peer.key, address));
            }
        }
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        while let Some(incoming) = endpoint.accept().await {
            // Whoever sends from false addresses gets no handshake.
            if !incoming.remote_addr_validated() {
                let _ = incoming.retry();
                continue;
            }
            let Ok(permit) = handshakes.clone().try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let net = self.clone();
            tokio::spawn(async move {
                let permit = permit;
                let accepted = timeout(HANDSHAKE, incoming.accept().ok()?).await.ok()?.ok()?;
                let key = PublicKey::new(*accepted.remote_id().as_bytes());
                if !net.peers.contains_key(&key) {
                    accepted.close(VarInt::from_u32(1), b"unknown key");
                    return None;
                }
                let (send, receive) = timeout(HANDSHAKE, accepted.accept_bi()).await.ok()?.ok()?;
                drop(permit);
                net.speak(key, &accepted, send, receive).await;
                Some(())
            });
        }
    }

    async fn dial(self, endpoint: Endpoint, key: PublicKey, address: SocketAddr) {
        let Ok(id) = iroh::PublicKey::from_bytes(key.as_bytes()) else { return };
        let mut delay = MIN_RETRY;
        // Two nodes that know each other's address do not connect at the same moment.
        if self.own > key {
            sleep(2 * MIN_RETRY).await;
        }
        loop {
            // The peer may have connected to this node.
            let current = self.peers.get(&key).and_then(|(_, peer)| peer.connection());
            if let Some(connection) = current {
                connection.closed().await;
                delay = MIN_RETRY;
            } else {
                let to = EndpointAddr::new(id).with_ip_addr(address);
                let connected = timeout(HANDSHAKE, endpoint.connect(to, ALPN)).await;
                if let Ok(Ok(connection)) = connected
                    && let Ok((send, receive)) = connection.open_bi().await
                {
                    self.speak(key, &connection, send, receive).await;
                    delay = MIN_RETRY;
                }
            }
            sleep(delay).await;
            delay = MAX_RETRY.min(2 * delay);
        }
    }

    /// Carries frames in both directions until the connection ends.
    async fn speak(
        &self,
        key: PublicKey,
        connection: &Connection,
        mut send: SendStream,
        mut receive: RecvStream,
    ) {
        let Some((_, peer)) = self.peers.get(&key) else { return };
        peer.replace(connection);
        let write = async {
            // The accepting side hears of the stream with its first bytes.
            let mut frame: Arc<[u8]> = Arc::new([]);
            loop {
                let size = (frame.len() as u32).to_be_bytes();
                if send.write_all(&size).await.is_err() || send.write_all(&frame).await.is_err() {
                    return;
                }
                frame = peer.outbox.next().await;
            }
        };
        let read = async {
            while let Some(frame) = read_frame(&mut receive).await {
                if !frame.is_empty() {
                    self.inbox.frame(key, frame).await;
                }
            }
        };
        tokio::select! {
            () = write => {}
            () = read => {}
            _ = connection.closed() => {}
        }
        connection.close(VarInt::from_u32(0), b"");
    }
}

async fn read_frame(receive: &mut RecvStream) -> Option<Vec<u8>> {
    let mut size = [0; 4];
    receive.read_exact(&mut size).await.ok()?;
    let size = u32::from_be_bytes(size) as usize;
    if size > MAX_FRAME {
        return None;
    }
    let mut frame = vec![0; size];
    receive.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use octet_node::key::PrivateKey;

    use super::*;
    use crate::inbox::LedgerInput;

    /// After this time a test hangs.
    const HANG: Duration = Duration::from_secs(180);

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn key(of: u8) -> PrivateKey {
        PrivateKey::from_seed([of; 32]).unwrap()
    }

    async fn endpoint(of: u8) -> (Endpoint, SocketAddr) {
        let endpoint = LedgerNet::open(&[of; 32], &[LOOPBACK]).await.unwrap();
        let address = endpoint.bound_sockets()[0];
        (endpoint, address)
    }

    fn net(of: u8, peers: &[LedgerPeer]) -> (LedgerNet, Arc<LedgerInbox>) {
        let inbox = Arc::new(LedgerInbox::default());
        (LedgerNet::new(key(of).public(), peers, inbox.clone()), inbox)
    }

    async fn received(inbox: &Arc<LedgerInbox>) -> (PublicKey, Vec<u8>) {
        let inbox = inbox.clone();
        let next = tokio::task::spawn_blocking(move || inbox.next(HANG)).await.unwrap();
        let Some(LedgerInput::Frame(from, frame)) = next else { panic!("{next:?}") };
        (from, frame)
    }

    #[test]
    fn peers_hear_each_other_and_strangers_are_refused() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (one, address) = endpoint(1).await;
            // The second has no address that the first knows: it connects itself.
            let second = LedgerPeer { key: key(2).public(), address: None };
            let (first, inbox) = net(1, &[second]);
            tokio::spawn(first.clone().run(one));
            let id = iroh::PublicKey::from_bytes(key(1).public().as_bytes()).unwrap();
            let to = EndpointAddr::new(id).with_ip_addr(address);
            // An earlier process that is gone without a word, as after a crash.
            let (gone, _) = endpoint(2).await;
            let earlier = timeout(HANG, gone.connect(to.clone(), ALPN)).await.unwrap().unwrap();
            let (mut send, _receive) = earlier.open_bi().await.unwrap();
            send.write_all(&[0, 0, 0, 1, 7]).await.unwrap();
            assert_eq!(received(&inbox).await, (key(2).public(), vec![7]));

            let to_first = [LedgerPeer { key: key(1).public(), address: Some(address) }];
            let (peer, answers) = net(2, &to_first);
            peer.send_all(&Arc::from(&b"hello"[..]));
            tokio::spawn(peer.clone().run(endpoint(2).await.0));
            assert_eq!(received(&inbox).await, (key(2).public(), b"hello".to_vec()));
            first.send(&key(2).public(), Arc::from(&b"answer"[..]));
            assert_eq!(received(&answers).await, (key(1).public(), b"answer".to_vec()));

            // A stranger is told so.
            let (stranger, _) = endpoint(3).await;
            let connection = timeout(HANG, stranger.connect(to, ALPN)).await.unwrap().unwrap();
            let reason = timeout(HANG, connection.closed()).await.unwrap();
            assert!(reason.to_string().contains("unknown key"), "{reason}");
        });
    }

    #[test]
    fn a_frame_that_is_too_large_ends_the_connection() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (one, address) = endpoint(1).await;
            let second = LedgerPeer { key: key(2).public(), address: None };
            let (first, inbox) = net(1, &[second]);
            tokio::spawn(first.run(one));
            let id = iroh::PublicKey::from_bytes(key(1).public().as_bytes()).unwrap();
            let to = EndpointAddr::new(id).with_ip_addr(address);
            let (other, _) = endpoint(2).await;
            let connection = timeout(HANG, other.connect(to, ALPN)).await.unwrap().unwrap();
            let (mut send, _receive) = connection.open_bi().await.unwrap();
            send.write_all(&[0, 0, 0, 2, 7, 7]).await.unwrap();
            assert_eq!(received(&inbox).await, (key(2).public(), vec![7, 7]));
            send.write_all(&(MAX_FRAME as u32 + 1).to_be_bytes()).await.unwrap();
            timeout(HANG, connection.closed()).await.unwrap();
        });
    }
}
