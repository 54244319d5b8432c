//! Paths that neighbours request: through this node, or ending here.

use super::end::PathEnd;
use super::installed::{difference, install, remove};
use super::persisted;
use super::rate;
use super::refusals::SetupRefusal;
use super::{
    CLOCKS, Engine, EngineAction, LinkNumber, MAX_ENDS, MAX_ENDS_OF_ONE, MAX_OF_ONE, MAX_SEGMENTS,
    PathNumber, Rng, TIMEOUT,
};
use crate::control::{Id, LinkMessage};
use crate::exchange;
use crate::label::Label;
use crate::onion::{
    CHANGE, HopChange, HopGrant, HopRecord, HopReply, HopRole, HopSession, OnionSecret,
    OpenedSetup, Reason, ReplyKey, SetUp, open,
};

/// The maximum lifetime of a path until its source refreshes it, in seconds.
const LONGEST: u16 = 3600;

/// A path that a neighbour has requested.
#[derive(Debug)]
pub struct Transit {
    pub session: HopSession,
    /// The label of packets from the neighbour.
    pub there: Label,
    /// The label of packets to the neighbour.
    pub back: Label,
    /// When the path came up, in seconds since 1970; 0 if it is pending.
    pub since: u64,
    /// When the path expires.
    pub until: u64,
    /// What was granted, once the path is up.
    pub grant: HopGrant,
    /// Whether it ever had a rate limit: the drop counter is kept.
    pub is_bounded: bool,
    pub to: NextHop,
}

#[derive(Debug)]
pub enum NextHop {
    /// The next hop, which sends with the label `back`. Once it has answered, packets to it have the label
    /// `onward`; until then, the reply key is kept here.
    Hop {
        key: (LinkNumber, Id),
        back: Label,
        onward: Option<Label>,
        asked: Option<Box<(ReplyKey, SetUp)>>,
    },
    End(PathNumber, PathEnd),
}

impl Transit {
    /// The local end, if the path ends here.
    pub fn end(&mut self) -> Option<&mut PathEnd> {
        match &mut self.to {
            NextHop::Hop { .. } => None,
            NextHop::End(_, stretch) => Some(stretch),
        }
    }

    /// The local end, for reading.
    pub fn end_here(&self) -> Option<(PathNumber, &PathEnd)> {
        match &self.to {
            NextHop::Hop { .. } => None,
            NextHop::End(number, stretch) => Some((*number, stretch)),
        }
    }

    fn onward(&self) -> Option<(LinkNumber, Id)> {
        match &self.to {
            NextHop::Hop { key, .. } => Some(*key),
            NextHop::End(..) => None,
        }
    }
}

impl Engine {
    /// Handles a set-up.
    pub(super) fn set_up(
        &mut self,
        key: (LinkNumber, Id),
        back: Label,
        onion: &SetUp,
        keys: &[OnionSecret],
        now: u64,
        chance: Rng<'_>,
    ) -> Vec<EngineAction> {
        // Messages over the rate limit are dropped. If an identifier or a label is reused, the first path
        // stays.
        let is_named = self.segments.contains_key(&key) || self.given.contains(&(key.0, back));
        if is_named || !self.rates.may(key.0, now) {
            self.refusals.add(SetupRefusal::Unheard);
            return vec![];
        }
        let Ok(opened) = open(keys, onion) else {
            self.refusals.add(SetupRefusal::NotForUs);
            return vec![EngineAction::Send(key.0, LinkMessage::Unreadable(key.1))];
        };
        let reason = self.refuses(key.0, &opened.record, now);
        let mut first =
            || self.replays.is_first(opened.replay, opened.record.terms.issued + 2 * CLOCKS);
        let reason = reason.or_else(|| (!first()).then_some(Reason::Replay));
        if let Some(reason) = reason {
            return vec![self.refuse(key, opened.reply, &opened.forward, reason)];
        }
        let OpenedSetup { record: HopRecord { terms, role }, forward, session, reply, .. } = opened;
        let grant = HopGrant { lifetime: terms.lifetime, rate: rate::granted(terms.rate) };
        let is_bounded = grant.rate > 0;
        match role {
            HopRole::Relay { next } => {
                // A path back to the previous hop is a useless loop.
                let Some(link) = self.link_to(next).filter(|link| *link != key.0) else {
                    return vec![self.refuse(key, reply, &forward, Reason::NoLink)];
                };
                let (there, from_next) = (self.labels.take(chance), self.labels.take(chance));
                let onward = (link, id(chance));
                self.onward.insert(onward, key);
                self.given.insert((key.0, back));
                let asked = Some(Box::new((reply, forward)));
                let to = NextHop::Hop { key: onward, back: from_next, onward: None, asked };
                let until = now + TIMEOUT;
                let since = now;
                let segment = Transit { session, there, back, since, until, grant, is_bounded, to };
                let installed = install(segment.installed(key));
                self.segments.insert(key, segment);
                let onion = Box::new(forward);
                let message = LinkMessage::SetUp { id: onward.1, back: from_next, onion };
                installed.chain([EngineAction::Send(link, message)]).collect()
            }
            HopRole::End { inner_key, path } => {
                let Some(number) = self.has_end_for(key.0).then(|| self.ends.take(path)).flatten()
                else {
                    return vec![self.refuse(key, reply, &forward, Reason::Full)];
                };
                let secret = chance();
                let stretch =
                    PathEnd { number: path, is_source: false, secret, key: inner_key, node: None };
                let there = self.labels.take(chance);
                let answer = HopReply::End { grant, inner_key: exchange::public(&secret) };
                let onion = reply.answer(&forward, answer);
                let to = NextHop::End(number, stretch);
                let until = now + u64::from(grant.lifetime);
                let since = now;
                let segment = Transit { session, there, back, since, until, grant, is_bounded, to };
                let (kept, installed) = (persisted::segment(&segment), install(segment.installed(key)));
                self.segments.insert(key, segment);
                self.given.insert((key.0, back));
                let mut actions = vec![
                    self.keep_last_number(),
                    EngineAction::Keep(persisted::segment_name(key), kept),
                ];
                actions.extend(installed);
                actions.push(answered(key, Some(there), onion));
                actions
            }
        }
    }

