//! `[[origin]]`: web origins of which nodes of this box keep copies.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::cluster::Cluster;
use crate::document::span_of;
use crate::file_error::FileError;
use crate::name::OriginName;

/// Maximum number of origins of a box.
const MAX_ORIGINS: usize = 64;

/// Maximum number of further fronts: `lan` has room for their addresses.
const MAX_FRONTS: usize = 7;

/// Maximum number of names in `cookies`, `headers` and `allow`.
const MAX_NAMES: usize = 32;

/// `[[origin]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginSection {
    /// The first label of the front: `http://NAME.APPLIANCE.internal:8080`.
    pub name: OriginName,
    pub upstream: Upstream,
    /// Certificates of the authorities that the upstream's certificate may be from, in PEM; without them, those of
    /// Mozilla.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The board whose cache is the front, and which fetches; without one, the router, or the box itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<u8>,
    /// Other boards whose caches are fronts, too: they keep what they got from `board`, and ask it for the rest. 7 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fronts: Vec<u8>,
    /// Those of `fronts` that fetch while `board` does not answer; the first that answers does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standby: Vec<u8>,
    /// The largest body of a response, and of all that arrive at the same time together.
    #[serde(default = "default_bytes")]
    pub max_bytes: Bytes,
    /// The time to the first byte of a response, and then between bytes: 1 to 3600 s.
    #[serde(default)]
    pub max_seconds: OriginSeconds,
    /// The largest head of a response in bytes: 8192 to 262144.
    #[serde(default)]
    pub max_header_bytes: HeaderBytes,
    /// The cookies of a request that go up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<String>,
    /// The headers of a request that go up, besides those of HTTP itself.
    #[serde(default = "default_headers")]
    pub headers: Vec<String>,
    /// Networks that are connected to although they are not globally reachable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowedNetwork>,
    /// RFC 5861, if the response does not say it.
    #[serde(default)]
    pub stale_if_error_seconds: u32,
    #[serde(default)]
    pub stale_while_revalidate_seconds: u32,
}

fn default_bytes() -> Bytes {
    Bytes::new(1 << 30)
}

fn default_headers() -> Vec<String> {
    ["accept", "accept-language"].map(str::to_owned).into()
}

/// The web server of an origin: `https://host`, `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Upstream {
    pub is_https: bool,
    /// A name, or an address; of IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

/// Text that is not the URL of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an upstream: write `https://` or `http://`, a host, and maybe a port, such as https://example.com, without a path"
)]
pub struct InvalidUpstream(String);

impl Upstream {
    /// The field `Host`: the port only if it is not the scheme's own (RFC 9110, 4.2).
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.default_port() { host } else { format!("{host}:{}", self.port) }
    }

    fn default_port(&self) -> u16 {
        if self.is_https { 443 } else { 80 }
    }
}

impl TryFrom<String> for Upstream {
    type Error = InvalidUpstream;

    fn try_from(text: String) -> Result<Self, InvalidUpstream> {
        Self::parse(&text).ok_or(InvalidUpstream(text))
    }
}

impl Upstream {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(inside) => {
                let (host, after) = inside.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        let is_address = host.contains(':');
        if host.is_empty() || host.len() > 253 || !(is_address || host.bytes().all(is_host)) {
            return None;
        }
        let digits = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            None if is_https => 443,
            None => 80,
            Some(port) => Some(port).filter(digits)?.parse().ok().filter(|port| *port != 0)?,
        };
        Some(Self { is_https, host: host.to_ascii_lowercase(), port })
    }
}

