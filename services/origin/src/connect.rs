//! A connection to an upstream: the name is resolved for each one, and exactly an address that was checked is connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio_rustls::TlsConnector;

use crate::failure::FetchError;
use crate::settings::{FetchOrigin, FetchOrigins};

/// The maximum number of addresses that are tried.
const MAX_TRIED: usize = 4;

pub(crate) enum UpstreamConnection {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Connects to `origin`. `is_time_set` is asked for HTTPS only.
pub(crate) async fn connect(
    origins: &FetchOrigins,
    origin: &FetchOrigin,
    is_time_set: &(dyn Fn() -> bool + Send + Sync),
) -> Result<UpstreamConnection, FetchError> {
    let host = &origin.upstream.host;
    if origin.tls.is_some() && !is_time_set() {
        return Err(FetchError::Time);
    }
    let found = lookup_host((host.as_str(), origin.upstream.port)).await;
    let found: Vec<SocketAddr> = found.map_err(|it| FetchError::Name(host.clone(), it))?.collect();
    let mut failed = FetchError::Name(host.clone(), io::ErrorKind::NotFound.into());
    for address in found.into_iter().take(MAX_TRIED) {
        if !may_connect(origins, origin, address).await {
            failed = FetchError::Prohibited(host.clone(), address.ip());
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return secure(origin, stream).await,
            Err(error) => failed = FetchError::Connect(error),
        }
    }
    Err(failed)
}

async fn may_connect(origins: &FetchOrigins, origin: &FetchOrigin, address: SocketAddr) -> bool {
    if !origins.may_reach(origin, address.ip()) {
        return false;
    }
    let is_allowed = origin.allow.iter().any(|it| it.contains(address.ip().to_canonical()));
    is_allowed || !is_of_this_node(address).await
}

/// Whether this node has the address itself: the kernel would connect from the same one.
async fn is_of_this_node(address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let own = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        // Nothing is sent.
        socket.connect(address).await?;
        socket.local_addr()
    };
    own.await.is_ok_and(|own: SocketAddr| own.ip() == address.ip())
}

async fn secure(origin: &FetchOrigin, stream: TcpStream) -> Result<UpstreamConnection, FetchError> {
    // The kernel sends small requests without waiting for more.
    let _ = stream.set_nodelay(true);
    let Some(config) = &origin.tls else { return Ok(UpstreamConnection::Plain(stream)) };
    let name = ServerName::try_from(origin.upstream.host.clone());
    let name = name.map_err(|error| FetchError::Tls(io::Error::other(error)))?;
    let connected = TlsConnector::from(config.clone()).connect(name, stream).await;
    Ok(UpstreamConnection::Tls(Box::new(connected.map_err(FetchError::Tls)?)))
}

/// Both kinds of a connection as one type.
pub(crate) type Stream = Box<dyn Duplex>;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl UpstreamConnection {
    pub(crate) fn stream(self) -> Stream {
        match self {
            Self::Plain(stream) => Box::new(stream),
            Self::Tls(stream) => stream,
        }
    }
}
