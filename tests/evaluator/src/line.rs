//! A rule as it was written: nothing is expanded.

use std::fmt;
use std::str::FromStr;

use crate::by::By;
use crate::traffic::Traffic;
use crate::zone::Zone;

/// A word of `from` and `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    One(Zone),
    Boards,
    Role(String),
}

/// The protocol and the ports of a rule; ranges include both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Tcp(u16, u16),
    Udp(u16, u16),
    Ping,
    Protocol(u8),
}

/// A policy or a built-in rule.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub by: By,
    pub from: Vec<Word>,
    pub to: Vec<Word>,
    pub what: Vec<What>,
    /// The maximum rate of new flows per second.
    pub rate: Option<u32>,
}

impl Line {
    pub fn is_policy(&self) -> bool {
        matches!(self.by, By::Policy(_))
    }
}

impl What {
    pub fn covers(self, traffic: Traffic) -> bool {
        match (self, traffic) {
            (Self::Tcp(first, last), Traffic::Tcp(port))
            | (Self::Udp(first, last), Traffic::Udp(port)) => first <= port && port <= last,
            (Self::Ping, Traffic::Ping) => true,
            (Self::Protocol(named), Traffic::Protocol(number)) => named == number,
            _ => false,
        }
    }
}

impl From<Traffic> for What {
    fn from(traffic: Traffic) -> Self {
        match traffic {
            Traffic::Tcp(port) => Self::Tcp(port, port),
            Traffic::Udp(port) => Self::Udp(port, port),
            Traffic::Ping => Self::Ping,
            Traffic::Protocol(number) => Self::Protocol(number),
        }
    }
}

impl FromStr for Word {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.strip_prefix("role:") {
            Some(role) => Ok(Self::Role(role.to_owned())),
            None if word == "boards" => Ok(Self::Boards),
            None => word.parse().map(Self::One),
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(zone) => write!(f, "{zone}"),
            Self::Boards => f.write_str("boards"),
            Self::Role(role) => write!(f, "role:{role}"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(first, last) if first == last => write!(f, "tcp/{first}"),
            Self::Udp(first, last) if first == last => write!(f, "udp/{first}"),
            Self::Tcp(first, last) => write!(f, "tcp/{first}-{last}"),
            Self::Udp(first, last) => write!(f, "udp/{first}-{last}"),
            Self::Ping => f.write_str("icmp"),
            Self::Protocol(number) => write!(f, "proto/{number}"),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(of: &[T]) -> String {
            of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        let Self { by, from, to, what, rate } = self;
        write!(f, "{by}: from {} to {}: {}", list(from), list(to), list(what))?;
        rate.map_or(Ok(()), |rate| write!(f, ", {rate} in a second"))
    }
}
