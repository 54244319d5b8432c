//! `[vpn]`: the owner's devices leave by another node, and the constants that all involved parts
//! share.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Lan};
use crate::document::span_of;
use crate::file_error::{FileError, nearest};
use crate::name::NeighbourName;
use crate::neighbour::Neighbour;

/// The routing table for traffic of the owner's devices to the outside.
pub const VPN_TABLE: u8 = 201;

/// Maximum number of nodes that use one exit.
pub const MAX_EXIT_ADDRESSES: u8 = 16;

/// The network of the addresses that an exit assigns: the last /24 of the range for carrier-grade
/// NAT (100.64.0.0/10, RFC 6598).
const EXIT_PREFIX: [u8; 3] = [100, 127, 255];

/// `[vpn]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vpn {
    /// The exit node.
    pub exit: ExitNode,
}

/// A node: by its name in `[[neighbour]]`, or by its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ExitNode {
    /// `hill`
    Line(NeighbourName),
    /// `fc15:3721:cd76:a4c1:f90b:3b88:f618:593d`
    Node(Ipv6Addr),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a node: write what a [[neighbour]] line calls it, or its address in fc00::/8, as `forward status` there shows it"
)]
pub struct InvalidExit(String);

impl TryFrom<String> for ExitNode {
    type Error = InvalidExit;

    fn try_from(text: String) -> Result<Self, InvalidExit> {
        match text.parse::<Ipv6Addr>() {
            Ok(ip) if ip.octets()[0] == 0xfc => Ok(Self::Node(ip)),
            Ok(_) => Err(InvalidExit(text)),
            Err(_) => text.parse().map(Self::Line).map_err(|_| InvalidExit(text)),
        }
    }
}

impl From<ExitNode> for String {
    fn from(exit: ExitNode) -> String {
        exit.to_string()
    }
}

impl fmt::Display for ExitNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(name) => name.fmt(f),
            Self::Node(ip) => ip.fmt(f),
        }
    }
}

/// The address that an exit assigns with the slot of this number, 1 to [`MAX_EXIT_ADDRESSES`].
pub const fn exit_address(number: u8) -> Ipv4Addr {
    let [a, b, c] = EXIT_PREFIX;
    Ipv4Addr::new(a, b, c, number)
}

/// All such addresses, in nft's syntax.
pub fn exit_addresses() -> String {
    format!("{}/24", exit_address(0))
}

/// Whether this may be such an address.
pub fn is_exit_address(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(four) if four.octets().starts_with(&EXIT_PREFIX))
}

/// Checks constraints between this section and the box, which were read from `text`, the content of
/// `file`.
pub(crate) fn check(
    vpn: &Vpn,
    (cluster, lan, neighbours): (&Cluster, Option<&Lan>, &[Neighbour]),
    (file, text): (&str, &str),
) -> Result<(), Box<FileError>> {
    let wrong = |keys: &[&str], message: &str, hint: String| {
        Err(FileError::new(file, text, span_of(text, keys), message.to_owned(), hint))
    };
    if !cluster.router.is_octet() {
        let message = "the router, which runs OpenWrt, has no paths to an exit";
        return wrong(&["vpn"], message, "leave [vpn] out".into());
    }
    if lan.is_none() {
        let message = "the box has no `lan`, whose devices would leave by the VPN";
        return wrong(&["vpn"], message, "add a section [lan], or leave [vpn] out".into());
    }
    if let ExitNode::Line(name) = &vpn.exit
        && !neighbours.iter().any(|line| line.name == *name)
    {
        let known = neighbours.iter().map(|line| line.name.as_str());
        let hint = match nearest(name.as_str(), known)[..] {
            [] => "name a [[neighbour]] line, or give the node's address in fc00::/8".into(),
            [best, ..] => format!("did you mean `{best}`?"),
        };
        return wrong(&["vpn", "exit"], &format!("no [[neighbour]] is called `{name}`"), hint);
    }
    if neighbours.iter().all(|line| line.board.is_some()) {
        let message =
            "the router has no link to another box, by which a path could lead to the exit";
        let hint = "add a [[neighbour]] without `board`: docs/forwarding.md".into();
        return wrong(&["vpn", "exit"], message, hint);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
