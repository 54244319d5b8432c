//! What boards still have of a map that the holder does not have: that of the holder before, or its own
//! from before its disk was put back.

use octet_node::control::PublicKey;
use octet_node::map::{MOST_REVOKED, Map, Member, SignedMap};

use super::{Book, Enrolled, Entry, How, Learned};

/// Why there was nothing to learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotLearned {
    /// The holder is one whom this one does not replace.
    #[error("it is by {0}, whom this holder does not replace")]
    Strange(PublicKey),
    /// It is of another epoch than this holder's.
    #[error(
        "it is of epoch {0}, which this holder does not have: it needs a new statement of an owner"
    )]
    OtherEpoch(u64),
    /// A newer one was learned from, or made.
    #[error("a newer one is known")]
    Old,
    /// It revokes more than there is room for.
    #[error("with it more than {MOST_REVOKED} keys would be revoked, and none is forgotten")]
    Full,
}

impl Book {
    /// Learns from `signed`, which a board has shown at the time `now`.
    ///
    /// # Errors
    /// There is nothing to learn; the book is as before.
    pub fn learn(&mut self, signed: &SignedMap, now: u64) -> Result<(), NotLearned> {
        let map = signed.map();
        let found = Learned { version: map.version, key_epoch: signed.key_epoch() };
        if map.holder == self.holder {
            if map.version.epoch != self.version.epoch {
                return Err(NotLearned::OtherEpoch(map.version.epoch));
            }
            let is_later = map.version > self.version;
            if !is_later && self.remembered.has(signed) {
                return Err(NotLearned::Old);
            }
            let revoked = self.revoked_with(map)?;
            self.remember(signed);
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
            // What `identity` has not said yet since the start stays said.
            let own = map.of(&self.holder).map(|member| member.certificates.clone());
            self.say_own(own.unwrap_or_default(), false);
            for said in &map.members {
                self.change(said.number, |entry| {
                    entry.drained = said.drained;
                    let member = entry.member.iter_mut().filter(|it| it.node == said.node);
                    member.for_each(|member| member.record = said.record);
                });
            }
            return Ok(());
        }
        if self.replaces() != Some(map.holder) {
            return Err(NotLearned::Strange(map.holder));
        }
        let newer =
            |last: Learned| found.version > last.version && found.key_epoch >= last.key_epoch;
        if !self.learned.is_none_or(newer) {
            return Err(NotLearned::Old);
        }
        let revoked = self.revoked_with(map)?;
        self.learned = Some(found);
        self.take_over(map, revoked, |member| member.how == How::TakenOver, now);
        Ok(())
    }

    fn revoked_with(&self, map: &Map) -> Result<Vec<PublicKey>, NotLearned> {
        let mut revoked = self.revoked.clone();
        let new = |key: &&PublicKey| !self.revoked.contains(key) && **key != self.holder;
        revoked.extend(map.revoked.iter().filter(new));
        if revoked.len() > MOST_REVOKED { Err(NotLearned::Full) } else { Ok(revoked) }
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
        // The holder before, if that was the router, is no board.
        if number == 0 || node == self.holder || self.revoked.contains(&node) {
            return;
        }
        // What was said by hand since then ranks above the old map; what came first by chance does not.
        let by_hand = |entry: &Entry| {
            entry.closed
                || entry.replace.is_some()
                || entry
                    .member
                    .as_ref()
                    .is_some_and(|it| matches!(it.how, How::ByHand | How::Named))
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
        let how = How::TakenOver;
        let entry = self.entries.entry(number).or_default();
        entry.member = Some(Enrolled { node, since: now, how, certificates, record });
        entry.drained = member.drained;
    }
}
