//! The mailbox's QUIC endpoint. The client is `octet_messages::quic`.

mod server;

pub use server::{Served, ServerLimits, serve};

use std::net::SocketAddr;

use iroh::Endpoint;
use octet_messages::quic::{IDLE, WINDOW};
use octet_node::quic::{self, EndpointError, QuicConfig};
use octet_node::tls::AlpnProtocol;

/// The streams that a client may have open. It uses one at a time; but a stream is closed here only
/// when the client has acknowledged the answer, which takes it up to 25 ms (`max_ack_delay`, RFC
/// 9000, section 18.2) unless it sends something else: its next request on the second stream.
const STREAMS: u32 = 2;

/// Opens an endpoint with the key of `seed`, at the addresses `at`.
///
/// # Errors
/// An address is invalid, or taken.
pub async fn open(seed: &[u8; 32], at: &[SocketAddr]) -> Result<Endpoint, EndpointError> {
    let alpns = &[AlpnProtocol::Messenger.name()];
    quic::open(seed, at, QuicConfig { alpns, idle: IDLE, streams: STREAMS, window: WINDOW }).await
}
