//! What a gate says first on a connection: which node it is the gate of.

use octet_control::PublicKey;
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;

/// The unit whose key a gate shows.
pub const GATE: &str = "gate";

/// The port of every gate (TCP).
pub const GATE_PORT: u16 = 4040;

/// The longest hello, in bytes.
pub const LONGEST_HELLO: usize = 4096;

/// The first frame of a gate, before anything is asked: `{"hello": {"certificate": "…"}}`.
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

/// Why a gate is not that of the box that is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTheBox {
    /// Its certificate is about something else than the key it holds.
    #[error("whoever answers shows a certificate that is not its own")]
    NotItsOwn,
    /// It is the gate of another node.
    #[error("this is the box {0}, not {1}")]
    Another(PublicKey, PublicKey),
    /// Its key has been replaced.
    #[error(
        "the gate's key is number {0}, and number {1} was seen before: the old one may be in others' hands"
    )]
    Replaced(u64, u64),
}

impl Hello {
    /// Says that the gate has `certificate`.
    pub fn new(certificate: Certificate) -> Self {
        Self { hello: Body { certificate } }
    }

    /// The node that is behind the connection, whose key of TLS is `peer`.
    ///
    /// # Errors
    /// The certificate is about something else.
    pub fn node(&self, peer: PublicKey) -> Result<(PublicKey, u64), NotTheBox> {
        node_behind(&self.hello.certificate, GATE, peer)
    }

    /// Sees that it is `node` that is behind the connection, with a key no older than number `seen`.
    /// Returns the number of its key, which is to be remembered.
    pub fn check(&self, peer: PublicKey, node: PublicKey, seen: u64) -> Result<u64, NotTheBox> {
        let (found, epoch) = self.node(peer)?;
        if found != node {
            return Err(NotTheBox::Another(found, node));
        }
        if epoch < seen {
            return Err(NotTheBox::Replaced(epoch, seen));
        }
        Ok(epoch)
    }
}

/// The node whose service `unit` is behind a connection, whose key of TLS is `peer`, and the number of
/// that key: what the service says of itself is `certificate`.
///
/// # Errors
/// The certificate is about something else.
pub fn node_behind(
    certificate: &Certificate,
    unit: &str,
    peer: PublicKey,
) -> Result<(PublicKey, u64), NotTheBox> {
    let statement = certificate.statement();
    if statement.key != peer || statement.unit.as_str() != unit {
        return Err(NotTheBox::NotItsOwn);
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
        assert_eq!(wrong(hello("gate", 2), gate, node.public()), NotTheBox::Replaced(2, 3));
        assert_eq!(wrong(hello("cache", 3), gate, node.public()), NotTheBox::NotItsOwn);
        assert_eq!(wrong(hello("gate", 3), other.public(), node.public()), NotTheBox::NotItsOwn);
        let another = NotTheBox::Another(node.public(), other.public());
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
