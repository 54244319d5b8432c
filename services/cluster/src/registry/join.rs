//! Handles a node that connects at a board's port.

use octet_appliance::Enrol;
use octet_node::certificate::Certificate;
use octet_node::control::PublicKey;
use octet_node::map::{CLUSTER, MAX_CERTIFICATES};
use octet_node::record::SeatRecord;

use super::{Enrolled, Entry, JoinRefusal, KeyOrigin, NumberRegistry};
use crate::rules::EnrolmentRules;

/// A node that has proved its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The number that it claims, if any.
    pub claims: Option<u8>,
    pub node: PublicKey,
    /// The epoch of the `cluster` key that it has proved.
    pub key_epoch: u64,
    /// The certificates of its services, that of `cluster` included.
    pub certificates: Vec<Certificate>,
    /// Whether these are all; otherwise known certificates of others are kept.
    pub complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinDecision {
    Welcome,
    /// The node waits for an owner's approval.
    Pending,
}

impl NumberRegistry {
    /// Enrols `candidate` at the port of board `number`, at the time `now`, in seconds since 1970.
    ///
    /// # Errors
    /// The candidate is refused; the registry is unchanged.
    pub fn join(
        &mut self,
        number: u8,
        candidate: &Candidate,
        rules: &EnrolmentRules,
        now: u64,
    ) -> Result<JoinDecision, JoinRefusal> {
        self.admit(number, candidate, rules, now, None)
    }

    /// The same; `approved` if an owner has approved it, optionally with a record.
    pub(super) fn admit(
        &mut self,
        number: u8,
        candidate: &Candidate,
        rules: &EnrolmentRules,
        now: u64,
        approved: Option<Option<SeatRecord>>,
    ) -> Result<JoinDecision, JoinRefusal> {
        let node = candidate.node;
        if let Some(claims) = candidate.claims.filter(|claims| *claims != number) {
            return Err(JoinRefusal::ClaimsAnother(claims));
        }
        if node == self.coordinator {
            return Err(JoinRefusal::CoordinatorsKey);
        }
        if number == self.number {
            return Err(JoinRefusal::CoordinatorsPlace(number));
        }
        if self.revoked.contains(&node) {
            return Err(JoinRefusal::Revoked);
        }
        let certificates = self.certificates(candidate)?;
        rules.check(number, &node)?;
        let named = rules.names(number, &node);
        let leaves = self.leaves(number, &node, rules)?;
        let entry = self.entries.get(&number);
        if let Some(member) = entry.and_then(|entry| entry.member.as_ref())
            && member.node == node
        {
            let certificates = newest(certificates, &member.certificates, candidate.complete);
            self.change(number, |entry| {
                entry.member.iter_mut().for_each(|it| it.certificates = certificates.clone());
            });
            return Ok(JoinDecision::Welcome);
        }
        let replace = entry.and_then(|entry| entry.replace);
        match (entry, replace) {
            _ if named => {}
            (_, Some(replace)) => {
                let recorded = replace.record.map(|record| record.body().node);
                if let Some(recorded) = recorded.filter(|recorded| *recorded != node) {
                    return Err(JoinRefusal::NotRecorded(recorded));
                }
            }
            (Some(Entry { member: Some(member), .. }), None) => {
                return Err(JoinRefusal::Another { number, known: member.node });
            }
            (Some(Entry { closed: true, .. }), None) => return Err(JoinRefusal::Closed(number)),
            _ => {}
        }
        if rules.enrol() == Enrol::Approve && !named && approved.is_none() {
            return Ok(JoinDecision::Pending);
        }
        let how = match () {
            () if named => KeyOrigin::Named,
            () if approved.is_some() || replace.is_some() => KeyOrigin::ByHand,
            () => KeyOrigin::FirstUse,
        };
        let record = approved.flatten().or_else(|| replace.and_then(|replace| replace.record));
        let record = record.filter(|record| record.body().node == node);
        if let Some(other) = leaves {
            self.change(other, |entry| entry.member = None);
        }
        let member = Enrolled { node, since: now, how, certificates, record };
        let drained = self.is_drained(number);
        self.entries.insert(number, Entry { member: Some(member), drained, ..Entry::default() });
        Ok(JoinDecision::Welcome)
    }

    /// Restores board `number` to the state before it reported other keys.
    pub fn restore(&mut self, number: u8, before: Enrolled) {
        self.change(number, |entry| entry.member = Some(before));
    }

    /// The number that `node` has to leave to become board `number`.
    fn leaves(
        &self,
        number: u8,
        node: &PublicKey,
        rules: &EnrolmentRules,
    ) -> Result<Option<u8>, JoinRefusal> {
        let Some(other) = self.number_of(node).filter(|other| *other != number) else {
            return Ok(None);
        };
        // An owner has permitted another key there, or this key here.
        let free = self.is_to_be_replaced(other)
            || rules.names(number, node)
            || rules.check(other, node).is_err();
        if free { Ok(Some(other)) } else { Err(JoinRefusal::Elsewhere(other)) }
    }

    /// The candidate's certificates, sorted.
    pub(super) fn certificates(
        &self,
        candidate: &Candidate,
    ) -> Result<Vec<Certificate>, JoinRefusal> {
        let node = candidate.node;
        let all = sorted(candidate.certificates.clone());
        let own = all.iter().all(|certificate| certificate.body().node == node);
        if !own || all.len() > MAX_CERTIFICATES || epoch(&all).is_none() {
            return Err(JoinRefusal::Certificates);
        }
        // The proved key counts, because certificates in the map are public.
        let shown = candidate.key_epoch;
        let known = self.number_of(&node).and_then(|number| self.enrolled(number));
        match known.and_then(|member| epoch(&member.certificates)) {
            Some(seen) if shown < seen => Err(JoinRefusal::Replayed { shown, seen }),
            _ => Ok(all),
        }
    }

    pub(super) fn change(&mut self, number: u8, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(&number) {
            change(entry);
        }
    }
}

/// The epoch of the `cluster` key.
pub(super) fn epoch(certificates: &[Certificate]) -> Option<u64> {
    let cluster = certificates.iter().find(|it| it.body().unit.as_str() == CLUSTER);
    cluster.map(|it| it.body().epoch)
}

/// The newest certificate of each unit, sorted by unit.
fn sorted(mut all: Vec<Certificate>) -> Vec<Certificate> {
    let place = |it: &Certificate| (it.body().unit.clone(), std::cmp::Reverse(it.body().epoch));
    all.sort_by_key(place);
    all.dedup_by(|later, first| later.body().unit == first.body().unit);
    all
}

/// Merges `said` with `known`: the newer certificate of each unit, and known ones of other units
/// unless `said` is `complete`.
pub(super) fn newest(
    said: Vec<Certificate>,
    known: &[Certificate],
    complete: bool,
) -> Vec<Certificate> {
    let said = sorted(said);
    let stays = known.iter().filter(|old| {
        let same = said.iter().find(|new| new.body().unit == old.body().unit);
        same.map_or(!complete, |new| new.body().epoch < old.body().epoch)
    });
    let stays: Vec<_> = stays.cloned().collect();
    let mut all = sorted([said, stays].concat());
    all.truncate(MAX_CERTIFICATES);
    all
}
