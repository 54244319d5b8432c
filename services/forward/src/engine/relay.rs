//! Paths that come from a neighbour: to be handed on, or ending here.

use super::end::Stretch;
use super::kept;
use super::rate;
use super::refusals::Refusal;
use super::{
    Action, CLOCKS, Chance, Engine, Link, MOST_ENDS, MOST_ENDS_OF_ONE, MOST_OF_ONE, MOST_SEGMENTS,
    PATIENCE, PathNumber,
};
use crate::control::{Id, Message};
use crate::exchange;
use crate::label::Label;
use crate::onion::{
    Answer, CHANGE, Change, Grant, OnionSecret, Opened, Reason, Record, Reply, Role, Session,
    SetUp, open,
};

/// The longest lifetime of a path until its source refreshes it, in seconds.
const LONGEST: u16 = 3600;

/// A path that a neighbour has asked for.
#[derive(Debug)]
pub struct Segment {
    pub session: Session,
    /// What the neighbour sends with.
    pub there: Label,
    /// What goes back to it has this one.
    pub back: Label,
    /// Since when it stands, in seconds since 1970, if it does.
    pub since: u64,
    /// When it ends by itself.
    pub until: u64,
    /// What was granted, once it is there.
    pub grant: Grant,
    /// Whether there was a bound to its rate at any time: what came above it is counted still.
    pub is_bounded: bool,
    pub to: To,
}

#[derive(Debug)]
pub enum To {
    /// The next hop, which sends with the label `back`. Once it has answered, what goes to it has the label
    /// `onward`; until then there is what it takes to answer for it.
    Hop { key: (Link, Id), back: Label, onward: Option<Label>, asked: Option<Box<(Reply, SetUp)>> },
    /// It ends here.
    End(PathNumber, Stretch),
}

impl Segment {
    /// Its end, if that is here.
    pub fn end(&mut self) -> Option<&mut Stretch> {
        match &mut self.to {
            To::Hop { .. } => None,
            To::End(_, stretch) => Some(stretch),
        }
    }

    /// The same, to be looked at.
    pub fn end_here(&self) -> Option<(PathNumber, &Stretch)> {
        match &self.to {
            To::Hop { .. } => None,
            To::End(number, stretch) => Some((*number, stretch)),
        }
    }

    /// The way on.
    fn onward(&self) -> Option<(Link, Id)> {
        match &self.to {
            To::Hop { key, .. } => Some(*key),
            To::End(..) => None,
        }
    }
}

impl Engine {
    /// A neighbour wants a path.
    pub(super) fn set_up(
        &mut self,
        key: (Link, Id),
        back: Label,
        onion: &SetUp,
        keys: &[OnionSecret],
        now: u64,
        chance: Chance<'_>,
    ) -> Vec<Action> {
        // One name for two paths: whichever was meant, the first one stays. Who asks too often is not heard.
        // So it is with one label for two.
        let is_named = self.segments.contains_key(&key) || self.given.contains(&(key.0, back));
        if is_named || !self.rates.may(key.0, now) {
            self.refusals.add(Refusal::Unheard);
            return vec![];
        }
        let Ok(opened) = open(keys, onion) else {
            self.refusals.add(Refusal::NotForUs);
            return vec![Action::Send(key.0, Message::Unreadable(key.1))];
        };
        let reason = self.refuses(key.0, &opened.record, now);
        let mut first =
            || self.replays.is_first(opened.replay, opened.record.terms.issued + 2 * CLOCKS);
        let reason = reason.or_else(|| (!first()).then_some(Reason::Replay));
        if let Some(reason) = reason {
            return vec![self.refuse(key, opened.reply, &opened.forward, reason)];
        }
        let Opened { record: Record { terms, role }, forward, session, reply, .. } = opened;
        let grant = Grant { lifetime: terms.lifetime, rate: rate::granted(terms.rate) };
        let is_bounded = grant.rate > 0;
        match role {
            Role::Relay { next } => {
                // Back to where it came from is a loop, and of no use to anybody.
                let Some(link) = self.link_to(next).filter(|link| *link != key.0) else {
                    return vec![self.refuse(key, reply, &forward, Reason::NoLink)];
                };
                let (there, from_next) = (self.labels.take(chance), self.labels.take(chance));
                let onward = (link, id(chance));
                self.onward.insert(onward, key);
                self.given.insert((key.0, back));
                let asked = Some(Box::new((reply, forward)));
                let to = To::Hop { key: onward, back: from_next, onward: None, asked };
                let until = now + PATIENCE;
                let since = now;
                let segment = Segment { session, there, back, since, until, grant, is_bounded, to };
                let bound = segment.bound(link, from_next);
                self.segments.insert(key, segment);
                let onion = Box::new(forward);
                let mut actions = vec![Action::Let(link, from_next)];
                actions.extend(bound);
                actions.extend([
                    Action::Swap { from: from_next, to: back, by: key.0 },
                    Action::Send(link, Message::SetUp { id: onward.1, back: from_next, onion }),
                ]);
                actions
            }
            Role::End { inner_key, path } => {
                let Some(number) = self.has_end_for(key.0).then(|| self.ends.take(path)).flatten()
                else {
                    return vec![self.refuse(key, reply, &forward, Reason::Full)];
                };
                let secret = chance();
                let stretch =
                    Stretch { number: path, is_source: false, secret, key: inner_key, node: None };
                let there = self.labels.take(chance);
                let answer = Answer::End { grant, inner_key: exchange::public(&secret) };
                let onion = reply.answer(&forward, answer);
                let (between, ttl) = (stretch.outer(), stretch.ttl());
                let to = To::End(number, stretch.clone());
                let until = now + u64::from(grant.lifetime);
                let since = now;
                let segment = Segment { session, there, back, since, until, grant, is_bounded, to };
                let (kept, bound) = (kept::segment(&segment), segment.bound(key.0, there));
                self.segments.insert(key, segment);
                self.given.insert((key.0, back));
                let mut actions = vec![
                    self.keep_last_number(),
                    Action::Keep(kept::segment_name(key), kept),
                    Action::End(number, stretch),
                    Action::Push { between, with: back, ttl, by: key.0 },
                    Action::Let(key.0, there),
                ];
                actions.extend(bound);
                actions.extend([Action::Pop(there), answered(key, Some(there), onion)]);
                actions
            }
        }
    }

