//! The protocol of a policy.

use serde::{Deserialize, Serialize};

use super::InvalidPolicy;
use crate::unit::Protocol;

/// The name of [`super::MPLS_IN_IP`].
pub(super) const MPLS_IN_IP: &str = "mpls-in-ip";

/// `"tcp"`, `"icmp"` or a number.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub(super) enum ProtocolName {
    Transport(Protocol),
    Ping,
    /// A protocol without ports that has no name here, or [`super::MPLS_IN_IP`].
    Number(u8),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Raw {
    Number(i64),
    Name(String),
}

impl TryFrom<Raw> for ProtocolName {
    type Error = InvalidPolicy;

    fn try_from(raw: Raw) -> Result<Self, InvalidPolicy> {
        match raw {
            Raw::Number(number) => match u8::try_from(number) {
                Ok(number) => from_number(number),
                Err(_) => Err(InvalidPolicy::Protocol(number.to_string())),
            },
            Raw::Name(name) => match name.as_str() {
                "tcp" => Ok(Self::Transport(Protocol::Tcp)),
                "udp" => Ok(Self::Transport(Protocol::Udp)),
                "icmp" => Ok(Self::Ping),
                MPLS_IN_IP => Ok(Self::Number(super::MPLS_IN_IP)),
                _ => Err(InvalidPolicy::Protocol(name)),
            },
        }
    }
}

fn from_number(number: u8) -> Result<ProtocolName, InvalidPolicy> {
    match number {
        6 => Err(InvalidPolicy::HasName(number, "tcp")),
        17 => Err(InvalidPolicy::HasName(number, "udp")),
        1 | 58 => Err(InvalidPolicy::HasName(number, "icmp")),
        super::MPLS_IN_IP => Err(InvalidPolicy::HasName(number, MPLS_IN_IP)),
        // IANA, "IPv6 Extension Header Types"; without ESP and AH, which carry flows.
        0 | 43 | 44 | 51 | 60 | 135 | 139 | 140 => Err(InvalidPolicy::Extension(number)),
        _ => Ok(ProtocolName::Number(number)),
    }
}

impl From<ProtocolName> for Raw {
    fn from(protocol: ProtocolName) -> Raw {
        match protocol {
            ProtocolName::Transport(protocol) => Raw::Name(protocol.as_str().into()),
            ProtocolName::Ping => Raw::Name("icmp".into()),
            ProtocolName::Number(super::MPLS_IN_IP) => Raw::Name(MPLS_IN_IP.into()),
            ProtocolName::Number(number) => Raw::Number(number.into()),
        }
    }
}
