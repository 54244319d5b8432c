//! Ports and sockets of a unit.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::UnitName;
use crate::path::ImagePath;

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

impl Protocol {
    /// Its name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A protocol and a port: `"tcp/443"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Port {
    /// The protocol.
    pub protocol: Protocol,
    /// The port, 1 to 65535.
    pub number: u16,
}

/// Text that is not a protocol and port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a protocol and port: write tcp or udp, `/` and 1 to 65535, such as \"tcp/443\""
)]
pub struct InvalidPort(String);

impl TryFrom<String> for Port {
    type Error = InvalidPort;

    fn try_from(text: String) -> Result<Self, InvalidPort> {
        let parse = |text: &str| {
            let (protocol, number) = text.split_once('/')?;
            let protocol =
                [Protocol::Tcp, Protocol::Udp].into_iter().find(|p| p.as_str() == protocol)?;
            let plain = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
            let number = number.parse().ok().filter(|_| plain)?;
            Some(Self { protocol, number })
        };
        parse(&text).ok_or(InvalidPort(text))
    }
}

impl From<Port> for String {
    fn from(port: Port) -> String {
        port.to_string()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol.as_str(), self.number)
    }
}

/// A socket that is opened before the unit is started and stays open when it ends, so that nobody
/// who connects is refused in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UnitSocket {
    /// A stream socket in the file system: `/run/octet/<unit>.sock`, or
    /// `/run/octet/<unit>.<name>.sock`.
    pub path: Option<ImagePath>,
    /// Whether every user may connect to `path`, not only the unit's own, root and those of units that bring operators.
    #[serde(default)]
    pub open: bool,
    /// One of the unit's `ports`, on every address.
    pub port: Option<UnitName>,
    /// Whether `port` is one of IPv4 alone, and not of both versions of IP.
    #[serde(default)]
    pub ipv4_only: bool,
    /// All messages of a protocol, to be heard and sent. Only a unit of Octet's own can be trusted with
    /// that.
    #[serde(default)]
    pub raw: Option<RawProtocol>,
}

/// A protocol without ports that a unit may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawProtocol {
    /// ICMP (RFC 792), of which echo requests are part.
    Icmp,
    /// ICMPv6 (RFC 4443), of which router advertisements are part (RFC 4861).
    Icmpv6,
}
