//! Recovers state from maps that boards have kept: of the previous coordinator, or this
//! coordinator's own from before its disk was restored.

use octet_node::control::PublicKey;
use octet_node::map::{MAX_REVOKED, Map, Member, SignedMap};

use super::join::epoch;
use super::{Candidate, Enrolled, Entry, JoinRefusal, KeyOrigin, NumberRegistry, RecoveredMap};

/// The maximum distance of a map's number from the known one. No box makes that many maps, and an
/// attacker with a valid key needs as many connections to reach the end.
pub(super) const MAX_AHEAD: u64 = 1 << 32;

/// Why a map was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// It is by a coordinator that this one does not replace.
    #[error("it is by {0}, whom this coordinator does not replace")]
    OtherCoordinator(PublicKey),
    /// It is of a foreign epoch.
    #[error(
        "it is of epoch {0}, which this coordinator does not have: it needs a new statement of an owner"
    )]
    OtherEpoch(u64),
    /// A newer map was made or recovered.
    #[error("a newer one is known")]
    Old,
    /// The presenting node is not the board in the map.
    #[error("it does not list its sender as board {0}")]
    NotNamed(u8),
    /// The presenting node would be refused anyway.
    #[error("who shows it is refused: {0}")]
    Refused(JoinRefusal),
    /// It is signed by an outdated key.
    #[error(
        "it is signed by its coordinator's key number {shown}, and number {seen} was seen before: the old one may be compromised"
    )]
    Replaced {
        /// The epoch of the key.
        shown: u64,
        /// The highest known epoch.
        seen: u64,
    },
    /// Its number is implausibly high.
    #[error("its number is {shown}, and {known} is known: no box makes that many maps")]
    TooFarAhead { shown: u64, known: u64 },
    /// It revokes too many keys.
    #[error("with it more than {MAX_REVOKED} keys would be revoked, and none is forgotten")]
    Full,
}

impl NumberRegistry {
    /// Recovers from `signed`, which `candidate` has presented at the port of board `number`, at
    /// the time `now`. The candidate is not admitted yet, so the map counts only if it names the
    /// candidate at this number, and if neither the coordinator's nor the candidate's key is
    /// outdated.
    ///
    /// # Errors
    /// The map was not used; the registry is unchanged.
    pub fn recover_from_map(
        &mut self,
        signed: &SignedMap,
        number: u8,
        candidate: &Candidate,
        now: u64,
    ) -> Result<(), RecoveryError> {
        self.check_recoverable(signed)?;
        let map = signed.map();
        let node = candidate.node;
        if self.revoked.contains(&node) {
            return Err(RecoveryError::Refused(JoinRefusal::Revoked));
        }
        self.certificates(candidate).map_err(RecoveryError::Refused)?;
        let named = map.member(number).filter(|it| it.node == node && node != self.coordinator);
        let named = named.ok_or(RecoveryError::NotNamed(number))?;
        let (shown, seen) = (candidate.key_epoch, epoch(&named.certificates).unwrap_or_default());
        if shown < seen {
            return Err(RecoveryError::Refused(JoinRefusal::Replayed { shown, seen }));
        }
        self.recover(signed, signed.key_epoch(), now)
    }

    /// Checks that `signed` is not by an outdated key, and has a plausible number.
    fn check_recoverable(&self, signed: &SignedMap) -> Result<(), RecoveryError> {
        let (map, shown) = (signed.map(), signed.key_epoch());
        let is_own = map.coordinator == self.coordinator;
        if !is_own && self.replaces() != Some(map.coordinator) {
            return Err(RecoveryError::OtherCoordinator(map.coordinator));
        }
        // An appointment has a higher epoch than the coordinator that it replaces.
        let may_be = match is_own {
            true => map.version.epoch == self.version.epoch,
            false => map.version.epoch < self.version.epoch,
        };
        if !may_be {
            return Err(RecoveryError::OtherEpoch(map.version.epoch));
        }
        // A board that was off presents an old map, which is harmless.
        if self.is_old(signed) {
            return Err(RecoveryError::Old);
        }
        let known = match is_own {
            true => Some((self.version, epoch(&self.own).unwrap_or_default())),
            false => self.learned.map(|last| (last.version, last.key_epoch)),
        };
        let seen = known.map_or(0, |(_, key_epoch)| key_epoch);
        if shown < seen {
            return Err(RecoveryError::Replaced { shown, seen });
        }
        let same_epoch = known.filter(|(version, _)| version.epoch == map.version.epoch);
        let (known, shown) =
            (same_epoch.map_or(0, |(version, _)| version.sequence), map.version.sequence);
        if shown > known.saturating_add(MAX_AHEAD) || shown == u64::MAX {
            return Err(RecoveryError::TooFarAhead { shown, known });
        }
        Ok(())
    }

