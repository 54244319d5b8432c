//! The coordinator's registry of boards. Pure: it has no clock, socket or disk; operations take the
//! time and return a new registry, which the caller persists before announcing it.

mod admin_ops;
mod join;
mod map_history;
mod recover;
mod refusal;

pub use admin_ops::{AdminContext, AdminError};
pub use join::{Candidate, JoinDecision};
pub use recover::RecoveryError;
pub use refusal::JoinRefusal;

use std::collections::BTreeMap;

use octet_node::certificate::Certificate;
use octet_node::control::PublicKey;
use octet_node::map::{Map, MapVersion, Member};
use octet_node::record::SeatRecord;
use octet_node::statement::SignedAppointment;
use serde::{Deserialize, Serialize};

use crate::rules::EnrolmentRules;
use map_history::MapHistory;

/// The epoch of a box whose coordinator was never replaced.
pub const FIRST_EPOCH: u64 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberRegistry {
    pub coordinator: PublicKey,
    /// The coordinator's own number: 0 if it is the router, otherwise that of its board, which has
    /// no entry for a key.
    pub number: u8,
    /// The version of the last map.
    pub version: MapVersion,
    /// The last maps that were made or recovered from.
    #[serde(default)]
    remembered: MapHistory,
    /// The appointment of this coordinator, unless it was the first.
    statement: Option<SignedAppointment>,
    /// The newest recovered map of the previous coordinator.
    learned: Option<RecoveredMap>,
    /// The certificates of the coordinator's own services.
    own: Vec<Certificate>,
    /// The boards, by number.
    entries: BTreeMap<u8, Entry>,
    /// Permanently revoked keys.
    revoked: Vec<PublicKey>,
}

/// A recovered map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecoveredMap {
    version: MapVersion,
    /// The epoch of the old coordinator's signing key.
    key_epoch: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The enrolled node.
    member: Option<Enrolled>,
    /// Whether the board's key was revoked: no other key is accepted until an owner permits it.
    closed: bool,
    /// An owner's permission to accept one other key.
    replace: Option<ReplacePermission>,
    /// Whether the board is drained, whichever node it is.
    #[serde(default)]
    drained: bool,
}

/// The permission to accept one other key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplacePermission {
    /// The required key, if the owner has named it.
    record: Option<SeatRecord>,
}

/// A node that is enrolled as a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    pub node: PublicKey,
    /// The time of enrolment, in seconds since 1970, by the coordinator's clock.
    pub since: u64,
    pub how: KeyOrigin,
    /// The certificates of its services.
    certificates: Vec<Certificate>,
    /// The owner's signed record of it.
    record: Option<SeatRecord>,
}

/// How a key was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyOrigin {
    /// Trust on first use.
    FirstUse,
    /// The previous coordinator's map had it.
    TakenOver,
    /// An owner has approved it, or permitted the replacement.
    ByHand,
    Named,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberState {
    Free,
    /// A node is enrolled, and in the map.
    Enrolled,
    /// A node is enrolled, but the settings forbid it now.
    Forbidden,
    Revoked,
}

impl NumberRegistry {
    /// The registry of a new box.
    pub fn new(coordinator: PublicKey, number: u8) -> Self {
        let version = MapVersion { epoch: FIRST_EPOCH, sequence: 0 };
        let (statement, learned) = (None, None);
        let (remembered, own, entries, revoked) = Default::default();
        Self { coordinator, number, version, remembered, statement, learned, own, entries, revoked }
    }

    /// Sets the coordinator's number. A node that was this board is removed.
    pub fn set_number(&mut self, number: u8) {
        self.number = number;
        let drained = self.is_drained(number);
        if let Some(entry) = self.entries.get_mut(&number) {
            *entry = Entry { drained, ..Entry::default() };
        }
    }

    /// The appointment of this coordinator, unless it was the first.
    pub fn statement(&self) -> Option<&SignedAppointment> {
        self.statement.as_ref()
    }

    /// The node that is enrolled as board `number`, whatever the settings are now.
    pub fn enrolled(&self, number: u8) -> Option<&Enrolled> {
        self.entries.get(&number)?.member.as_ref()
    }

    /// Whether one other key is accepted as board `number`.
    pub fn is_to_be_replaced(&self, number: u8) -> bool {
        self.entries.get(&number).is_some_and(|entry| entry.replace.is_some())
    }

    /// Whether board `number` is drained.
    pub fn is_drained(&self, number: u8) -> bool {
        self.entries.get(&number).is_some_and(|entry| entry.drained)
    }

    /// The enrolment state of `number`.
    pub fn state(&self, number: u8, rules: &EnrolmentRules) -> NumberState {
        match self.entries.get(&number) {
            Some(Entry { member: Some(member), .. }) => {
                let allowed = rules.check(number, &member.node).is_ok();
                if allowed { NumberState::Enrolled } else { NumberState::Forbidden }
            }
            Some(Entry { closed: true, .. }) => NumberState::Revoked,
            _ => NumberState::Free,
        }
    }

    /// Whether `node` is board `number`, and the settings allow it.
    pub fn has_key(&self, number: u8, node: &PublicKey, rules: &EnrolmentRules) -> bool {
        self.enrolled(number).is_some_and(|member| member.node == *node)
            && rules.check(number, node).is_ok()
    }

    /// The permanently revoked keys.
    pub fn revoked(&self) -> &[PublicKey] {
        &self.revoked
    }

    /// Sets the certificates of the coordinator's own services; `complete` if there are no others.
    pub fn set_own_certificates(&mut self, certificates: Vec<Certificate>, complete: bool) {
        let own = |certificate: &Certificate| certificate.body().node == self.coordinator;
        let certificates = certificates.into_iter().filter(own).collect();
        self.own = join::newest(certificates, &self.own, complete);
    }

    /// The map of this registry.
    pub fn map(&self, rules: &EnrolmentRules) -> Map {
        let own = Member {
            number: self.number,
            node: self.coordinator,
            addresses: rules.addresses(self.number),
            certificates: self.own.clone(),
            record: None,
            drained: self.is_drained(self.number),
        };
        let boards = self.entries.iter().filter_map(|(&number, entry)| {
            let member = entry.member.as_ref()?;
            let fits = rules.check(number, &member.node).is_ok() && number != self.number;
            fits.then(|| Member {
                number,
                node: member.node,
                addresses: rules.addresses(number),
                certificates: member.certificates.clone(),
                record: member.record,
                drained: entry.drained,
            })
        });
        let mut members: Vec<Member> = boards.chain([own]).collect();
        members.sort_by_key(|member| member.number);
        Map::new(self.coordinator, self.version, members, self.revoked.clone())
    }

    /// The number at which `node` was enrolled.
    fn number_of(&self, node: &PublicKey) -> Option<u8> {
        let here = |entry: &Entry| entry.member.as_ref().is_some_and(|it| it.node == *node);
        self.entries.iter().find(|(_, entry)| here(entry)).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests;
