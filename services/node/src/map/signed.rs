//! A map with the coordinator's signature. It keeps the exact signed text, so that readers need not re-encode
//! the map to verify it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use octet_control::PublicKey;
use serde::{Deserialize, Serialize};

use super::{CLUSTER, LONGEST, Map};
use crate::certificate::Certificate;
use crate::key::{Domain, PrivateKey, SIGNATURE, verify};

/// A map with its coordinator's signature. As JSON it is `{"map": "…", "certificate": "…", "signature": "…"}`,
/// where `map` is its text, which the coordinator's key of `cluster` has signed in the domain `octet map 1`,
/// `certificate` is the coordinator's certificate of that key, and the signature is base64 with padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct SignedMap {
    text: String,
    certificate: Certificate,
    signature: [u8; SIGNATURE],
    map: Map,
}

/// Why bytes are not a valid map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMap {
    #[error("the map is longer than {LONGEST} bytes")]
    TooLong,
    #[error("this is not a map: {0}")]
    Malformed(String),
    /// The map violates a rule.
    #[error("this map cannot be: {0}")]
    Wrong(&'static str),
    /// The certificate is not for the coordinator's `cluster` key.
    #[error("the map is not certified by the node {0} that is said to hold it")]
    Uncertified(PublicKey),
    #[error("the map is not signed by its coordinator {0}")]
    Forged(PublicKey),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    map: String,
    certificate: Certificate,
    signature: String,
}

impl SignedMap {
    /// Signs `map` with `key`. `certificate` must certify `key` for the map's coordinator.
    ///
    /// # Errors
    /// It does not, or the map is too long or violates a rule.
    pub fn sign(map: Map, certificate: Certificate, key: &PrivateKey) -> Result<Self, InvalidMap> {
        let malformed = |error: serde_json::Error| InvalidMap::Malformed(error.to_string());
        let text = serde_json::to_string(&map).map_err(malformed)?;
        let signature = key.sign(Domain::Map, text.as_bytes());
        Self::read(text, certificate, signature)
    }

    /// The map. The caller must check that its coordinator is the trusted one.
    pub fn map(&self) -> &Map {
        &self.map
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The certificate of the signing key.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The epoch of the coordinator's signing key.
    pub fn key_epoch(&self) -> u64 {
        self.certificate.body().epoch
    }

    fn read(
        text: String,
        certificate: Certificate,
        signature: [u8; SIGNATURE],
    ) -> Result<Self, InvalidMap> {
        if text.len() > LONGEST {
            return Err(InvalidMap::TooLong);
        }
        // The signature is verified before the content is parsed.
        let statement = certificate.body();
        if statement.unit.as_str() != CLUSTER {
            return Err(InvalidMap::Uncertified(statement.node));
        }
        if !verify(&statement.key, Domain::Map, text.as_bytes(), &signature) {
            return Err(InvalidMap::Forged(statement.node));
        }
        let map: Map = serde_json::from_str(&text)
            .map_err(|error| InvalidMap::Malformed(error.to_string()))?;
        if map.coordinator != statement.node {
            return Err(InvalidMap::Uncertified(map.coordinator));
        }
        map.check().map_err(InvalidMap::Wrong)?;
        Ok(Self { text, certificate, signature, map })
    }
}

impl TryFrom<Raw> for SignedMap {
    type Error = InvalidMap;

    fn try_from(raw: Raw) -> Result<Self, InvalidMap> {
        let signature = STANDARD.decode(raw.signature).ok().and_then(|it| it.try_into().ok());
        let none = || InvalidMap::Malformed("it has no signature".to_owned());
        Self::read(raw.map, raw.certificate, signature.ok_or_else(none)?)
    }
}

impl From<SignedMap> for Raw {
    fn from(signed: SignedMap) -> Raw {
        let SignedMap { text, certificate, signature, .. } = signed;
        Raw { map: text, certificate, signature: STANDARD.encode(signature) }
    }
}
