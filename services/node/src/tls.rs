//! TLS 1.3 between operators and gates, between nodes, and between persons and mailboxes: raw Ed25519 public
//! keys on both sides (RFC 7250), one key exchange, two ciphers, no resumption and no early data.
//!
//! TLS only proves that the peer holds its key. Each side authorizes the key after the handshake: the gate by
//! its list of operators, the operator by the node's certificate.

use std::sync::Arc;

use octet_control::PublicKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::ring::kx_group::X25519;
use rustls::crypto::ring::{default_provider, sign::any_eddsa_type};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerMisbehaved, ServerConfig, SignatureScheme,
};

use crate::key::PrivateKey;

/// The application protocol (RFC 7301), so that a connection for one protocol cannot be used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlpnProtocol {
    /// The control protocol, with a gate.
    Control,
    /// Enrolment, with the coordinator.
    Cluster,
    /// Messages, with a mailbox, over QUIC.
    Messenger,
    /// Objects, with the `cache` of a node of another box, over QUIC.
    Cache,
    /// Objects, with any node that speaks the protocol of iroh-blobs, over QUIC.
    Objects,
}

impl AlpnProtocol {
    /// The ALPN name.
    pub fn name(self) -> &'static [u8] {
        match self {
            Self::Control => b"octet-control/1",
            Self::Cluster => b"octet-cluster/1",
            Self::Messenger => b"octet-messenger/1",
            Self::Cache => b"octet-cache/1",
            Self::Objects => b"/iroh-bytes/4",
        }
    }
}

/// The prefix of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410, section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// A server configuration for `protocol` with `key`, which requires a client key.
///
/// # Errors
/// rustls refuses the key.
pub fn server(key: &PrivateKey, protocol: AlpnProtocol) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let resolver = AlwaysResolvesServerRawPublicKeys::new(certified(key)?);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyKey(provider)))
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![protocol.name().to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// A client configuration for `protocol` with `key`.
///
/// # Errors
/// rustls refuses the key.
pub fn client(key: &PrivateKey, protocol: AlpnProtocol) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let resolver = AlwaysResolvesClientRawPublicKeys::new(certified(key)?);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey(provider)))
        .with_client_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![protocol.name().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// The key that the peer has proved to hold; `None` if it is not an Ed25519 key.
pub fn peer_key(presented: Option<&[CertificateDer<'_>]>) -> Option<PublicKey> {
    match presented? {
        [key] => parse(key.as_ref()),
        _ => None,
    }
}

/// A placeholder for rustls, which requires a server name.
pub fn any_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::IpAddr::from([0, 0, 0, 0]).into())
}

fn parse(spki: &[u8]) -> Option<PublicKey> {
    spki.strip_prefix(&SPKI)?.try_into().ok().map(PublicKey::new)
}

fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites, kx_groups: vec![X25519], ..default_provider() })
}

fn certified(key: &PrivateKey) -> Result<Arc<CertifiedKey>, Error> {
    let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(key.to_pkcs8()))?;
    let spki = [&SPKI[..], key.public().as_bytes()].concat();
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signing)))
}

/// Accepts every Ed25519 key that the peer proves to hold.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl AnyKey {
    fn key(end_entity: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        if parse(end_entity.as_ref()).is_none() || !others.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        Ok(())
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signature.scheme != SignatureScheme::ED25519 {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms)
    }
}

fn not_tls_1_2() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::key(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        not_tls_1_2()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::key(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        not_tls_1_2()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConnection, Connection, ServerConnection};

    /// Exchanges bytes between the two until neither has any.
    fn converse(client: &mut Connection, server: &mut Connection) -> Result<(), Error> {
        while client.wants_write() || server.wants_write() {
            for swap in [false, true] {
                let (from, to) =
                    if swap { (&mut *server, &mut *client) } else { (&mut *client, &mut *server) };
                let mut bytes = vec![];
                while from.wants_write() {
                    from.write_tls(&mut bytes).unwrap();
                }
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    to.read_tls(&mut rest).unwrap();
                    to.process_new_packets()?;
                }
            }
        }
        Ok(())
    }

    #[test]
    fn both_see_the_others_key() {
        let (operator, gate) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let client =
            ClientConnection::new(client(&operator, AlpnProtocol::Control).unwrap(), any_name())
                .unwrap();
        let (mut client, mut server) = (
            client.into(),
            ServerConnection::new(server(&gate, AlpnProtocol::Control).unwrap()).unwrap().into(),
        );
        converse(&mut client, &mut server).unwrap();
        assert!(!client.is_handshaking() && !server.is_handshaking());
        assert_eq!(peer_key(server.peer_certificates()), Some(operator.public()));
        assert_eq!(peer_key(client.peer_certificates()), Some(gate.public()));
    }

    /// A peer that presents another's key cannot prove to hold it.
    #[test]
    fn a_key_must_be_held() {
        let (operator, gate) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let thief = PrivateKey::generate().unwrap();
        let stolen = |signing: &PrivateKey, shown: &PrivateKey| {
            let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(signing.to_pkcs8())).unwrap();
            let spki = [&SPKI[..], shown.public().as_bytes()].concat();
            Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signing))
        };
        for (signing, works) in [(&operator, true), (&thief, false)] {
            let mut config = (*client(&operator, AlpnProtocol::Control).unwrap()).clone();
            let key = stolen(signing, &operator);
            config.client_auth_cert_resolver =
                Arc::new(AlwaysResolvesClientRawPublicKeys::new(key));
            let mut client = ClientConnection::new(Arc::new(config), any_name()).unwrap().into();
            let mut server = ServerConnection::new(server(&gate, AlpnProtocol::Control).unwrap())
                .unwrap()
                .into();
            assert_eq!(converse(&mut client, &mut server).is_ok(), works);
        }
        for (signing, works) in [(&gate, true), (&thief, false)] {
            let mut config = (*server(&gate, AlpnProtocol::Control).unwrap()).clone();
            let key = stolen(signing, &gate);
            config.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(key));
            let mut client = ClientConnection::new(
                client(&operator, AlpnProtocol::Control).unwrap(),
                any_name(),
            )
            .unwrap()
            .into();
            let mut server = ServerConnection::new(Arc::new(config)).unwrap().into();
            assert_eq!(converse(&mut client, &mut server).is_ok(), works);
        }
    }

    /// A peer with another protocol is refused, whatever its key.
    #[test]
    fn one_protocol_on_both_sides() {
        let (one, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        for protocol in [AlpnProtocol::Cluster, AlpnProtocol::Control] {
            let config = client(&one, protocol).unwrap();
            let mut client = ClientConnection::new(config, any_name()).unwrap().into();
            let config = server(&other, AlpnProtocol::Cluster).unwrap();
            let mut server = ServerConnection::new(config).unwrap().into();
            let outcome = converse(&mut client, &mut server);
            assert_eq!(outcome.is_ok(), protocol == AlpnProtocol::Cluster);
        }
    }
}