    fn refuse(
        &mut self,
        key: (LinkNumber, Id),
        reply: ReplyKey,
        forward: &SetUp,
        reason: Reason,
    ) -> EngineAction {
        self.refusals.add(SetupRefusal::Told(reason));
        answered(key, None, reply.answer(forward, HopReply::Refused(reason)))
    }

    /// Why a set-up is refused for its content, whichever neighbour sent it.
    fn refuses(&self, from: LinkNumber, record: &HopRecord, now: u64) -> Option<Reason> {
        let terms = &record.terms;
        if terms.flags != 0 {
            return Some(Reason::Policy);
        }
        if terms.issued.abs_diff(now) > CLOCKS || !(1..=LONGEST).contains(&terms.lifetime) {
            return Some(Reason::Clock);
        }
        let of_one = self.segments.range((from, Id(0))..=(from, Id(u64::MAX))).count();
        let full = of_one >= MAX_OF_ONE || self.segments.len() >= MAX_SEGMENTS;
        full.then_some(Reason::Full)
    }

    /// Whether another path of this neighbour may end here.
    fn has_end_for(&self, from: LinkNumber) -> bool {
        let ends = self.segments.iter().filter(|(_, it)| matches!(it.to, NextHop::End(..)));
        let ends: Vec<_> = ends.map(|((link, _), _)| *link).collect();
        let of_one = ends.iter().filter(|link| **link == from).count();
        ends.len() < MAX_ENDS && of_one < MAX_ENDS_OF_ONE
    }

    /// Handles the next hop's answer.
    pub(super) fn answered(
        &mut self,
        onward: (LinkNumber, Id),
        there: Option<Label>,
        onion: &SetUp,
        now: u64,
    ) -> Vec<EngineAction> {
        let Some(key) = self.onward.get(&onward).copied() else {
            return self.own_answered(onward, there, onion, now);
        };
        let Some(segment) = self.segments.get_mut(&key) else { return vec![] };
        let before = segment.installed(key);
        // Only the first answer counts.
        let NextHop::Hop { asked, onward: label, .. } = &mut segment.to else { return vec![] };
        let Some(asked) = asked.take() else { return vec![] };
        let (reply, _) = *asked;
        let onion = reply.answer(onion, HopReply::Relay(segment.grant));
        let Some(next) = there.filter(|label| self.given.insert((onward.0, *label))) else {
            let mut actions = self.remove_segment(key);
            actions.push(answered(key, None, onion));
            return actions;
        };
        *label = Some(next);
        segment.since = now;
        segment.until = now + u64::from(segment.grant.lifetime);
        let kept = EngineAction::Keep(persisted::segment_name(key), persisted::segment(segment));
        let answer = answered(key, Some(segment.there), onion);
        let installed = difference(before, segment.installed(key));
        [kept].into_iter().chain(installed).chain([answer]).collect()
    }

