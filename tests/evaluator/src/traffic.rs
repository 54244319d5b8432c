//! The kinds of packets that rules distinguish.

use std::fmt;
use std::str::FromStr;

/// The first packet of a new flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    /// A TCP SYN to this port.
    Tcp(u16),
    /// A datagram to this port. UDP 67 of IPv4 from a board or `lan` to the router is a valid DHCP
    /// request: a broadcast from 0.0.0.0.
    Udp(u16),
    /// An echo request of ICMP or ICMPv6.
    Ping,
    /// A protocol without ports, by its number. Protocols that have names cannot be allowed by it.
    Protocol(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    V4,
    V6,
}

impl Version {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// Whether rules cannot use this number: protocols that have names, and extension headers of IPv6.
pub(crate) fn no_bare_protocol(number: u8) -> bool {
    let (icmp, tcp, udp, icmp6) = (1, 6, 17, 58);
    [icmp, tcp, udp, icmp6, 0, 43, 44, 51, 60, 135, 139, 140].contains(&number)
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "tcp/{port}"),
            Self::Udp(port) => write!(f, "udp/{port}"),
            Self::Ping => f.write_str("icmp"),
            Self::Protocol(number) => write!(f, "proto/{number}"),
        }
    }
}

impl FromStr for Traffic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no traffic: tcp/80, udp/53, icmp or proto/47");
        if text == "icmp" {
            return Ok(Self::Ping);
        }
        let (kind, number) = text.split_once('/').ok_or_else(wrong)?;
        let number: u16 = number.parse().map_err(|_| wrong())?;
        match kind {
            "tcp" => Ok(Self::Tcp(number)),
            "udp" => Ok(Self::Udp(number)),
            "proto" => number.try_into().map(Self::Protocol).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
