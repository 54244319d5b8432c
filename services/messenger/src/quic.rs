//! The mailbox's QUIC endpoint, on iroh without its other features: no relays, no address lookup,
//! no port mapping. The client is `octet_messages::quic`.

mod server;

pub use server::{Served, ServerLimits, serve};

use std::net::SocketAddr;

use iroh::endpoint::{BindError, PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, RelayMode, SecretKey};
use octet_messages::quic::{IDLE, WINDOW};
use octet_node::tls::AlpnProtocol;

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// An address is invalid.
    #[error("{0}")]
    Address(String),
    /// The kernel refused the socket.
    #[error("{0}")]
    Bind(#[from] BindError),
}

/// Opens an endpoint with the key of `seed`, at the addresses `at`.
pub async fn open(seed: &[u8; 32], at: &[SocketAddr]) -> Result<Endpoint, EndpointError> {
    let idle = VarInt::from_u32(IDLE.as_millis() as u32).into();
    let transport = QuicTransportConfig::builder()
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(IDLE / 4)
        .default_path_keep_alive_interval(IDLE / 4)
        .default_path_max_idle_timeout(IDLE)
        .max_concurrent_bidi_streams(1u32.into())
        .max_concurrent_uni_streams(0u32.into())
        .receive_window(WINDOW.into())
        .stream_receive_window(WINDOW.into())
        .send_window(WINDOW.into())
        .build();
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(seed))
        .alpns(vec![AlpnProtocol::Messenger.name().to_vec()])
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .transport_config(transport)
        .clear_ip_transports();
    for address in at {
        let bound = builder.bind_addr(*address);
        builder = bound.map_err(|error| EndpointError::Address(error.to_string()))?;
    }
    Ok(builder.bind().await?)
}