    fn refuse(&mut self, key: (Link, Id), reply: Reply, forward: &SetUp, reason: Reason) -> Action {
        self.refusals.add(Refusal::Told(reason));
        answered(key, None, reply.answer(forward, Answer::Refused(reason)))
    }

    /// Why a set-up is refused for what it asks, whoever asks it.
    fn refuses(&self, from: Link, record: &Record, now: u64) -> Option<Reason> {
        let terms = &record.terms;
        if terms.flags != 0 {
            return Some(Reason::Policy);
        }
        if terms.issued.abs_diff(now) > CLOCKS || !(1..=LONGEST).contains(&terms.lifetime) {
            return Some(Reason::Clock);
        }
        let of_one = self.segments.range((from, Id(0))..=(from, Id(u64::MAX))).count();
        let full = of_one >= MOST_OF_ONE || self.segments.len() >= MOST_SEGMENTS;
        full.then_some(Reason::Full)
    }

    /// Whether one more path of this neighbour may end here.
    fn has_end_for(&self, from: Link) -> bool {
        let ends = self.segments.iter().filter(|(_, it)| matches!(it.to, To::End(..)));
        let ends: Vec<_> = ends.map(|((link, _), _)| *link).collect();
        let of_one = ends.iter().filter(|link| **link == from).count();
        ends.len() < MOST_ENDS && of_one < MOST_ENDS_OF_ONE
    }

    /// The next hop has answered.
    pub(super) fn answered(
        &mut self,
        onward: (Link, Id),
        there: Option<Label>,
        onion: &SetUp,
        now: u64,
    ) -> Vec<Action> {
        let Some(key) = self.onward.get(&onward).copied() else {
            return self.own_answered(onward, there, onion, now);
        };
        let Some(segment) = self.segments.get_mut(&key) else { return vec![] };
        // Only the first answer counts.
        let To::Hop { asked, onward: label, .. } = &mut segment.to else { return vec![] };
        let Some(asked) = asked.take() else { return vec![] };
        let (reply, _) = *asked;
        let onion = reply.answer(onion, Answer::Relay(segment.grant));
        let Some(next) = there.filter(|label| self.given.insert((onward.0, *label))) else {
            let mut actions = self.remove_segment(key);
            actions.push(answered(key, None, onion));
            return actions;
        };
        *label = Some(next);
        segment.since = now;
        segment.until = now + u64::from(segment.grant.lifetime);
        let mine = segment.there;
        let mut actions = vec![
            Action::Keep(kept::segment_name(key), kept::segment(segment)),
            Action::Let(key.0, mine),
        ];
        actions.extend(segment.bound(key.0, mine));
        actions.extend([
            Action::Swap { from: mine, to: next, by: onward.0 },
            answered(key, Some(mine), onion),
        ]);
        actions
    }

