//! The first message of a gate on a connection: the certificate that shows its node.

use octet_control::PublicKey;
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;

/// The unit whose key a gate uses.
pub const GATE: &str = "gate";

/// The TCP port of every gate.
pub const GATE_PORT: u16 = 4040;

/// The maximum size of a hello, in bytes.
pub const LONGEST_HELLO: usize = 4096;

/// The first frame of a gate, before any request: `{"hello": {"certificate": "…"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    hello: Body,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    certificate: Certificate,
}

/// Why a gate is not the expected one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The certificate is for another key or unit.
    #[error("the server shows a certificate that is not its own")]
    NotItsOwn,
    /// It is the gate of another node.
    #[error("this is the box {0}, not {1}")]
    Another(PublicKey, PublicKey),
    /// An older key than the last seen one.
    #[error(
        "the gate's key is number {0}, and number {1} was seen before: the old one may be compromised"
    )]
    Replaced(u64, u64),
}

impl Hello {
    pub fn new(certificate: Certificate) -> Self {
        Self { hello: Body { certificate } }
    }

    /// The node of the gate whose TLS key is `peer`, and the epoch of that key.
    ///
    /// # Errors
    /// The certificate is for another key or unit.
    pub fn node(&self, peer: PublicKey) -> Result<(PublicKey, u64), HelloError> {
        node_behind(&self.hello.certificate, GATE, peer)
    }

    /// Checks that the gate belongs to `node`, and that the epoch of its key is at least `seen`. Returns the
    /// epoch, which the caller must remember.
    pub fn check(&self, peer: PublicKey, node: PublicKey, seen: u64) -> Result<u64, HelloError> {
        let (found, epoch) = self.node(peer)?;
        if found != node {
            return Err(HelloError::Another(found, node));
        }
        if epoch < seen {
            return Err(HelloError::Replaced(epoch, seen));
        }
        Ok(epoch)
    }
}

/// The node of the service `unit` whose TLS key is `peer` and whose certificate is `certificate`, and the epoch
/// of that key.
///
/// # Errors
/// The certificate is for another key or unit.
pub fn node_behind(
    certificate: &Certificate,
    unit: &str,
    peer: PublicKey,
) -> Result<(PublicKey, u64), HelloError> {
    let statement = certificate.body();
    if statement.key != peer || statement.unit.as_str() != unit {
        return Err(HelloError::NotItsOwn);
    }
    Ok((statement.node, statement.epoch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::KeyStatement;
    use crate::key::PrivateKey;
    use proptest::prelude::*;

    #[test]
    fn only_the_gate_of_the_box_that_is_meant() {
        let (node, gate, other) = (
            PrivateKey::generate().unwrap(),
            PrivateKey::generate().unwrap().public(),
            PrivateKey::generate().unwrap(),
        );
        let hello = |unit: &str, epoch| {
            let unit = unit.parse().unwrap();
            let statement = KeyStatement { node: node.public(), unit, key: gate, epoch, issued: 1 };
            Hello::new(Certificate::sign(statement, &node).unwrap())
        };
        assert_eq!(hello("gate", 3).check(gate, node.public(), 3), Ok(3));
        assert_eq!(hello("gate", 4).check(gate, node.public(), 3), Ok(4));
        let wrong = |hello: Hello, peer, node| hello.check(peer, node, 3).unwrap_err();
        assert_eq!(wrong(hello("gate", 2), gate, node.public()), HelloError::Replaced(2, 3));
        assert_eq!(wrong(hello("cache", 3), gate, node.public()), HelloError::NotItsOwn);
        assert_eq!(wrong(hello("gate", 3), other.public(), node.public()), HelloError::NotItsOwn);
        let another = HelloError::Another(node.public(), other.public());
        assert_eq!(wrong(hello("gate", 3), gate, other.public()), another);
        let json = serde_json::to_string(&hello("gate", 3)).unwrap();
        assert!(json.len() < LONGEST_HELLO && json.starts_with(r#"{"hello":{"certificate":""#));
        assert_eq!(serde_json::from_str::<Hello>(&json).unwrap(), hello("gate", 3));
        for bad in
            [r#"{"hello":{}}"#, r#"{"hello":{"certificate":"AAAA"}}"#, r#"{"id":0,"end":null}"#]
        {
            assert!(serde_json::from_str::<Hello>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = serde_json::from_str::<Hello>(&text);
        }
    }
}
