//! What boards still have of a map that the coordinator does not have: that of the coordinator before, or its own
//! from before its disk was put back.

use octet_node::control::PublicKey;
use octet_node::map::{MAX_REVOKED, Map, Member, SignedMap};

use super::join::epoch;
use super::{Candidate, Enrolled, Entry, JoinRefusal, KeyOrigin, Learned, NumberRegistry};

/// How far ahead of what is known the number of a map may be. No box makes so many, and whoever has a key that
/// counts needs as many connections to come to the end.
pub(super) const MAX_AHEAD: u64 = 1 << 32;

/// Why there was nothing to learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotLearned {
    /// The coordinator is one whom this one does not replace.
    #[error("it is by {0}, whom this coordinator does not replace")]
    Strange(PublicKey),
    /// It is of another epoch than this coordinator's.
    #[error(
        "it is of epoch {0}, which this coordinator does not have: it needs a new statement of an owner"
    )]
    OtherEpoch(u64),
    /// A newer one was learned from, or made.
    #[error("a newer one is known")]
    Old,
    /// Whoever shows it is not the board that it names there.
    #[error("it does not name who shows it as board {0}")]
    NotNamed(u8),
    /// Whoever shows it would be refused whatever it shows.
    #[error("who shows it is refused: {0}")]
    Shower(JoinRefusal),
    /// It is signed by a key that was replaced.
    #[error(
        "it is signed by its coordinator's key number {shown}, and number {seen} was seen before: the old one may be \
         in others' hands"
    )]
    Replaced {
        /// The number of the key.
        shown: u64,
        /// The highest that was seen.
        seen: u64,
    },
    /// Its number is higher than it can be.
    #[error("its number is {shown}, and {known} is known: no box makes that many maps")]
    TooFarAhead { shown: u64, known: u64 },
    /// It revokes more than there is room for.
    #[error("with it more than {MAX_REVOKED} keys would be revoked, and none is forgotten")]
    Full,
}

impl NumberRegistry {
    /// Learns from `signed`, which `candidate` has shown at the port of board `number`, at the time `now`.
    /// Nobody is admitted yet, so it counts only if it names the candidate there, and if no key that was
    /// replaced has a part in it: not the coordinator's, and not the candidate's.
    ///
    /// # Errors
    /// There is nothing to learn; the book is as before.
    pub fn learn(
        &mut self,
        signed: &SignedMap,
        number: u8,
        candidate: &Candidate,
        now: u64,
    ) -> Result<(), NotLearned> {
        self.may_be_learned(signed)?;
        let map = signed.map();
        let node = candidate.node;
        if self.revoked.contains(&node) {
            return Err(NotLearned::Shower(JoinRefusal::Revoked));
        }
        self.certificates(candidate).map_err(NotLearned::Shower)?;
        let named = map.member(number).filter(|it| it.node == node && node != self.coordinator);
        let named = named.ok_or(NotLearned::NotNamed(number))?;
        let (shown, seen) = (candidate.key_epoch, epoch(&named.certificates).unwrap_or_default());
        if shown < seen {
            return Err(NotLearned::Shower(JoinRefusal::Replayed { shown, seen }));
        }
        self.recover(signed, signed.key_epoch(), now)
    }

    /// Sees that `signed` is none that its coordinator has replaced, and can be by its number.
    fn may_be_learned(&self, signed: &SignedMap) -> Result<(), NotLearned> {
        let (map, shown) = (signed.map(), signed.key_epoch());
        let is_own = map.coordinator == self.coordinator;
        if !is_own && self.replaces() != Some(map.coordinator) {
            return Err(NotLearned::Strange(map.coordinator));
        }
        // The statement that replaces a coordinator is of a higher epoch than that one's.
        let may_be = match is_own {
            true => map.version.epoch == self.version.epoch,
            false => map.version.epoch < self.version.epoch,
        };
        if !may_be {
            return Err(NotLearned::OtherEpoch(map.version.epoch));
        }
        // A board that was off shows an old map, and means no harm.
        if self.is_old(signed) {
            return Err(NotLearned::Old);
        }
        let known = match is_own {
            true => Some((self.version, epoch(&self.own).unwrap_or_default())),
            false => self.learned.map(|last| (last.version, last.key_epoch)),
        };
        let seen = known.map_or(0, |(_, key_epoch)| key_epoch);
        if shown < seen {
            return Err(NotLearned::Replaced { shown, seen });
        }
        let same_epoch = known.filter(|(version, _)| version.epoch == map.version.epoch);
        let (known, shown) =
            (same_epoch.map_or(0, |(version, _)| version.sequence), map.version.sequence);
        if shown > known.saturating_add(MAX_AHEAD) || shown == u64::MAX {
            return Err(NotLearned::TooFarAhead { shown, known });
        }
        Ok(())
    }

    /// Whether `signed` says nothing that was not learned or made.
    fn is_old(&self, signed: &SignedMap) -> bool {
        let version = signed.map().version;
        if signed.map().coordinator == self.coordinator {
            return version <= self.version && self.remembered.has(signed);
        }
        // A coordinator makes all maps of a newer key after those of an older one: if one of a newer key has a
        // lower number, the old key has signed what the coordinator has not made.
        self.learned
            .is_some_and(|last| version <= last.version && signed.key_epoch() <= last.key_epoch)
    }