    /// The next hop cannot read its part.
    pub(super) fn unreadable(&mut self, onward: (Link, Id)) -> Vec<Action> {
        match self.onward.get(&onward).copied() {
            Some(key) => self.give_up(key, Reason::Unreadable),
            None => self.own_unreadable(onward),
        }
    }

    /// Ends a path; who has asked for it is told why, if it does not stand yet.
    pub(super) fn give_up(&mut self, key: (Link, Id), reason: Reason) -> Vec<Action> {
        let asked = self.segments.get_mut(&key).and_then(|segment| match &mut segment.to {
            To::Hop { asked, .. } => asked.take(),
            To::End(..) => None,
        });
        let mut actions = self.remove_segment(key);
        if let Some(asked) = asked {
            let (reply, forward) = *asked;
            actions.push(self.refuse(key, reply, &forward, reason));
        }
        actions
    }

    /// The source wants something changed. What is no word of the source's changes nothing.
    pub(super) fn changed(
        &mut self,
        key: (Link, Id),
        sealed: &[u8; CHANGE],
        now: u64,
    ) -> Vec<Action> {
        // What is not heard now is said again: a path is kept for three times as long as until it is refreshed.
        if !self.changes.may(key.0, now) {
            return vec![];
        }
        let Some(segment) = self.segments.get_mut(&key) else { return vec![] };
        let Ok((change, sealed)) = segment.session.change(sealed) else { return vec![] };
        let on = |(link, id)| Action::Send(link, Message::Change { id, sealed: Box::new(sealed) });
        let onward = segment.onward().map(on);
        match change {
            Change::Refresh(Grant { lifetime, rate }) => {
                segment.grant.lifetime = lifetime.min(LONGEST);
                segment.until = now + u64::from(segment.grant.lifetime);
                // Another rate takes as much work as a set-up, and is one of as many in a second. What is
                // not heard now is said again when the path is refreshed.
                let is_other = rate::granted(rate) != segment.grant.rate;
                let is_heard = is_other && self.rates.may(key.0, now);
                let bounds = if is_heard { segment.set_rate(key, rate) } else { vec![] };
                let kept = Action::Keep(kept::segment_name(key), kept::segment(segment));
                [kept].into_iter().chain(bounds).chain(onward).collect()
            }
            Change::TearDown => {
                let removed = self.remove_segment(key);
                onward.into_iter().chain(removed).collect()
            }
        }
    }

    /// Nothing goes that way any more.
    pub(super) fn remove_segment(&mut self, key: (Link, Id)) -> Vec<Action> {
        let Some(segment) = self.segments.remove(&key) else { return vec![] };
        let ended = self.segment_carried(key, &segment).map(Action::Ended);
        let mut actions = vec![Action::Forget(kept::segment_name(key))];
        actions.extend(ended);
        self.labels.give_back(segment.there);
        actions.push(Action::Forbid(key.0, segment.there));
        actions.extend(segment.is_bounded.then_some(Action::Unbound(key.0, segment.there)));
        actions.push(self.uncount(key.0, segment.back));
        match segment.to {
            To::Hop { key: next, back, onward, .. } => {
                self.onward.remove(&next);
                self.labels.give_back(back);
                actions.push(Action::Forbid(next.0, back));
                actions.extend(segment.is_bounded.then_some(Action::Unbound(next.0, back)));
                actions.extend(onward.map(|label| self.uncount(next.0, label)));
            }
            To::End(path, stretch) => {
                self.ends.give_back(path);
                actions.push(Action::NoEnd(path, stretch.outer()));
            }
        }
        actions
    }

    /// Nothing goes to the neighbour with the label that it gave.
    pub(super) fn uncount(&mut self, link: Link, label: Label) -> Action {
        self.given.remove(&(link, label));
        Action::Uncount(link, label)
    }

    /// Those that use a link.
    pub(super) fn using(&self, link: Link) -> Vec<(Link, Id)> {
        let uses = |(key, segment): &(&(Link, Id), &Segment)| {
            key.0 == link || segment.onward().is_some_and(|onward| onward.0 == link)
        };
        self.segments.iter().filter(uses).map(|(key, _)| *key).collect()
    }
}

/// A name for a path on a link.
pub(super) fn id(chance: Chance<'_>) -> Id {
    let bytes = chance();
    Id(bytes.first_chunk().copied().map_or(0, u64::from_be_bytes))
}

fn answered((link, id): (Link, Id), there: Option<Label>, onion: SetUp) -> Action {
    Action::Send(link, Message::Answer { id, there, onion: Box::new(onion) })
}
