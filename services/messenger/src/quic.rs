//! The mailbox's QUIC endpoint. The client is `octet_messages::quic`.

mod server;

pub use server::{Served, ServerLimits, serve};

use std::net::SocketAddr;

use iroh::Endpoint;
use octet_messages::quic::{IDLE, WINDOW};
use octet_node::quic::{self, EndpointError, QuicConfig};
use octet_node::tls::AlpnProtocol;

/// Opens an endpoint with the key of `seed`, at the addresses `at`.
///
/// # Errors
/// An address is invalid, or taken.
pub async fn open(seed: &[u8; 32], at: &[SocketAddr]) -> Result<Endpoint, EndpointError> {
    let alpns = &[AlpnProtocol::Messenger.name()];
    quic::open(seed, at, QuicConfig { alpns, idle: IDLE, streams: 1, window: WINDOW }).await
}
