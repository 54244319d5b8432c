//! Paths that neighbours request: through this node, or ending here.

use std::time::Duration;

use super::end::PathEnd;
use super::installed::{difference, install, remove};
use super::persisted;
use super::rate;
use super::refusals::SetupRefusal;
use super::{
    Engine, EngineAction, LinkNumber, MAX_CLOCK_SKEW, MAX_ENDS, MAX_ENDS_PER_NEIGHBOUR,
    MAX_TRANSITS, MAX_TRANSITS_PER_NEIGHBOUR, PathNumber, Rng, TIMEOUT,
};
use crate::control::{Id, LinkMessage};
use crate::exchange;
use crate::label::Label;
use crate::onion::{
    CHANGE, HopChange, HopGrant, HopRecord, HopReply, HopRole, HopSession, OnionSecret,
    OpenedSetup, Reason, ReplyKey, SetUp, open,
};

/// The maximum lifetime of a path until its source refreshes it, in seconds.
const MAX_LIFETIME: u16 = 3600;

/// A path that a neighbour has requested.
#[derive(Debug)]
pub struct Transit {
    pub session: HopSession,
    /// The label of packets from the neighbour.
    pub in_label: Label,
    /// The label of packets to the neighbour.
    pub reverse_label: Label,
    /// When the path came up, in seconds since 1970; 0 if it is pending.
    pub since: u64,
    /// When the path expires.
    pub expires: u64,
    /// What was granted, once the path is up.
    pub grant: HopGrant,
    /// Whether it ever had a rate limit: the drop counter is kept.
    pub is_rate_limited: bool,
    pub next_hop: NextHop,
}

#[derive(Debug)]
pub enum NextHop {
    /// The next hop, which sends with the label `reverse_label`. Once it has answered, packets to it have the label
    /// `out_label`; until then, the reply key is kept here.
    Hop {
        key: (LinkNumber, Id),
        reverse_label: Label,
        out_label: Option<Label>,
        pending: Option<Box<(ReplyKey, SetUp)>>,
    },
    End(PathNumber, PathEnd),
}

impl Transit {
    /// The local end, if the path ends here.
    pub fn local_end_mut(&mut self) -> Option<&mut PathEnd> {
        match &mut self.next_hop {
            NextHop::Hop { .. } => None,
            NextHop::End(_, path_end) => Some(path_end),
        }
    }

    /// The local end, for reading.
    pub fn local_end(&self) -> Option<(PathNumber, &PathEnd)> {
        match &self.next_hop {
            NextHop::Hop { .. } => None,
            NextHop::End(number, path_end) => Some((*number, path_end)),
        }
    }

    fn next_hop_key(&self) -> Option<(LinkNumber, Id)> {
        match &self.next_hop {
            NextHop::Hop { key, .. } => Some(*key),
            NextHop::End(..) => None,
        }
    }
}

