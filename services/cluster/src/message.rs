//! The messages between boards and the coordinator, each a frame of JSON (docs/cluster.md).

use octet_node::certificate::Certificate;
use octet_node::control::{MAX_PAYLOAD, PublicKey, is_control_or_format};
use octet_node::hello::{HelloError, node_behind};
use octet_node::map::{CLUSTER, MapVersion, SignedMap};
use octet_node::statement::SignedAppointment;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The maximum size of a hello, in bytes.
pub const LONGEST_HELLO: usize = 4096;

/// The maximum size of a message with a map, in bytes.
pub const LONGEST: usize = MAX_PAYLOAD;

/// The maximum size of a report, in bytes.
pub const LONGEST_REPORT: usize = 16 << 10;

/// The maximum size of a reason, in bytes.
const LONGEST_REASON: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoordinatorHello {
    pub certificate: Certificate,
    /// The version of the coordinator's map.
    pub version: MapVersion,
    /// The SHA-256 of that map's text, in hexadecimal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The appointment, unless this is the first coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<SignedAppointment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    pub certificate: Certificate,
    /// The number that the board claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u8>,
    /// The certificates of all its services, if it knows them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Vec<Certificate>>,
    /// The version of the board's map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub have: Option<Have>,
    /// That map, unless it is the coordinator's current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<SignedMap>,
}

/// The version of a board's map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Have {
    pub coordinator: PublicKey,
    pub version: MapVersion,
}

/// A later message of a board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromBoard {
    /// The board has stored this map.
    Have(MapVersion),
    /// The keys of its services have changed.
    Certificates(Vec<Certificate>),
    /// The health report; it is a keepalive, too.
    Report(Map<String, Value>),
}

/// A later message of the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromCoordinator {
    /// The board is enrolled with this number.
    Welcome {
        number: u8,
    },
    /// The board waits for an owner's approval.
    Pending {
        number: u8,
    },
    /// The board is refused; the connection ends.
    Refused {
        reason: String,
    },
    Map(Box<SignedMap>),
    /// A keepalive.
    Ping,
}

/// Why a message is invalid.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMessage {
    #[error("it is no message of this protocol: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is longer than allowed for its kind.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
}

impl CoordinatorHello {
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidMessage> {
        Ok(serde_json::from_slice(at_most(payload, LONGEST_HELLO)?)?)
    }

    /// The sending node, whose TLS key is `peer`, and the epoch of that key.
    ///
    /// # Errors
    /// The certificate is for another key or unit.
    pub fn node(&self, peer: PublicKey) -> Result<(PublicKey, u64), HelloError> {
        node_behind(&self.certificate, CLUSTER, peer)
    }
}

impl Join {
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidMessage> {
        Ok(serde_json::from_slice(at_most(payload, LONGEST)?)?)
    }

    /// The sending node, whose TLS key is `peer`, and the epoch of that key.
    ///
    /// # Errors
    /// The certificate is for another key or unit.
    pub fn node(&self, peer: PublicKey) -> Result<(PublicKey, u64), HelloError> {
        node_behind(&self.certificate, CLUSTER, peer)
    }
}

impl FromBoard {
    /// Decodes a message.
    ///
    /// # Errors
    /// The message is malformed, or a report is too long.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidMessage> {
        let message = serde_json::from_slice(payload)?;
        match message {
            Self::Report(_) => at_most(payload, LONGEST_REPORT).map(drop)?,
            _ => at_most(payload, LONGEST).map(drop)?,
        }
        Ok(message)
    }
}

impl FromCoordinator {
    /// Decodes a message. Unprintable characters are removed from a reason.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidMessage> {
        let message = serde_json::from_slice(at_most(payload, LONGEST)?)?;
        Ok(match message {
            Self::Refused { reason } => {
                let shown = reason.chars().filter(|it| !is_control_or_format(*it));
                let mut length = 0;
                let fits = shown.take_while(|it| {
                    length += it.len_utf8();
                    length <= LONGEST_REASON
                });
                Self::Refused { reason: fits.collect() }
            }
            other => other,
        })
    }
}

fn at_most(payload: &[u8], longest: usize) -> Result<&[u8], InvalidMessage> {
    if payload.len() > longest { Err(InvalidMessage::TooLong(longest)) } else { Ok(payload) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn each_reads_as_it_was_written() {
        let version = MapVersion { epoch: 1, sequence: 2 };
        let report = json!({"state": "ready"}).as_object().unwrap().clone();
        for message in
            [FromBoard::Have(version), FromBoard::Certificates(vec![]), FromBoard::Report(report)]
        {
            let json = serde_json::to_vec(&message).unwrap();
            assert_eq!(FromBoard::parse(&json).unwrap(), message);
        }
        let refused = FromCoordinator::Refused { reason: "no".into() };
        for message in [FromCoordinator::Welcome { number: 3 }, refused, FromCoordinator::Ping] {
            let json = serde_json::to_vec(&message).unwrap();
            assert_eq!(FromCoordinator::parse(&json).unwrap(), message);
        }
        assert_eq!(serde_json::to_value(FromCoordinator::Ping).unwrap(), json!("ping"));
        let have = json!({"have": {"epoch": 1, "sequence": 2}});
        assert_eq!(serde_json::to_value(FromBoard::Have(version)).unwrap(), have);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let report = |length: usize| {
            let report = json!({"report": {"text": "x".repeat(length)}});
            FromBoard::parse(report.to_string().as_bytes())
        };
        assert!(report(LONGEST_REPORT - 100).is_ok());
        assert!(matches!(report(LONGEST_REPORT), Err(InvalidMessage::TooLong(_))));
        let reason = json!({"refused": {"reason": format!("a\n{}", "ä".repeat(2000))}}).to_string();
        let FromCoordinator::Refused { reason } =
            FromCoordinator::parse(reason.as_bytes()).unwrap()
        else {
            panic!("{reason}")
        };
        assert!(reason.starts_with("aä") && reason.len() == LONGEST_REASON - 1);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            let _ = CoordinatorHello::parse(text.as_bytes());
            let _ = Join::parse(text.as_bytes());
            let _ = FromBoard::parse(text.as_bytes());
            let _ = FromCoordinator::parse(text.as_bytes());
        }
    }
}
