//! The kind of router, and the address of one that runs OpenWrt.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::InvalidCluster;
use crate::fingerprint::Fingerprint;

/// The kind of router: `"octet"`, `"openwrt"`, or a table with the address of the latter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RouterKind {
    /// A node that runs this image. It is the coordinator.
    #[default]
    Octet,
    /// A router with OpenWrt, which is not a node: the board with the role `manager` is the
    /// coordinator.
    OpenWrt(Option<RouterContact>),
}

/// How a router with OpenWrt is contacted, from the owner's machine or by the unit `router`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterContact {
    /// The address of its web server.
    pub address: RouterAddress,
    pub fingerprint: Fingerprint,
}

/// An IP address or a name, with `:PORT` if it is not 443; an IPv6 address with a port is
/// `[ADDRESS]:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RouterAddress(String);

impl RouterKind {
    pub fn is_octet(&self) -> bool {
        *self == Self::Octet
    }

    /// How it is contacted, if it runs OpenWrt and the configuration has its address.
    pub fn contact(&self) -> Option<&RouterContact> {
        match self {
            Self::OpenWrt(contact) => contact.as_ref(),
            Self::Octet => None,
        }
    }
}

/// The default port of its web server.
const HTTPS: u16 = 443;

impl RouterAddress {
    pub fn port(&self) -> u16 {
        let (_, port) = parts(&self.0);
        port.and_then(|port| port.parse().ok()).unwrap_or(HTTPS)
    }
}

/// Splits the text into host and port.
fn parts(text: &str) -> (&str, Option<&str>) {
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or_default())),
        // Text with more than one `:` is an IPv6 address.
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    }
}

const OCTET: &str = "octet";
const OPENWRT: &str = "openwrt";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kind: Kind,
    address: RouterAddress,
    fingerprint: Fingerprint,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "openwrt")]
    OpenWrt,
}

impl Serialize for RouterKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Octet => serializer.serialize_str(OCTET),
            Self::OpenWrt(None) => serializer.serialize_str(OPENWRT),
            Self::OpenWrt(Some(RouterContact { address, fingerprint })) => {
                let (address, fingerprint) = (address.clone(), *fingerprint);
                Table { kind: Kind::OpenWrt, address, fingerprint }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for RouterKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrTable)
    }
}

struct TextOrTable;

impl<'de> Visitor<'de> for TextOrTable {
    type Value = RouterKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "`\"octet\"`, `\"openwrt\"` or `{ kind = \"openwrt\", address = …, fingerprint = … }`",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RouterKind, E> {
        match text {
            OCTET => Ok(RouterKind::Octet),
            OPENWRT => Ok(RouterKind::OpenWrt(None)),
            other => Err(E::unknown_variant(other, &[OCTET, OPENWRT])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RouterKind, A::Error> {
        let Table { kind: Kind::OpenWrt, address, fingerprint } =
            Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RouterKind::OpenWrt(Some(RouterContact { address, fingerprint })))
    }
}

impl TryFrom<String> for RouterAddress {
    type Error = InvalidCluster;

    fn try_from(text: String) -> Result<Self, InvalidCluster> {
        let (host, port) = parts(&text);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".:-_%".contains(c);
        let is_port = port.is_none_or(|port| {
            !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        let is_host = !host.is_empty() && host.chars().all(is_plain);
        if is_host && is_port { Ok(Self(text)) } else { Err(InvalidCluster::RouterAddress(text)) }
    }
}

impl std::str::FromStr for RouterAddress {
    type Err = InvalidCluster;

    fn from_str(text: &str) -> Result<Self, InvalidCluster> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for RouterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<RouterAddress> for String {
    fn from(address: RouterAddress) -> String {
        address.0
    }
}