impl Engine {
    /// Handles a set-up.
    pub(super) fn handle_setup(
        &mut self,
        key: (LinkNumber, Id),
        reverse_label: Label,
        onion: &SetUp,
        keys: &[OnionSecret],
        now: u64,
        rng: Rng<'_>,
    ) -> Vec<EngineAction> {
        // Messages over the rate limit are dropped. If an identifier or a label is reused, the first path
        // stays.
        let is_named =
            self.transits.contains_key(&key) || self.used_labels.contains(&(key.0, reverse_label));
        if is_named || !self.rates.set_ups.allows(key.0, Duration::from_secs(now)) {
            self.refusals.add(SetupRefusal::Dropped);
            return vec![];
        }
        let Ok(opened) = open(keys, onion) else {
            self.refusals.add(SetupRefusal::NotForUs);
            return vec![EngineAction::Send(key.0, LinkMessage::Unreadable(key.1))];
        };
        let reason = self.refusal_reason(key.0, &opened.record, now);
        let mut first = || {
            self.replays.is_first(opened.replay, opened.record.terms.issued + 2 * MAX_CLOCK_SKEW)
        };
        let reason = reason.or_else(|| (!first()).then_some(Reason::Replay));
        if let Some(reason) = reason {
            return vec![self.refuse(key, opened.reply, &opened.forward, reason)];
        }
        let OpenedSetup { record: HopRecord { terms, role }, forward, session, reply, .. } = opened;
        let grant = HopGrant { lifetime: terms.lifetime, rate: rate::grant(terms.rate) };
        let is_rate_limited = grant.rate > 0;
        match role {
            HopRole::Relay { next } => {
                // A path back to the previous hop is a useless loop.
                let Some(link) = self.link_to(next).filter(|link| *link != key.0) else {
                    return vec![self.refuse(key, reply, &forward, Reason::NoLink)];
                };
                let (in_label, from_next) = (self.labels.allocate(rng), self.labels.allocate(rng));
                let onward = (link, random_id(rng));
                self.transits_by_next.insert(onward, key);
                self.used_labels.insert((key.0, reverse_label));
                let pending = Some(Box::new((reply, forward)));
                let next_hop = NextHop::Hop {
                    key: onward,
                    reverse_label: from_next,
                    out_label: None,
                    pending,
                };
                let expires = now + TIMEOUT;
                let since = now;
                let transit = Transit {
                    session,
                    in_label,
                    reverse_label,
                    since,
                    expires,
                    grant,
                    is_rate_limited,
                    next_hop,
                };
                let installed = install(transit.installed(key));
                self.transits.insert(key, transit);
                let onion = Box::new(forward);
                let message = LinkMessage::SetUp { id: onward.1, reverse_label: from_next, onion };
                installed.chain([EngineAction::Send(link, message)]).collect()
            }
            HopRole::End { inner_key, path } => {
                let Some(number) =
                    self.has_free_end(key.0).then(|| self.end_numbers.allocate(path)).flatten()
                else {
                    return vec![self.refuse(key, reply, &forward, Reason::Full)];
                };
                let secret = rng();
                let path_end =
                    PathEnd { number: path, is_source: false, secret, key: inner_key, node: None };
                let in_label = self.labels.allocate(rng);
                let answer = HopReply::End { grant, inner_key: exchange::public(&secret) };
                let onion = reply.answer(&forward, answer);
                let next_hop = NextHop::End(number, path_end);
                let expires = now + u64::from(grant.lifetime);
                let since = now;
                let transit = Transit {
                    session,
                    in_label,
                    reverse_label,
                    since,
                    expires,
                    grant,
                    is_rate_limited,
                    next_hop,
                };
                let (saved, installed) =
                    (persisted::encode_transit(&transit), install(transit.installed(key)));
                self.transits.insert(key, transit);
                self.used_labels.insert((key.0, reverse_label));
                let mut actions = vec![
                    self.persist_last_number(),
                    EngineAction::Keep(persisted::transit_name(key), saved),
                ];
                actions.extend(installed);
                actions.push(answer_action(key, Some(in_label), onion));
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
        self.refusals.add(SetupRefusal::Refused(reason));
        answer_action(key, None, reply.answer(forward, HopReply::Refused(reason)))
    }

    /// Why a set-up is refused for its content, whichever neighbour sent it.
    fn refusal_reason(&self, from: LinkNumber, record: &HopRecord, now: u64) -> Option<Reason> {
        let terms = &record.terms;
        if terms.flags != 0 {
            return Some(Reason::Policy);
        }
        if terms.issued.abs_diff(now) > MAX_CLOCK_SKEW
            || !(1..=MAX_LIFETIME).contains(&terms.lifetime)
        {
            return Some(Reason::Clock);
        }
        let of_one = self.transits.range((from, Id(0))..=(from, Id(u64::MAX))).count();
        let full = of_one >= MAX_TRANSITS_PER_NEIGHBOUR || self.transits.len() >= MAX_TRANSITS;
        full.then_some(Reason::Full)
    }

    /// Whether another path of this neighbour may end here.
    fn has_free_end(&self, from: LinkNumber) -> bool {
        let ends = self.transits.iter().filter(|(_, it)| matches!(it.next_hop, NextHop::End(..)));
        let ends: Vec<_> = ends.map(|((link, _), _)| *link).collect();
        let of_one = ends.iter().filter(|link| **link == from).count();
        ends.len() < MAX_ENDS && of_one < MAX_ENDS_PER_NEIGHBOUR
    }

    /// Handles the next hop's answer.
    pub(super) fn handle_answer(
        &mut self,
        onward: (LinkNumber, Id),
        next_label: Option<Label>,
        onion: &SetUp,
        now: u64,
    ) -> Vec<EngineAction> {
        let Some(key) = self.transits_by_next.get(&onward).copied() else {
            return self.handle_own_answer(onward, next_label, onion, now);
        };
        let Some(transit) = self.transits.get_mut(&key) else { return vec![] };
        let before = transit.installed(key);
        // Only the first answer counts.
        let NextHop::Hop { pending, out_label: label, .. } = &mut transit.next_hop else {
            return vec![];
        };
        let Some(pending) = pending.take() else { return vec![] };
        let (reply, _) = *pending;
        let onion = reply.answer(onion, HopReply::Relay(transit.grant));
        let Some(next) = next_label.filter(|label| self.used_labels.insert((onward.0, *label)))
        else {
            let mut actions = self.remove_transit(key);
            actions.push(answer_action(key, None, onion));
            return actions;
        };
        *label = Some(next);
        transit.since = now;
        transit.expires = now + u64::from(transit.grant.lifetime);
        let saved =
            EngineAction::Keep(persisted::transit_name(key), persisted::encode_transit(transit));
        let answer = answer_action(key, Some(transit.in_label), onion);
        let installed = difference(before, transit.installed(key));
        [saved].into_iter().chain(installed).chain([answer]).collect()
    }

    /// The next hop cannot decrypt its slot.
    pub(super) fn handle_unreadable(&mut self, onward: (LinkNumber, Id)) -> Vec<EngineAction> {
        match self.transits_by_next.get(&onward).copied() {
            Some(key) => self.abort(key, Reason::Unreadable),
            None => self.handle_own_unreadable(onward),
        }
    }

    /// Ends a path. If it is pending, the requester is notified of the reason.
    pub(super) fn abort(&mut self, key: (LinkNumber, Id), reason: Reason) -> Vec<EngineAction> {
        let pending = self.transits.get_mut(&key).and_then(|transit| match &mut transit.next_hop {
            NextHop::Hop { pending, .. } => pending.take(),
            NextHop::End(..) => None,
        });
        let mut actions = self.remove_transit(key);
        if let Some(pending) = pending {
            let (reply, forward) = *pending;
            actions.push(self.refuse(key, reply, &forward, reason));
        }
        actions
    }

    /// Handles a change. A change that the source has not authenticated has no effect.
    pub(super) fn handle_change(
        &mut self,
        key: (LinkNumber, Id),
        sealed: &[u8; CHANGE],
        now: u64,
    ) -> Vec<EngineAction> {
        // A dropped refresh is repeated: the lifetime is three refresh intervals.
        if !self.rates.changes.allows(key.0, Duration::from_secs(now)) {
            return vec![];
        }
        let Some(transit) = self.transits.get_mut(&key) else { return vec![] };
        let Ok((change, sealed)) = transit.session.change(sealed) else { return vec![] };
        let on = |(link, id)| {
            EngineAction::Send(link, LinkMessage::Change { id, sealed: Box::new(sealed) })
        };
        let onward = transit.next_hop_key().map(on);
        match change {
            HopChange::Refresh(HopGrant { lifetime, rate }) => {
                transit.grant.lifetime = lifetime.min(MAX_LIFETIME);
                transit.expires = now + u64::from(transit.grant.lifetime);
                // A rate change costs as much as a set-up and shares its limit. A dropped change is repeated at
                // the next refresh.
                let is_other = rate::grant(rate) != transit.grant.rate;
                let is_heard =
                    is_other && self.rates.set_ups.allows(key.0, Duration::from_secs(now));
                let before = transit.installed(key);
                if is_heard {
                    transit.set_rate(rate);
                }
                let saved = EngineAction::Keep(
                    persisted::transit_name(key),
                    persisted::encode_transit(transit),
                );
                let limits = difference(before, transit.installed(key));
                [saved].into_iter().chain(limits).chain(onward).collect()
            }
            HopChange::TearDown => {
                let removed = self.remove_transit(key);
                onward.into_iter().chain(removed).collect()
            }
        }
    }

    /// Removes a transit path.
    pub(super) fn remove_transit(&mut self, key: (LinkNumber, Id)) -> Vec<EngineAction> {
        let Some(transit) = self.transits.remove(&key) else { return vec![] };
        let ended = self.transit_counters(key, &transit).map(EngineAction::Ended);
        let mut actions = vec![EngineAction::Forget(persisted::transit_name(key))];
        actions.extend(ended);
        actions.extend(remove(transit.installed(key)));
        self.labels.free(transit.in_label);
        self.used_labels.remove(&(key.0, transit.reverse_label));
        match transit.next_hop {
            NextHop::Hop { key: next, reverse_label, out_label, .. } => {
                self.transits_by_next.remove(&next);
                self.labels.free(reverse_label);
                if let Some(label) = out_label {
                    self.used_labels.remove(&(next.0, label));
                }
            }
            NextHop::End(path, _) => self.end_numbers.free(path),
        }
        actions
    }

    /// The paths over a link.
    pub(super) fn transits_over(&self, link: LinkNumber) -> Vec<(LinkNumber, Id)> {
        let uses = |(key, transit): &(&(LinkNumber, Id), &Transit)| {
            key.0 == link || transit.next_hop_key().is_some_and(|onward| onward.0 == link)
        };
        self.transits.iter().filter(uses).map(|(key, _)| *key).collect()
    }
}

/// A random path identifier.
pub(super) fn random_id(rng: Rng<'_>) -> Id {
    let bytes = rng();
    Id(bytes.first_chunk().copied().map_or(0, u64::from_be_bytes))
}

fn answer_action((link, id): (LinkNumber, Id), label: Option<Label>, onion: SetUp) -> EngineAction {
    EngineAction::Send(link, LinkMessage::Answer { id, label, onion: Box::new(onion) })
}
