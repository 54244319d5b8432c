//! The overlay address and DNS name of a node. Both are derived from its key, so that no authority assigns them
//! and each node can verify another's.

use std::fmt;
use std::net::Ipv6Addr;

use data_encoding::BASE32_NOPAD;
use octet_appliance::{ExitNode, Neighbour, Vpn};
use octet_control::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The prefix of the key in the hash that gives an address.
const PREFIX: &[u8] = b"octet address 1\0";

/// The DNS zone of nodes and services.
pub const ZONE: &str = "octet";

/// The length of a key in base32.
const LETTERS: usize = 52;

/// The network of all nodes, with its prefix length: the half of the unique local addresses (RFC 4193) that
/// neither a registry nor random prefixes use.
pub const NETWORK: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 8);

/// The address of a node: 0xfc, then the first 120 bits of SHA-256 (`octet address 1`, a zero byte, the node's
/// key).
///
/// Impersonating a given node takes another key with the same 120 bits: 2^120 attempts. A collision of two own
/// keys takes 2^60 attempts, but gains nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Ipv6Addr", into = "Ipv6Addr")]
pub struct NodeAddress(Ipv6Addr);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a node's address: it is not in fc00::/8")]
pub struct NotANode(Ipv6Addr);

impl NodeAddress {
    /// The address of the node with this key.
    pub fn of(node: &PublicKey) -> Self {
        let digest = Sha256::new().chain_update(PREFIX).chain_update(node.as_bytes()).finalize();
        let mut octets = [0; 16];
        octets[0] = 0xfc;
        octets[1..].copy_from_slice(&digest[..15]);
        Self(octets.into())
    }

    /// The address as 16 bytes in network order.
    pub fn octets(self) -> [u8; 16] {
        self.0.octets()
    }

    pub fn ip(self) -> Ipv6Addr {
        self.0
    }
}

impl TryFrom<Ipv6Addr> for NodeAddress {
    type Error = NotANode;

    fn try_from(ip: Ipv6Addr) -> Result<Self, NotANode> {
        if ip.octets()[0] == 0xfc { Ok(Self(ip)) } else { Err(NotANode(ip)) }
    }
}

impl From<NodeAddress> for Ipv6Addr {
    fn from(address: NodeAddress) -> Self {
        address.0
    }
}

impl TryFrom<[u8; 16]> for NodeAddress {
    type Error = NotANode;

    fn try_from(octets: [u8; 16]) -> Result<Self, NotANode> {
        Self::try_from(Ipv6Addr::from(octets))
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The exit node for the owner's devices; `None` if none of `neighbours` has this name.
pub fn exit(vpn: &Vpn, neighbours: &[Neighbour]) -> Option<NodeAddress> {
    match &vpn.exit {
        ExitNode::Line(name) => {
            let line = neighbours.iter().find(|line| line.name == *name)?;
            Some(NodeAddress::of(&line.descriptor.node()))
        }
        ExitNode::Node(ip) => NodeAddress::try_from(*ip).ok(),
    }
}

/// The DNS name of the node with this key: its 32 bytes in base32 (RFC 4648, section 6) without padding, in
/// lower case, and `.octet`.
pub fn name(node: &PublicKey) -> String {
    format!("{}.{ZONE}", BASE32_NOPAD.encode(node.as_bytes()).to_ascii_lowercase())
}

/// The key of the node with this name. Case is ignored, as in DNS (RFC 4343). Each key has exactly one name:
/// excess bits in the last letter are refused.
pub fn parse_name(name: &str) -> Option<PublicKey> {
    let (letters, zone) = name.split_once('.')?;
    if letters.len() != LETTERS || !zone.eq_ignore_ascii_case(ZONE) {
        return None;
    }
    let bytes = BASE32_NOPAD.decode(letters.to_ascii_uppercase().as_bytes()).ok()?;
    bytes.try_into().ok().map(PublicKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 8032, section 7.1, test 1.
    const KNOWN: [u8; 32] = [
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07,
        0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07,
        0x51, 0x1a,
    ];

    /// Computed with Python's hashlib and base64 from the documentation.
    #[test]
    fn the_known_key() {
        let key = PublicKey::new(KNOWN);
        assert_eq!(NodeAddress::of(&key).to_string(), "fc15:3721:cd76:a4c1:f90b:3b88:f618:593d");
        assert_eq!(name(&key), "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena.octet");
    }

    #[test]
    fn only_the_network_has_nodes() {
        assert!(NodeAddress::try_from(NETWORK.0).is_ok());
        for other in ["::", "fd00::1", "fb00::1", "fe80::1"] {
            assert!(NodeAddress::try_from(other.parse::<Ipv6Addr>().unwrap()).is_err(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_name_says_the_key(bytes: [u8; 32]) {
            let key = PublicKey::new(bytes);
            prop_assert_eq!(parse_name(&name(&key)), Some(key));
            prop_assert_eq!(parse_name(&name(&key).to_uppercase()), Some(key));
            prop_assert_eq!(NodeAddress::try_from(NodeAddress::of(&key).octets()), Ok(NodeAddress::of(&key)));
        }

        #[test]
        fn one_name_for_each_key(bytes: [u8; 32], at in 0usize..52, other in "[a-z0-9=.]") {
            let whole = name(&PublicKey::new(bytes));
            let changed = format!("{}{other}{}", &whole[..at], &whole[at + 1..]);
            if let Some(key) = parse_name(&changed) {
                prop_assert_eq!(name(&key), changed);
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,60}(\\.octet)?") {
            let _ = parse_name(&text);
        }
    }
}