    /// Learns from `signed`, which this node has kept, having believed who signed it, of whom it has seen the
    /// key number `key_epoch`.
    ///
    /// # Errors
    /// There is nothing to learn; the book is as before.
    pub fn recover(
        &mut self,
        signed: &SignedMap,
        key_epoch: u64,
        now: u64,
    ) -> Result<(), NotLearned> {
        let map = signed.map();
        if map.coordinator == self.coordinator {
            if map.version.epoch != self.version.epoch {
                return Err(NotLearned::OtherEpoch(map.version.epoch));
            }
            return self.recover_own(signed, now);
        }
        if self.replaces() != Some(map.coordinator) {
            return Err(NotLearned::Strange(map.coordinator));
        }
        if self.is_old(signed) {
            return Err(NotLearned::Old);
        }
        let revoked = self.revoked_with(map)?;
        self.learned = Some(Learned { version: map.version, key_epoch });
        self.take_over(map, revoked, |member| member.how == KeyOrigin::TakenOver, now);
        Ok(())
    }

    /// Learns from a map that this coordinator itself has made, and has forgotten.
    fn recover_own(&mut self, signed: &SignedMap, now: u64) -> Result<(), NotLearned> {
        if self.is_old(signed) {
            return Err(NotLearned::Old);
        }
        let map = signed.map();
        let revoked = self.revoked_with(map)?;
        self.remember(signed);
        let is_later = map.version > self.version;
        // What `identity` has not said yet since the start stays said, and the key that has signed is seen.
        let own = map.of(&self.coordinator).filter(|_| is_later);
        let own = own.into_iter().flat_map(|member| member.certificates.clone());
        self.say_own(own.chain([signed.certificate().clone()]).collect(), false);
        if !is_later {
            // As many have been made since the disk was put back as there were before: nobody knows what
            // is later. Who was revoked stays so, nobody is put out, and the next map is newer than both.
            self.version.sequence = self.version.sequence.saturating_add(1);
            self.take_over(map, revoked, |_| false, now);
            return Ok(());
        }
        self.version = map.version;
        // It is later than all that is known here.
        self.take_over(map, revoked, |_| true, now);
        for said in &map.members {
            self.change(said.number, |entry| {
                entry.drained = said.drained;
                let member = entry.member.iter_mut().filter(|it| it.node == said.node);
                member.for_each(|member| member.record = said.record);
            });
        }
        Ok(())
    }

    fn revoked_with(&self, map: &Map) -> Result<Vec<PublicKey>, NotLearned> {
        let mut revoked = self.revoked.clone();
        let new = |key: &&PublicKey| !self.revoked.contains(key) && **key != self.coordinator;
        revoked.extend(map.revoked.iter().filter(new));
        if revoked.len() > MAX_REVOKED { Err(NotLearned::Full) } else { Ok(revoked) }
    }

    /// Takes what `map` says. Of those who are not in it they go whom `may_go` names.
    fn take_over(
        &mut self,
        map: &Map,
        revoked: Vec<PublicKey>,
        may_go: impl Fn(&Enrolled) -> bool,
        now: u64,
    ) {
        self.revoked = revoked;
        for (number, entry) in &mut self.entries {
            let gone = entry.member.take_if(|member| self.revoked.contains(&member.node));
            entry.closed |= gone.is_some();
            let stays = map.member(*number).map(|member| member.node);
            entry.member.take_if(|member| may_go(member) && Some(member.node) != stays);
        }
        for member in &map.members {
            self.take(member, now);
        }
    }

    fn take(&mut self, member: &Member, now: u64) {
        let (number, node) = (member.number, member.node);
        if number == self.number && number > 0 {
            // That nothing is to be placed there is said of the number.
            self.entries.entry(number).or_default().drained = member.drained;
            return;
        }
        // The coordinator before, if that was the router, is no board.
        if number == 0 || node == self.coordinator || self.revoked.contains(&node) {
            return;
        }
        // What was said by hand since then ranks above the old map; what came first by chance does not.
        let by_hand = |entry: &Entry| {
            entry.closed
                || entry.replace.is_some()
                || entry
                    .member
                    .as_ref()
                    .is_some_and(|it| matches!(it.how, KeyOrigin::ByHand | KeyOrigin::Named))
        };
        let before = self.number_of(&node);
        let settled = [Some(number), before].into_iter().flatten();
        if before == Some(number)
            || settled.filter_map(|number| self.entries.get(&number)).any(by_hand)
        {
            return;
        }
        if let Some(before) = before {
            self.change(before, |entry| entry.member = None);
        }
        let (certificates, record) = (member.certificates.clone(), member.record);
        let how = KeyOrigin::TakenOver;
        let entry = self.entries.entry(number).or_default();
        entry.member = Some(Enrolled { node, since: now, how, certificates, record });
        entry.drained = member.drained;
    }
}
