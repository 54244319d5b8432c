//! `[[neighbour]]`: nodes of other boxes to which nodes of this one have links.

use std::fmt;
use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::descriptor::PeerDescriptor;
use crate::document::span_of;
use crate::file_error::FileError;
use crate::name::NeighbourName;

/// The UDP port of a node's links: that of the unit `forward`.
pub const LINKS_PORT: u16 = 51820;

/// The router's number in the membership map.
const ROUTER: u8 = 0;

/// Maximum number of such links of a node: it cannot announce more.
const MAX_LINKS: usize = 32;

/// `[[neighbour]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Its name in this configuration.
    pub name: NeighbourName,
    pub descriptor: PeerDescriptor,
    /// Its address; without one, it has to contact this box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Endpoint>,
    /// The board of this box that has the link; the router, if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<u8>,
    /// What it owes for the bytes of paths that it asks this box for, in millionths of the unit of account for 2^30
    /// bytes; without a price, nothing. It counts with `[accounts]` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<u64>,
    /// The highest price at which this box pays it for the bytes of paths; without one it pays nothing. It counts
    /// with `[accounts]` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<u64>,
    /// What it owes for the bytes of objects that this box gives it, in the same units as `price`; without a price, nothing. It
    /// counts with `[accounts]` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_price: Option<u64>,
    /// The highest price at which this box pays it for the bytes of objects; without one it pays nothing. It counts with
    /// `[accounts]` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_object_price: Option<u64>,
    /// Whether it and this box pay each other on the ledger of `[ledger]`. Then prices are in millionths of a coin, and
    /// what is locked there counts instead of `max_debt`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ledger: bool,
}

impl Neighbour {
    /// Whether the node of this number has the link; 0 is the router, and `None` a box without boards.
    pub fn is_of(&self, number: Option<u8>) -> bool {
        self.board == number.filter(|number| *number != ROUTER)
    }
}

/// The address of another box's links: an IPv4 address and a UDP port, such as `203.0.113.7:51820`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(SocketAddrV4);

/// Text that is not a valid address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It cannot be parsed.
    #[error("`{0}` is not an IPv4 address with a port, such as 203.0.113.7:{LINKS_PORT}")]
    Text(String),
    /// No node of another box can have it.
    #[error(
        "{0} is not an address outside: write the address of the other box's uplink, and its port"
    )]
    Unusable(SocketAddrV4),
}

impl Endpoint {
    pub const fn socket(self) -> SocketAddrV4 {
        self.0
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;

    fn try_from(text: String) -> Result<Self, InvalidEndpoint> {
        let Ok(at) = text.parse::<SocketAddrV4>() else { return Err(InvalidEndpoint::Text(text)) };
        let ip = at.ip();
        // This network, loopback, multicast and reserved addresses (RFC 1112, section 4).
        let is_nobodys = ip.octets()[0] == 0 || ip.is_loopback() || ip.octets()[0] >= 224;
        if is_nobodys || ip.is_link_local() || at.port() == 0 {
            return Err(InvalidEndpoint::Unusable(at));
        }
        Ok(Self(at))
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> String {
        endpoint.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How a neighbour is paid, and pays.
fn prices(line: &Neighbour) -> ([Option<u64>; 4], bool) {
    let Neighbour { price, max_price, object_price, max_object_price, ledger, .. } = line;
    ([*price, *max_price, *object_price, *max_object_price], *ledger)
}

/// Checks constraints between these sections, which were read from `text`, the content of `file`,
/// and the box.
pub(crate) fn check(
    neighbours: &[Neighbour],
    cluster: Option<&Cluster>,
    has_ledger: bool,
    (file, text): (&str, &str),
) -> Result<(), Box<FileError>> {
    for (index, one) in neighbours.iter().enumerate() {
        let wrong = |key: &str, message: String, hint: &str| {
            let at = span_of(text, &["neighbour", &index.to_string(), key]);
            Err(FileError::new(file, text, at, message, hint))
        };
        if one.ledger && !has_ledger {
            let message = format!("`{}` is paid on a ledger, and there is no [ledger]", one.name);
            return wrong(
                "ledger",
                message,
                "name the ledger's genesis in [ledger], or remove the line",
            );
        }
        for other in &neighbours[..index] {
            let same = (one.name == other.name, one.descriptor.node() == other.descriptor.node());
            match same {
                (true, false) => {
                    let message = format!("two nodes are called `{}`", one.name);
                    return wrong("name", message, "a name means one node: rename one of them");
                }
                (false, true) => {
                    let message = format!("this node is called `{}` already", other.name);
                    return wrong("name", message, "a node has one name: use that one, too");
                }
                (true, true) if one.descriptor != other.descriptor => {
                    let message = format!("there is another descriptor of `{}`", one.name);
                    return wrong(
                        "descriptor",
                        message,
                        "use the one that it prints now in all lines",
                    );
                }
                (true, true) if prices(one) != prices(other) => {
                    let message = format!("`{}` has another price already", one.name);
                    return wrong("name", message, "one node has one price: use it in all lines");
                }
                (true, true) if one.board == other.board => {
                    let message = format!("`{}` is there twice", one.name);
                    return wrong("name", message, "two nodes have one link: remove a line");
                }
                // The key of its `forward` identifies a node, too.
                (false, false) if one.descriptor.key() == other.descriptor.key() => {
                    let message = format!("`{}` has the same key of `forward`", other.name);
                    return wrong(
                        "descriptor",
                        message,
                        "one of the two is not who it says: ask both",
                    );
                }
                _ => {}
            }
        }
        let of_one = neighbours[..index].iter().filter(|other| other.board == one.board);
        if of_one.count() >= MAX_LINKS {
            let message = format!("one node has more than {MAX_LINKS} neighbours in other boxes");
            return wrong("name", message, "give links to another board with `board = N`");
        }
        match (one.board, cluster) {
            (Some(board), None) => {
                let message = format!("there is no board {board}: this box has no [cluster]");
                return wrong("board", message, "leave the line out: the box itself has the link");
            }
            (Some(board), Some(cluster)) if !(1..=cluster.boards).contains(&board) => {
                let message = format!("there is no board {board}: the box has {}", cluster.boards);
                return wrong("board", message, "see `boards` in [cluster]");
            }
            (None, Some(cluster)) if !cluster.router.is_octet() => {
                let message = "the router, which runs OpenWrt, has no links".to_owned();
                return wrong("name", message, "say with `board = N` which board has this one");
            }
            _ => {}
        }
        if let Some((at, cluster)) = one.at.zip(cluster)
            && cluster.network.contains(*at.0.ip())
        {
            let message = format!("{at} is inside of this box ({})", cluster.network);
            return wrong("at", message, "boards of one box are neighbours without a line");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
