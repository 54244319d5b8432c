//! `[ledger]`: the ledger between the owners of boxes, in which a node takes part that has the unit `ledger`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::public_key::PublicKey;

/// `[ledger]`
///
/// Without this section the unit `ledger` waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSection {
    /// The genesis file, all of it: the same text on all boxes (`octetctl ledger genesis` checks it).
    pub genesis: String,
    /// The other validators, and nodes that follow them.
    #[serde(default)]
    pub peer: Vec<LedgerPeerSection>,
    /// How many of the newest blocks this node keeps, 1000 at least; without it all. Others can catch up, and owners
    /// audit, only by nodes that have the blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_blocks: Option<KeptBlocks>,
}

/// A number of blocks: 1000 at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct KeptBlocks(u64);

impl From<KeptBlocks> for u64 {
    fn from(kept: KeptBlocks) -> Self {
        kept.0
    }
}

/// Fewer than a node needs for those that were away.
#[derive(Debug, thiserror::Error)]
#[error("{0} blocks are fewer than 1000: others could not catch up")]
pub struct TooFewBlocks(u64);

impl TryFrom<u64> for KeptBlocks {
    type Error = TooFewBlocks;

    fn try_from(blocks: u64) -> Result<Self, TooFewBlocks> {
        if blocks < 1000 { Err(TooFewBlocks(blocks)) } else { Ok(Self(blocks)) }
    }
}

/// `[[ledger.peer]]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerPeerSection {
    /// The key of its unit `ledger`, as its `ledger show` has it.
    pub key: PublicKey,
    /// Its address and UDP port, such as `[fc12::7]:4435`; without one, it has to contact this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use crate::Appliance;

    const REST: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";

    #[test]
    fn peers_have_a_key_and_may_have_an_address() {
        let parse = |section: &str| Appliance::parse("appliance.toml", &format!("{REST}{section}"));
        assert_eq!(parse("").unwrap().ledger, None);
        let key = "did:key:z6MkkjFk7FpGkyQqiHB93AXjRa2duVUiChhZrWvzjSW2knWN";
        let one = format!("[[ledger.peer]]\nkey = \"{key}\"\n");
        let section = format!("[ledger]\ngenesis = \"name\"\n{one}{one}at = \"[fc00::7]:4435\"\n");
        let ledger = parse(&section).unwrap().ledger.unwrap();
        assert_eq!((ledger.genesis.as_str(), ledger.peer.len()), ("name", 2));
        let at: Vec<_> = ledger.peer.iter().map(|peer| peer.at).collect();
        assert_eq!(at, [None, Some("[fc00::7]:4435".parse().unwrap())]);
        let kept =
            |number: u32| parse(&format!("[ledger]\ngenesis = \"\"\nkeep_blocks = {number}\n"));
        assert!(kept(1000).unwrap().ledger.unwrap().keep_blocks.is_some());
        assert!(kept(999).unwrap_err().to_string().contains("fewer than 1000"));
        for bad in [one.as_str(), "[ledger]\n", "[ledger]\ngenesis = \"\"\nport = 1\n"] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("appliance.toml:"), "{error}");
        }
    }
}
