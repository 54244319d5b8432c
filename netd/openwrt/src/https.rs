//! HTTPS to a router whose certificate is pinned by its fingerprint; no certificate authority is
//! involved.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use octet_appliance::Fingerprint;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Timeout of the TCP connection.
const CONNECTS: Duration = Duration::from_secs(10);

/// Timeout of the TLS handshake for a server that has not spoken TLS yet: on a port of plain HTTP
/// it would wait for more.
const SPEAKS_TLS: Duration = Duration::from_secs(5);

/// Timeout of an answer.
const ANSWERS: Duration = Duration::from_secs(30);

/// Maximum size of an answer in bytes.
const LONGEST: usize = 8 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    #[error("no connection can be made: {0}")]
    Own(String),
    /// The router cannot be reached; no request was sent.
    #[error("cannot reach {0}: {1}")]
    Unreachable(String, String),
    /// The server does not speak TLS; no request was sent.
    #[error("{0} does not speak TLS: it {1}")]
    NoTls(String, &'static str),
    /// It is another router, or a machine in the middle; no request was sent.
    #[error("the certificate at {address} is {found}, not {expected}")]
    OtherCertificate {
        address: String,
        /// The expected fingerprint.
        expected: Fingerprint,
        /// The fingerprint of the server.
        found: Fingerprint,
    },
    /// The connection ended before there was an answer: whether the request was executed is
    /// unknown.
    #[error("the connection with {0} ended before it answered: {1}")]
    Lost(String, String),
}

/// An HTTPS client for one router.
#[derive(Debug)]
pub struct Https {
    runtime: Runtime,
    to: To,
}

#[derive(Debug)]
struct To {
    address: String,
    wanted: Option<Fingerprint>,
    pinned: Arc<Pinned>,
    tls: Arc<ClientConfig>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Https {
    /// A client for `address`, a name or an IP address, with `:PORT` if it is not 443. Without a
    /// fingerprint any certificate is accepted.
    pub fn new(address: &str, wanted: Option<Fingerprint>) -> Result<Self, HttpsError> {
        let own = |error: &dyn std::fmt::Display| HttpsError::Own(error.to_string());
        let provider = Arc::new(default_provider());
        let pinned = Arc::new(Pinned { wanted, seen: Mutex::default(), provider });
        let mut tls = ClientConfig::builder_with_provider(Arc::clone(&pinned.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| own(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Pinned>::clone(&pinned))
            .with_no_client_auth();
        // Without resumption, each handshake checks the certificate.
        tls.resumption = Resumption::disabled();
        tls.enable_sni = false;
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| own(&error))?;
        let has_port = address.parse::<std::net::Ipv6Addr>().is_err()
            && address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = match address.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]:443"),
            Err(_) if has_port => address.to_owned(),
            Err(_) => format!("{address}:443"),
        };
        let to = To { address, wanted, pinned, tls: Arc::new(tls), connection: None };
        Ok(Self { runtime, to })
    }

    /// The fingerprint of the certificate that was seen last.
    pub fn presented(&self) -> Option<Fingerprint> {
        self.to.pinned.seen()
    }

    /// Makes the next request use a new connection.
    pub fn end_connection(&mut self) {
        self.to.connection = None;
    }

    /// Sends `body` to `path`, and returns status and body of the answer.
    pub fn post(&mut self, path: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>), HttpsError> {
        let outcome = self.runtime.block_on(self.to.exchange(path, Bytes::from(body)));
        if outcome.is_err() {
            self.to.connection = None;
        }
        outcome
    }
}

impl To {
    async fn exchange(&mut self, path: &str, body: Bytes) -> Result<(u16, Vec<u8>), HttpsError> {
        // The router closes idle connections.
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            self.connection = Some(self.connect().await?);
        }
        let address = self.address.clone();
        let lost =
            |error: &dyn std::fmt::Display| HttpsError::Lost(address.clone(), error.to_string());
        let Some(sender) = &mut self.connection else { return Err(lost(&"there is none")) };
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| lost(&error))?;
        let asked = async {
            let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
            let status = response.status().as_u16();
            let body = http_body_util::Limited::new(response.into_body(), LONGEST);
            let body = body.collect().await.map_err(|error| lost(&error))?;
            Ok((status, body.to_bytes().to_vec()))
        };
        timeout(ANSWERS, asked).await.map_err(|_| lost(&"it takes too long"))?
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpsError> {
        let unreachable = |error: &dyn std::fmt::Display| {
            HttpsError::Unreachable(self.address.clone(), error.to_string())
        };
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let connected = timeout(CONNECTS, TcpStream::connect(&self.address)).await;
        let stream =
            connected.unwrap_or_else(|_| Err(late())).map_err(|error| unreachable(&error))?;
        stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
        // The name in the certificate is not checked.
        let name = ServerName::IpAddress(std::net::IpAddr::from([0, 0, 0, 0]).into());
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream);
        // A server that has spoken TLS before is only busy.
        let has_spoken = self.pinned.seen().is_some();
        let time = if has_spoken { CONNECTS } else { SPEAKS_TLS };
        let no_tls = |what| HttpsError::NoTls(self.address.clone(), what);
        let tls = timeout(time, tls).await.map_err(|_| match has_spoken {
            true => unreachable(&late()),
            false => no_tls("does not answer a handshake"),
        })?;
        let tls = tls.map_err(|error| match (self.wanted, self.pinned.seen()) {
            (Some(wanted), Some(found)) if wanted != found => HttpsError::OtherCertificate {
                address: self.address.clone(),
                expected: wanted,
                found,
            },
            (_, None) if is_no_tls(&error) => no_tls("answers a handshake with something else"),
            _ => unreachable(&error),
        })?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(tls)).await.map_err(|error| unreachable(&error))?;
        // The sender of the request sees how the connection ends.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// Whether the received bytes are not TLS.
fn is_no_tls(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(error, Some(Error::InvalidMessage(_)))
}

/// Accepts the certificate with the pinned fingerprint, or any; and stores the fingerprint that it
/// has seen.
#[derive(Debug)]
struct Pinned {
    wanted: Option<Fingerprint>,
    seen: Mutex<Option<Fingerprint>>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn seen(&self) -> Option<Fingerprint> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Fingerprint::new(Sha256::digest(end_entity).into());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        match self.wanted {
            Some(wanted) if wanted != found => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
