//! The cluster's map: which node each board is, and what each says about the keys of its services. The
//! coordinator signs it, every node keeps the newest, and it is the only word on who is a neighbour.

mod follow;
mod signed;

pub use follow::{MAP, Update, follow};
pub use signed::{InvalidMap, SignedMap};

use std::collections::BTreeSet;
use std::net::IpAddr;

use octet_control::PublicKey;
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::record::SeatRecord;

/// The version of the format.
const FORMAT: u32 = 1;

/// The highest number of a board.
pub const HIGHEST: u8 = 32;

/// How many services' keys of one node it names at most.
pub const MAX_CERTIFICATES: usize = 24;

/// How many addresses of one node it names at most.
pub const MAX_ADDRESSES: usize = 4;

/// How many revoked keys it names at most.
pub const MAX_REVOKED: usize = 256;

/// The longest map as text, in bytes.
pub const LONGEST: usize = 256 << 10;

/// The unit whose key signs it.
pub use octet_control::CLUSTER;

/// Which of two maps is newer: the epoch ranks above the sequence.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct MapVersion {
    /// How often the coordinator was changed.
    pub epoch: u64,
    /// How often the map was, by any coordinator of this epoch.
    pub sequence: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    format: Format,
    /// The node that holds it.
    pub coordinator: PublicKey,
    pub version: MapVersion,
    /// All nodes of the box, the coordinator among them, in the order of their numbers.
    pub members: Vec<Member>,
    /// Keys of nodes that are never to be believed again.
    pub revoked: Vec<PublicKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its number: that of the port which it is plugged into; 0 is the router.
    pub number: u8,
    pub node: PublicKey,
    /// Where the others reach it. The router has none here: in the network of board N it is host 1.
    pub addresses: Vec<IpAddr>,
    /// What it says about the keys of its services, in the order of their names.
    pub certificates: Vec<Certificate>,
    /// What an owner says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<SeatRecord>,
    /// Whether nothing is to be placed on it: what runs there but the base units has ended, or is about to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Format;

impl TryFrom<u32> for Format {
    type Error = String;

    fn try_from(format: u32) -> Result<Self, String> {
        (format == FORMAT).then_some(Self).ok_or_else(|| format!("format {format} is not known"))
    }
}

impl From<Format> for u32 {
    fn from(_: Format) -> u32 {
        FORMAT
    }
}

impl Map {
    /// A map, whose [`rules`](Self::check) are yet to be seen.
    pub fn new(
        coordinator: PublicKey,
        version: MapVersion,
        members: Vec<Member>,
        revoked: Vec<PublicKey>,
    ) -> Self {
        Self { format: Format, coordinator, version, members, revoked }
    }

    /// The node of this number.
    pub fn member(&self, number: u8) -> Option<&Member> {
        self.members.iter().find(|member| member.number == number)
    }

    /// The member that has this key.
    pub fn of(&self, node: &PublicKey) -> Option<&Member> {
        self.members.iter().find(|member| member.node == *node)
    }

    /// Sees that it is one that makes sense: who says the least of it could say anything.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        let Self { members, revoked, .. } = self;
        let holds = |rule: bool, why| if rule { Ok(()) } else { Err(why) };
        holds(
            members.windows(2).all(|pair| pair[0].number < pair[1].number)
                && members.last().is_none_or(|last| last.number <= HIGHEST),
            "its members are not in the order of their numbers",
        )?;
        let keys: BTreeSet<_> = members.iter().map(|member| member.node).collect();
        holds(keys.len() == members.len(), "one node is there under two numbers")?;
        holds(keys.contains(&self.coordinator), "its coordinator is not in it")?;
        holds(revoked.len() <= MAX_REVOKED, "it revokes too many keys")?;
        let gone: BTreeSet<_> = revoked.iter().collect();
        holds(gone.len() == revoked.len(), "it revokes a key twice")?;
        holds(!keys.iter().any(|key| gone.contains(key)), "a revoked key is that of a member")?;
        members.iter().try_for_each(Member::check)
    }
}

impl Member {
    fn check(&self) -> Result<(), &'static str> {
        let few =
            self.addresses.len() <= MAX_ADDRESSES && self.certificates.len() <= MAX_CERTIFICATES;
        let of = |certificate: &Certificate| certificate.statement().node == self.node;
        let order = |pair: &[Certificate]| pair[0].statement().unit < pair[1].statement().unit;
        let record = self.record.as_ref().is_none_or(|record| {
            let seat = record.seat();
            (seat.number, seat.node) == (self.number, self.node)
        });
        match () {
            () if !few => Err("a member has too many addresses or services"),
            () if !self.certificates.iter().all(of) => Err("a certificate is another node's"),
            () if !self.certificates.windows(2).all(order) => {
                Err("certificates are not in the order of their units")
            }
            () if !record => Err("a record is another board's"),
            () => Ok(()),
        }
    }

    /// What it says about the key of its service `unit`.
    pub fn certificate(&self, unit: &str) -> Option<&Certificate> {
        self.certificates.iter().find(|it| it.statement().unit.as_str() == unit)
    }
}

#[cfg(test)]
mod tests;