    /// The next hop cannot decrypt its slot.
    pub(super) fn unreadable(&mut self, onward: (LinkNumber, Id)) -> Vec<EngineAction> {
        match self.onward.get(&onward).copied() {
            Some(key) => self.give_up(key, Reason::Unreadable),
            None => self.own_unreadable(onward),
        }
    }

    /// Ends a path. If it is pending, the requester is notified of the reason.
    pub(super) fn give_up(&mut self, key: (LinkNumber, Id), reason: Reason) -> Vec<EngineAction> {
        let asked = self.segments.get_mut(&key).and_then(|segment| match &mut segment.to {
            NextHop::Hop { asked, .. } => asked.take(),
            NextHop::End(..) => None,
        });
        let mut actions = self.remove_segment(key);
        if let Some(asked) = asked {
            let (reply, forward) = *asked;
            actions.push(self.refuse(key, reply, &forward, reason));
        }
        actions
    }

    /// Handles a change. A change that the source has not authenticated has no effect.
    pub(super) fn changed(
        &mut self,
        key: (LinkNumber, Id),
        sealed: &[u8; CHANGE],
        now: u64,
    ) -> Vec<EngineAction> {
        // A dropped refresh is repeated: the lifetime is three refresh intervals.
        if !self.changes.may(key.0, now) {
            return vec![];
        }
        let Some(segment) = self.segments.get_mut(&key) else { return vec![] };
        let Ok((change, sealed)) = segment.session.change(sealed) else { return vec![] };
        let on = |(link, id)| {
            EngineAction::Send(link, LinkMessage::Change { id, sealed: Box::new(sealed) })
        };
        let onward = segment.onward().map(on);
        match change {
            HopChange::Refresh(HopGrant { lifetime, rate }) => {
                segment.grant.lifetime = lifetime.min(LONGEST);
                segment.until = now + u64::from(segment.grant.lifetime);
                // A rate change costs as much as a set-up and shares its limit. A dropped change is repeated at
                // the next refresh.
                let is_other = rate::granted(rate) != segment.grant.rate;
                let is_heard = is_other && self.rates.may(key.0, now);
                let before = segment.installed(key);
                if is_heard {
                    segment.set_rate(rate);
                }
                let kept = EngineAction::Keep(persisted::segment_name(key), persisted::segment(segment));
                let limits = difference(before, segment.installed(key));
                [kept].into_iter().chain(limits).chain(onward).collect()
            }
            HopChange::TearDown => {
                let removed = self.remove_segment(key);
                onward.into_iter().chain(removed).collect()
            }
        }
    }

    /// Removes a transit path.
    pub(super) fn remove_segment(&mut self, key: (LinkNumber, Id)) -> Vec<EngineAction> {
        let Some(segment) = self.segments.remove(&key) else { return vec![] };
        let ended = self.segment_carried(key, &segment).map(EngineAction::Ended);
        let mut actions = vec![EngineAction::Forget(persisted::segment_name(key))];
        actions.extend(ended);
        actions.extend(remove(segment.installed(key)));
        self.labels.give_back(segment.there);
        self.given.remove(&(key.0, segment.back));
        match segment.to {
            NextHop::Hop { key: next, back, onward, .. } => {
                self.onward.remove(&next);
                self.labels.give_back(back);
                if let Some(label) = onward {
                    self.given.remove(&(next.0, label));
                }
            }
            NextHop::End(path, _) => self.ends.give_back(path),
        }
        actions
    }

    /// The paths over a link.
    pub(super) fn using(&self, link: LinkNumber) -> Vec<(LinkNumber, Id)> {
        let uses = |(key, segment): &(&(LinkNumber, Id), &Transit)| {
            key.0 == link || segment.onward().is_some_and(|onward| onward.0 == link)
        };
        self.segments.iter().filter(uses).map(|(key, _)| *key).collect()
    }
}

/// A random path identifier.
pub(super) fn id(chance: Rng<'_>) -> Id {
    let bytes = chance();
    Id(bytes.first_chunk().copied().map_or(0, u64::from_be_bytes))
}

fn answered((link, id): (LinkNumber, Id), there: Option<Label>, onion: SetUp) -> EngineAction {
    EngineAction::Send(link, LinkMessage::Answer { id, there, onion: Box::new(onion) })
}
