//! A QUIC endpoint on iroh, without its other features: no relays, no address lookup, no port mapping. It sends
//! datagrams to addresses that it is given, and to those that a peer names as its own: over a connection, both ends
//! tell each other their addresses.

use std::net::SocketAddr;
use std::time::Duration;

use iroh::endpoint::{BindError, PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, RelayMode, SecretKey};

/// The protocol of an endpoint, and the limits of each connection.
#[derive(Debug, Clone, Copy)]
pub struct QuicConfig<'a> {
    /// The protocols (ALPN) that it accepts from the start.
    pub alpns: &'a [&'static [u8]],
    /// The idle timeout of a connection; keepalives are sent four times within it.
    pub idle: Duration,
    /// The maximum number of concurrent requests.
    pub streams: u32,
    /// The send and the receive window, in bytes.
    pub window: u32,
}

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
///
/// # Errors
/// An address is invalid, or taken.
pub async fn open(
    seed: &[u8; 32],
    at: &[SocketAddr],
    config: QuicConfig<'_>,
) -> Result<Endpoint, EndpointError> {
    let QuicConfig { alpns, idle, streams, window } = config;
    let transport = QuicTransportConfig::builder()
        .max_idle_timeout(Some(VarInt::from_u32(idle.as_millis() as u32).into()))
        .keep_alive_interval(idle / 4)
        .default_path_keep_alive_interval(idle / 4)
        .default_path_max_idle_timeout(idle)
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(0u32.into())
        .receive_window(window.into())
        .stream_receive_window(window.into())
        .send_window(window.into())
        .build();
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(seed))
        .alpns(alpns.iter().map(|alpn| alpn.to_vec()).collect())
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
