//! Which node each board is, as its coordinator has it. No clock, socket or disk in here: what is given is
//! the time, and what comes out is another book, which whoever has it writes down before it says so.

mod by_hand;
mod join;
mod learn;
mod refusal;
mod remembered;

pub use by_hand::{CannotBe, Hand};
pub use join::{Candidate, JoinDecision};
pub use learn::NotLearned;
pub use refusal::JoinRefusal;

use std::collections::BTreeMap;

use octet_node::certificate::Certificate;
use octet_node::control::PublicKey;
use octet_node::map::{Map, MapVersion, Member};
use octet_node::record::SeatRecord;
use octet_node::statement::SignedAppointment;
use serde::{Deserialize, Serialize};

use crate::rules::EnrolmentRules;
use remembered::Remembered;

/// The epoch of a box whose coordinator was never changed.
pub const FIRST_EPOCH: u64 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberRegistry {
    pub coordinator: PublicKey,
    /// The coordinator's own number: 0 if it is the router, and otherwise that of a board, which has no entry
    /// for a key.
    pub number: u8,
    /// The map that was made last.
    pub version: MapVersion,
    /// The last ones that were made or learned from.
    #[serde(default)]
    remembered: Remembered,
    /// What makes it the coordinator, if it was not the first.
    statement: Option<SignedAppointment>,
    /// The newest map of the coordinator before that was learned from.
    learned: Option<Learned>,
    /// What the coordinator says about the keys of its own services.
    own: Vec<Certificate>,
    /// The boards, by their numbers.
    entries: BTreeMap<u8, Entry>,
    /// Keys that never come back.
    revoked: Vec<PublicKey>,
}

/// A map that was learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Learned {
    version: MapVersion,
    /// Which of the old coordinator's keys has signed it.
    key_epoch: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The node that it is.
    member: Option<Enrolled>,
    /// Its key was revoked: no other is taken until an owner says so.
    closed: bool,
    /// An owner has said that one other key is taken.
    replace: Option<Replace>,
    /// Nothing is to be placed on it, whichever node it is.
    #[serde(default)]
    drained: bool,
}

/// That one other key is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    /// Which one, if the owner has said that.
    record: Option<SeatRecord>,
}

/// A node that is a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    pub node: PublicKey,
    /// When it was taken, in seconds since 1970, by the coordinator's clock.
    pub since: u64,
    pub how: KeyOrigin,
    /// What it says about the keys of its services.
    certificates: Vec<Certificate>,
    /// What an owner says about it.
    record: Option<SeatRecord>,
}

/// Why a key was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyOrigin {
    /// It was the first one there.
    FirstUse,
    /// The coordinator before had it.
    TakenOver,
    /// An owner has approved it, or let it replace another.
    ByHand,
    Named,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberState {
    Free,
    /// One was, and is in the map.
    Enrolled,
    /// One was, and the settings forbid it now.
    Forbidden,
    Revoked,
}

impl NumberRegistry {
    /// That of a box that was never seen before.
    pub fn new(coordinator: PublicKey, number: u8) -> Self {
        let version = MapVersion { epoch: FIRST_EPOCH, sequence: 0 };
        let (statement, learned) = (None, None);
        let (remembered, own, entries, revoked) = Default::default();
        Self { coordinator, number, version, remembered, statement, learned, own, entries, revoked }
    }

    /// The coordinator has this number from now on. Whoever was that board is none any more.
    pub fn be_at(&mut self, number: u8) {
        self.number = number;
        let drained = self.is_drained(number);
        if let Some(entry) = self.entries.get_mut(&number) {
            *entry = Entry { drained, ..Entry::default() };
        }
    }

    /// What makes it the coordinator, if it was not the first.
    pub fn statement(&self) -> Option<&SignedAppointment> {
        self.statement.as_ref()
    }

    /// The node that board `number` is, whatever the settings say now.
    pub fn enrolled(&self, number: u8) -> Option<&Enrolled> {
        self.entries.get(&number)?.member.as_ref()
    }

    /// Whether one other key is taken as board `number`.
    pub fn is_to_be_replaced(&self, number: u8) -> bool {
        self.entries.get(&number).is_some_and(|entry| entry.replace.is_some())
    }

    /// Whether nothing is to be placed on board `number`.
    pub fn is_drained(&self, number: u8) -> bool {
        self.entries.get(&number).is_some_and(|entry| entry.drained)
    }

    /// How `number` stands.
    pub fn standing(&self, number: u8, rules: &EnrolmentRules) -> NumberState {
        match self.entries.get(&number) {
            Some(Entry { member: Some(member), .. }) => {
                let allowed = rules.check(number, &member.node).is_ok();
                if allowed { NumberState::Enrolled } else { NumberState::Forbidden }
            }
            Some(Entry { closed: true, .. }) => NumberState::Revoked,
            _ => NumberState::Free,
        }
    }

    /// Whether `node` is board `number`, and the settings let it be.
    pub fn has(&self, number: u8, node: &PublicKey, rules: &EnrolmentRules) -> bool {
        self.enrolled(number).is_some_and(|member| member.node == *node)
            && rules.check(number, node).is_ok()
    }

    /// The keys that never come back.
    pub fn revoked(&self) -> &[PublicKey] {
        &self.revoked
    }

    /// The coordinator says this about the keys of its own services, of all of them if it is `complete`.
    pub fn say_own(&mut self, certificates: Vec<Certificate>, complete: bool) {
        let own = |certificate: &Certificate| certificate.statement().node == self.coordinator;
        let certificates = certificates.into_iter().filter(own).collect();
        self.own = join::newest(certificates, &self.own, complete);
    }

    /// The map that it comes to.
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
