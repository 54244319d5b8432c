//! The settings' rules about which node may be which board.

use std::collections::BTreeMap;
use std::net::IpAddr;

use octet_appliance::{Board, Cluster, Enrol};
use octet_node::control::PublicKey;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentRules {
    cluster: Cluster,
    /// The named keys, each for one board.
    keys: BTreeMap<u8, PublicKey>,
}

/// Why the settings forbid a key at a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("the box has no board {0}")]
    NoBoard(u8),
    #[error("the settings name the key {0} for this board")]
    AnotherNamed(PublicKey),
    /// The key is named for another board.
    #[error("the settings name this key for board {0}")]
    NamedElsewhere(u8),
    /// No key is named, but one is required.
    #[error("the settings name no key for this board, and `enrol` is \"pinned\"")]
    NoneNamed,
}

impl EnrolmentRules {
    pub fn new(cluster: &Cluster, boards: &[Board]) -> Self {
        let keys = boards.iter().filter_map(|board| Some((board.number, board.key?)));
        Self { cluster: cluster.clone(), keys: keys.collect() }
    }

    pub fn enrol(&self) -> Enrol {
        self.cluster.enrol
    }

    /// The numbers of the boards.
    pub fn numbers(&self) -> std::ops::RangeInclusive<u8> {
        1..=self.cluster.boards
    }

    /// Whether `node` is named as board `number`: it needs no approval.
    pub fn names(&self, number: u8, node: &PublicKey) -> bool {
        self.keys.get(&number) == Some(node)
    }

    /// Checks that `node` may be board `number`.
    pub fn check(&self, number: u8, node: &PublicKey) -> Result<(), Forbidden> {
        let elsewhere = self.keys.iter().find(|(other, key)| **other != number && *key == node);
        match (self.keys.get(&number), elsewhere) {
            _ if !self.numbers().contains(&number) => Err(Forbidden::NoBoard(number)),
            (Some(named), _) if named != node => Err(Forbidden::AnotherNamed(*named)),
            (_, Some((other, _))) => Err(Forbidden::NamedElsewhere(*other)),
            (None, _) if self.enrol() == Enrol::Pinned => Err(Forbidden::NoneNamed),
            _ => Ok(()),
        }
    }

    /// Checks that the coordinator `node` may also be board `number`. Its key is not enrolled, so
    /// it need not be named; 0 is not a board.
    ///
    /// # Errors
    /// The settings name another for this board, or this one for another.
    pub fn check_coordinator(&self, number: u8, node: &PublicKey) -> Result<(), Forbidden> {
        match self.check(number, node) {
            Err(Forbidden::NoBoard(0) | Forbidden::NoneNamed) => Ok(()),
            checked => checked,
        }
    }

    /// The addresses of board `number`.
    pub fn addresses(&self, number: u8) -> Vec<IpAddr> {
        if !self.numbers().contains(&number) {
            return vec![];
        }
        let (v4, v6) = self.cluster.addresses(number);
        vec![v4.into(), v6.into()]
    }
}
