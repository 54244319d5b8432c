//! The membership map: the node of each board, and the certificates of its services' keys. The coordinator
//! signs it, and every node trusts only the newest one.

mod signed;
mod update;

pub use signed::{InvalidMap, SignedMap};
pub use update::{MAP, Update};

use std::collections::BTreeSet;
use std::net::IpAddr;

use octet_control::PublicKey;
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::record::SeatRecord;

/// The version of the format.
const FORMAT: u32 = 1;

/// The highest board number.
pub const HIGHEST: u8 = 32;

/// The maximum number of certificates per node.
pub const MAX_CERTIFICATES: usize = 24;

/// The maximum number of addresses per node.
pub const MAX_ADDRESSES: usize = 4;

/// The maximum number of revoked keys.
pub const MAX_REVOKED: usize = 256;

/// The maximum size of the map as text, in bytes.
pub const LONGEST: usize = 256 << 10;

/// The unit whose key signs the map.
pub use octet_control::CLUSTER;

/// Which of two maps is newer: the epoch ranks above the sequence.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct MapVersion {
    /// How often the coordinator was replaced.
    pub epoch: u64,
    /// The number of the map within this epoch.
    pub sequence: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    format: Format,
    pub coordinator: PublicKey,
    pub version: MapVersion,
    /// All nodes of the box, the coordinator included, sorted by number.
    pub members: Vec<Member>,
    /// The permanently revoked node keys.
    pub revoked: Vec<PublicKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The number of the switch port; 0 is the router.
    pub number: u8,
    pub node: PublicKey,
    /// The addresses for other nodes. The router has none here: it is host 1 in each board's network.
    pub addresses: Vec<IpAddr>,
    /// The certificates of its services, sorted by unit name.
    pub certificates: Vec<Certificate>,
    /// The owner's signed record of this board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<SeatRecord>,
    /// Whether the board is drained: only base units run there.
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
    /// Makes a map without checking its [`rules`](Self::check).
    pub fn new(
        coordinator: PublicKey,
        version: MapVersion,
        members: Vec<Member>,
        revoked: Vec<PublicKey>,
    ) -> Self {
        Self { format: Format, coordinator, version, members, revoked }
    }

    pub fn member(&self, number: u8) -> Option<&Member> {
        self.members.iter().find(|member| member.number == number)
    }

    pub fn member_by_key(&self, node: &PublicKey) -> Option<&Member> {
        self.members.iter().find(|member| member.node == *node)
    }

    /// Checks that the map is consistent, because its signer could be faulty.
    ///
    /// # Errors
    /// The first violated rule.
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
        let of = |certificate: &Certificate| certificate.body().node == self.node;
        let order = |pair: &[Certificate]| pair[0].body().unit < pair[1].body().unit;
        let record = self.record.as_ref().is_none_or(|record| {
            let seat = record.body();
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

    /// The certificate of its service `unit`.
    pub fn certificate(&self, unit: &str) -> Option<&Certificate> {
        self.certificates.iter().find(|it| it.body().unit.as_str() == unit)
    }
}

#[cfg(test)]
mod tests;
