//! A node comes, at the port of a board.

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
    /// The number that it believes to have, if it believes any.
    pub claims: Option<u8>,
    pub node: PublicKey,
    /// The number of its key of `cluster` that it has shown that it holds.
    pub key_epoch: u64,
    /// What it says about the keys of its services, that of `cluster` among them.
    pub certificates: Vec<Certificate>,
    /// Whether these are all; if not, what is known of the others stays.
    pub complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinDecision {
    Welcome,
    /// It waits for an owner.
    Pending,
}

impl NumberRegistry {
    /// Takes `candidate`, who is at the port of board `number`, at the time `now`, in seconds since 1970.
    ///
    /// # Errors
    /// It is not taken; the book is as before.
    pub fn join(
        &mut self,
        number: u8,
        candidate: &Candidate,
        rules: &EnrolmentRules,
        now: u64,
    ) -> Result<JoinDecision, JoinRefusal> {
        self.admit(number, candidate, rules, now, None)
    }

    /// The same; `approved` if an owner has said so, perhaps with a record.
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
                let recorded = replace.record.map(|record| record.seat().node);
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
        let record = record.filter(|record| record.seat().node == node);
        if let Some(other) = leaves {
            self.change(other, |entry| entry.member = None);
        }
        let member = Enrolled { node, since: now, how, certificates, record };
        let drained = self.is_drained(number);
        self.entries.insert(number, Entry { member: Some(member), drained, ..Entry::default() });
        Ok(JoinDecision::Welcome)
    }

    /// Board `number` is as it was `before` it came again with other keys.
    pub fn put_back(&mut self, number: u8, before: Enrolled) {
        self.change(number, |entry| entry.member = Some(before));
    }

    /// The number that `node` has to leave to be board `number`.
    fn leaves(
        &self,
        number: u8,
        node: &PublicKey,
        rules: &EnrolmentRules,
    ) -> Result<Option<u8>, JoinRefusal> {
        let Some(other) = self.number_of(node).filter(|other| *other != number) else {
            return Ok(None);
        };
        // An owner has said that another key comes there, or that this one comes here.
        let free = self.is_to_be_replaced(other)
            || rules.names(number, node)
            || rules.check(other, node).is_err();
        if free { Ok(Some(other)) } else { Err(JoinRefusal::Elsewhere(other)) }
    }

    /// What the candidate says of its services, in order.
    pub(super) fn certificates(
        &self,
        candidate: &Candidate,
    ) -> Result<Vec<Certificate>, JoinRefusal> {
        let node = candidate.node;
        let all = in_order(candidate.certificates.clone());
        let own = all.iter().all(|certificate| certificate.statement().node == node);
        if !own || all.len() > MAX_CERTIFICATES || epoch(&all).is_none() {
            return Err(JoinRefusal::Certificates);
        }
        // What counts is the key that it holds: anybody can say what is in the map.
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

/// The number of the key of `cluster`.
pub(super) fn epoch(certificates: &[Certificate]) -> Option<u64> {
    let cluster = certificates.iter().find(|it| it.statement().unit.as_str() == CLUSTER);
    cluster.map(|it| it.statement().epoch)
}

/// In the order of the units, of each the newest.
fn in_order(mut all: Vec<Certificate>) -> Vec<Certificate> {
    let place =
        |it: &Certificate| (it.statement().unit.clone(), std::cmp::Reverse(it.statement().epoch));
    all.sort_by_key(place);
    all.dedup_by(|later, first| later.statement().unit == first.statement().unit);
    all
}

/// What is `said` now, but of each unit what was `known` before if that is newer; units of which nothing
/// is said stay unless it is `complete`.
pub(super) fn newest(
    said: Vec<Certificate>,
    known: &[Certificate],
    complete: bool,
) -> Vec<Certificate> {
    let said = in_order(said);
    let stays = known.iter().filter(|old| {
        let same = said.iter().find(|new| new.statement().unit == old.statement().unit);
        same.map_or(!complete, |new| new.statement().epoch < old.statement().epoch)
    });
    let stays: Vec<_> = stays.cloned().collect();
    let mut all = in_order([said, stays].concat());
    all.truncate(MAX_CERTIFICATES);
    all
}