    /// Whether `signed` contains nothing new.
    fn is_old(&self, signed: &SignedMap) -> bool {
        let version = signed.map().version;
        if signed.map().coordinator == self.coordinator {
            return version <= self.version && self.remembered.contains(signed);
        }
        // A coordinator makes all maps with a newer key after those with an older one. If a map
        // with a newer key has a lower number, the old key has signed a map that the coordinator
        // did not make.
        self.learned
            .is_some_and(|last| version <= last.version && signed.key_epoch() <= last.key_epoch)
    }

    /// Recovers from `signed`, which this node has accepted and stored; `key_epoch` is the highest
    /// seen epoch of its signer.
    ///
    /// # Errors
    /// The map was not used; the registry is unchanged.
    pub fn recover(
        &mut self,
        signed: &SignedMap,
        key_epoch: u64,
        now: u64,
    ) -> Result<(), RecoveryError> {
        let map = signed.map();
        if map.coordinator == self.coordinator {
            if map.version.epoch != self.version.epoch {
                return Err(RecoveryError::OtherEpoch(map.version.epoch));
            }
            return self.recover_own(signed, now);
        }
        if self.replaces() != Some(map.coordinator) {
            return Err(RecoveryError::OtherCoordinator(map.coordinator));
        }
        if self.is_old(signed) {
            return Err(RecoveryError::Old);
        }
        let revoked = self.revoked_with(map)?;
        self.learned = Some(RecoveredMap { version: map.version, key_epoch });
        self.take_over(map, revoked, |member| member.how == KeyOrigin::TakenOver, now);
        Ok(())
    }

    /// Recovers from a map that this coordinator has made and lost.
    fn recover_own(&mut self, signed: &SignedMap, now: u64) -> Result<(), RecoveryError> {
        if self.is_old(signed) {
            return Err(RecoveryError::Old);
        }
        let map = signed.map();
        let revoked = self.revoked_with(map)?;
        self.remember(signed);
        let is_later = map.version > self.version;
        // Certificates are kept until `identity` reports them after the start, and the signing key
        // counts as seen.
        let own = map.member_by_key(&self.coordinator).filter(|_| is_later);
        let own = own.into_iter().flat_map(|member| member.certificates.clone());
        self.set_own_certificates(own.chain([signed.certificate().clone()]).collect(), false);
        if !is_later {
            // As many maps were made since the restore as before it, so their order is unknown.
            // Revoked keys stay revoked, no board is removed, and the next map is newer than both.
            self.version.sequence = self.version.sequence.saturating_add(1);
            self.take_over(map, revoked, |_| false, now);
            return Ok(());
        }
        self.version = map.version;
        // The map is newer than all known ones.
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

    fn revoked_with(&self, map: &Map) -> Result<Vec<PublicKey>, RecoveryError> {
        let mut revoked = self.revoked.clone();
        let new = |key: &&PublicKey| !self.revoked.contains(key) && **key != self.coordinator;
        revoked.extend(map.revoked.iter().filter(new));
        if revoked.len() > MAX_REVOKED { Err(RecoveryError::Full) } else { Ok(revoked) }
    }

    /// Adopts `map`. Boards that are not in it are removed if `may_go` says so.
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
            self.insert_member(member, now);
        }
    }

    fn insert_member(&mut self, member: &Member, now: u64) {
        let (number, node) = (member.number, member.node);
        if number == self.number && number > 0 {
            // Draining belongs to the number.
            self.entries.entry(number).or_default().drained = member.drained;
            return;
        }
        // The previous coordinator, if it was the router, is not a board.
        if number == 0 || node == self.coordinator || self.revoked.contains(&node) {
            return;
        }
        // Later operations by an owner take precedence over the old map; trust on first use does
        // not.
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