impl From<Upstream> for String {
    fn from(upstream: Upstream) -> String {
        upstream.to_string()
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// 1 to 3600 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct OriginSeconds(u64);

#[derive(Debug, thiserror::Error)]
#[error("{0} seconds cannot be waited: 1 to 3600 can")]
pub struct InvalidOriginSeconds(u64);

impl Default for OriginSeconds {
    fn default() -> Self {
        Self(60)
    }
}

impl TryFrom<u64> for OriginSeconds {
    type Error = InvalidOriginSeconds;

    fn try_from(seconds: u64) -> Result<Self, InvalidOriginSeconds> {
        let is_valid = (1..=3600).contains(&seconds);
        is_valid.then_some(Self(seconds)).ok_or(InvalidOriginSeconds(seconds))
    }
}

impl From<OriginSeconds> for u64 {
    fn from(seconds: OriginSeconds) -> u64 {
        seconds.0
    }
}

/// 8192 to 262144 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct HeaderBytes(u64);

#[derive(Debug, thiserror::Error)]
#[error("a head of {0} bytes cannot be the largest: 8192 to 262144 can")]
pub struct InvalidHeaderBytes(u64);

impl Default for HeaderBytes {
    fn default() -> Self {
        Self(16384)
    }
}

impl TryFrom<u64> for HeaderBytes {
    type Error = InvalidHeaderBytes;

    fn try_from(bytes: u64) -> Result<Self, InvalidHeaderBytes> {
        (8192..=262_144).contains(&bytes).then_some(Self(bytes)).ok_or(InvalidHeaderBytes(bytes))
    }
}

impl From<HeaderBytes> for u64 {
    fn from(bytes: HeaderBytes) -> u64 {
        bytes.0
    }
}

/// A network, such as `192.168.1.0/24` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowedNetwork {
    address: IpAddr,
    length: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a network, such as 192.168.1.0/24 or fd00::/8")]
pub struct InvalidAllowedNetwork(String);

/// The 128 bits of an address, aligned to the left, and how many it has.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

impl AllowedNetwork {
    pub fn contains(&self, address: IpAddr) -> bool {
        let ((own, family), (other, other_family)) = (bits(self.address), bits(address));
        let rest = 128 - u32::from(self.length);
        family == other_family && (own ^ other).checked_shr(rest).unwrap_or(0) == 0
    }
}

impl TryFrom<String> for AllowedNetwork {
    type Error = InvalidAllowedNetwork;

    fn try_from(text: String) -> Result<Self, InvalidAllowedNetwork> {
        let parse = || {
            let (address, length) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let length: u8 = length.parse().ok()?;
            let (own, family) = bits(address);
            let below = own.checked_shl(u32::from(length)).unwrap_or(0);
            (length <= family && below == 0).then_some(Self { address, length })
        };
        parse().ok_or(InvalidAllowedNetwork(text))
    }
}

impl From<AllowedNetwork> for String {
    fn from(network: AllowedNetwork) -> String {
        format!("{}/{}", network.address, network.length)
    }
}

/// Headers that cannot be listed: HTTP's own, of the connection, or decided elsewhere.
const NOT_LISTED: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn is_token(text: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_char)
}

/// Checks constraints between these sections, which were read from `text`, the content of `file`, and the box.
pub(crate) fn check(
    origins: &[OriginSection],
    cluster: Option<&Cluster>,
    (file, text): (&str, &str),
) -> Result<(), Box<FileError>> {
    for (index, one) in origins.iter().enumerate() {
        let wrong = |key: &str, message: String, hint: &str| {
            let at = span_of(text, &["origin", &index.to_string(), key]);
            Err(FileError::new(file, text, at, message, hint))
        };
        if index == MAX_ORIGINS {
            return wrong("name", format!("more than {MAX_ORIGINS} origins"), "remove some");
        }
        if origins[..index].iter().any(|other| other.name == one.name) {
            let message = format!("two origins are called `{}`", one.name);
            return wrong("name", message, "a name is one host: rename one of them");
        }
        for (key, names) in [("cookies", &one.cookies), ("headers", &one.headers)] {
            if let Some(name) = names.iter().find(|name| !is_token(name)) {
                let message = format!("`{name}` cannot be a name in `{key}`");
                return wrong(key, message, "use a token of RFC 9110, of 64 characters at most");
            }
            if names.len() > MAX_NAMES {
                return wrong(key, format!("more than {MAX_NAMES} names"), "remove some");
            }
        }
        let is_own = |name: &&String| NOT_LISTED.contains(&name.to_ascii_lowercase().as_str());
        if let Some(name) = one.headers.iter().find(is_own) {
            let message = format!("`{name}` cannot be listed");
            return wrong("headers", message, "remove it: docs/origin.md says which headers go up");
        }
        if one.allow.len() > MAX_NAMES {
            return wrong("allow", format!("more than {MAX_NAMES} networks"), "remove some");
        }
        if one.ca.is_some() && !one.upstream.is_https {
            let message = format!("`{}` is not HTTPS, and has no certificate", one.upstream);
            return wrong("ca", message, "remove `ca`, or write https://");
        }
        if one.fronts.len() > MAX_FRONTS {
            let message = format!("more than {MAX_FRONTS} further fronts");
            return wrong("fronts", message, "remove some");
        }
        let wrong_front = |board: u8| {
            let is_other = one.board != Some(board);
            let is_there = cluster.is_some_and(|it| (1..=it.boards).contains(&board));
            let is_once = one.fronts.iter().filter(|it| **it == board).count() == 1;
            !(is_other && is_there && is_once)
        };
        if let Some(board) = one.fronts.iter().find(|board| wrong_front(**board)) {
            let message = format!("board {board} cannot be a further front");
            let hint = "name boards of the box that are not `board`, each once";
            return wrong("fronts", message, hint);
        }
        let is_stranger = |board: &&u8| {
            let is_once = one.standby.iter().filter(|it| it == board).count() == 1;
            !(is_once && one.fronts.contains(board))
        };
        if let Some(board) = one.standby.iter().find(is_stranger) {
            let message = format!("board {board} cannot be a standby");
            return wrong("standby", message, "name boards of `fronts`, each once");
        }
        if !one.fronts.is_empty() && one.board.is_none() {
            let message = "further fronts ask a board, and none is named".to_owned();
            return wrong("fronts", message, "say with `board = N` which one fetches");
        }
        match (one.board, cluster) {
            (Some(board), None) => {
                let message = format!("there is no board {board}: this box has no [cluster]");
                return wrong("board", message, "leave the line out: the box itself fetches");
            }
            (Some(board), Some(cluster)) if !(1..=cluster.boards).contains(&board) => {
                let message = format!("there is no board {board}: the box has {}", cluster.boards);
                return wrong("board", message, "see `boards` in [cluster]");
            }
            (None, Some(cluster)) if !cluster.router.is_octet() => {
                let message = "the router, which runs OpenWrt, has no cache".to_owned();
                return wrong("name", message, "say with `board = N` which board fetches");
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
