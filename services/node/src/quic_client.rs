//! A QUIC client with raw Ed25519 public keys, as [`tls`](crate::tls) defines them. Its peer is known by its address
//! only: the caller checks the key that the peer has proved, after the handshake.
//!
//! The server uses iroh, whose QUIC implementation is noq. Iroh's own client has to know the peer's key before it
//! connects, and tells the peer this node's addresses; this one does neither.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use noq::crypto::rustls::QuicClientConfig;
use noq::rustls::pki_types::CertificateDer;
use noq::{ClientConfig, Endpoint, TransportConfig, VarInt};
use octet_control::PublicKey;

pub use noq::Connection;

use crate::key::PrivateKey;
use crate::tls::{self, AlpnProtocol};

/// A client with a key, for one protocol.
#[derive(Debug, Clone)]
pub struct RawKeyClient(ClientConfig);

impl RawKeyClient {
    /// A connection ends after `idle` without a packet, and keeps itself alive four times within it. `window` is
    /// that of a connection in bytes, to receive and to send.
    ///
    /// `None` if rustls refuses the key.
    pub fn new(
        key: &PrivateKey,
        protocol: AlpnProtocol,
        idle: Duration,
        window: u32,
    ) -> Option<Self> {
        let crypto = QuicClientConfig::try_from(tls::client(key, protocol).ok()?).ok()?;
        let mut transport = TransportConfig::default();
        transport
            .max_idle_timeout(Some(idle.try_into().ok()?))
            .keep_alive_interval(Some(idle / 4))
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .receive_window(window.into())
            .stream_receive_window(window.into())
            .send_window(window.into());
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        Some(Self(config))
    }

    /// Connects to `to`, from a port of its own. `None` if it does not answer before the connection is idle for too
    /// long, or proves no Ed25519 key.
    pub async fn connect(&self, to: SocketAddr) -> Option<RawKeyConnection> {
        let from: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.connect_from(from, to).await
    }

    /// Like [`connect`](Self::connect), from this address of the node.
    pub async fn connect_from(&self, from: IpAddr, to: SocketAddr) -> Option<RawKeyConnection> {
        let endpoint = Endpoint::client((from, 0).into()).ok()?;
        let name = tls::any_name().to_str().into_owned();
        let connection = endpoint.connect_with(self.0.clone(), to, &name).ok()?.await.ok()?;
        let presented =
            connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        let peer = tls::peer_key(Some(&presented))?;
        Some(RawKeyConnection { endpoint, connection, peer })
    }
}

/// A connection to a peer that has proved the key `peer`.
#[derive(Debug)]
pub struct RawKeyConnection {
    endpoint: Endpoint,
    pub connection: Connection,
    pub peer: PublicKey,
}

impl RawKeyConnection {
    /// Closes the connection, and waits at most `deliver` until the peer has been told.
    pub async fn close(self, deliver: Duration) {
        self.connection.close(VarInt::from_u32(0), b"");
        let _ = tokio::time::timeout(deliver, self.endpoint.wait_idle()).await;
    }
}
