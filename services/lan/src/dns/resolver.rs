//! Decides what happens to a query: it is answered, dropped, or forwarded to upstreams. It has no
//! clock and no socket.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use super::answer::{CachedAnswer, LONGEST_TTL, OWN_TTL, reply};
use super::box_zone::BoxZone;
use super::cache::AnswerCache;
use super::counters::DnsCounters;
use super::filter::{InvalidUpstreamAnswer, filter};
use super::inside::{BoxNetworks, UpstreamClass};
use super::nodes;
use super::query::{DnsQuestion, Query, Transport};
use super::rates::{ClientPrefix, ClientRates};
use super::upstream_path::UpstreamPath;
use super::zones::Zones;

/// The state of all decisions.
#[derive(Debug)]
pub struct Resolver {
    pub box_networks: BoxNetworks,
    pub box_zone: BoxZone,
    pub zones: Zones,
    pub cache: AnswerCache,
    pub counters: DnsCounters,
    rates: ClientRates,
    /// Whether upstreams are nodes of the box, and know its names.
    forwards_inside: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum QueryDecision {
    Drop,
    Reply(Vec<u8>),
    /// The query must be forwarded to upstreams.
    Forward(Query),
}

impl Resolver {
    /// A resolver without names; `cache` is in bytes.
    pub fn new(forwards_inside: bool, cache: usize) -> Self {
        Self {
            box_networks: BoxNetworks::default(),
            box_zone: BoxZone::default(),
            zones: Zones::default(),
            cache: AnswerCache::new(cache),
            counters: DnsCounters::default(),
            rates: ClientRates::default(),
            forwards_inside,
        }
    }

    /// Whether a message of `from` is read at `now`.
    pub fn admit(&mut self, now: Duration, from: SocketAddr) -> bool {
        if self.box_networks.upstream_path(from.ip()).is_none() {
            self.counters.refused.strangers += 1;
            return false;
        }
        let has_left = self.rates.take(now, ClientPrefix::from(from));
        self.counters.limited += u64::from(!has_left);
        has_left
    }

    /// Decides about the message `bytes`, received at `now` from an admitted client with this path.
    pub fn handle(
        &mut self,
        now: Duration,
        bytes: &[u8],
        transport: Transport,
        path: UpstreamPath,
    ) -> QueryDecision {
        let mut query = match Query::parse(bytes, transport) {
            Ok(query) => query,
            Err(refused) => {
                self.counters.refused.count(refused.reason);
                return refused.reply.map_or(QueryDecision::Drop, QueryDecision::Reply);
            }
        };
        query.question.path = path;
        self.counters.queries += 1;
        if let Some(answer) = self.local_answer(&query.question) {
            self.counters.from_own += 1;
            return QueryDecision::Reply(reply(&query, &answer));
        }
        if let Some(answer) = self.cache.get(now, &query.question) {
            self.counters.from_cache += 1;
            return QueryDecision::Reply(reply(&query, &answer));
        }
        if !query.recursion {
            self.counters.refused.recursion += 1;
            return QueryDecision::Reply(reply(
                &query,
                &CachedAnswer::with_code(ResponseCode::Refused),
            ));
        }
        QueryDecision::Forward(query)
    }

    /// The node's own answer; `None` if an upstream must be asked.
    fn local_answer(&self, question: &DnsQuestion) -> Option<CachedAnswer> {
        let of_the_box = || self.box_zone.answer(question).or_else(|| self.zones.answer(question));
        let known = if question.path == UpstreamPath::Guest { None } else { of_the_box() };
        let known = known.or_else(|| nodes::answer(question));
        let answer = known.or_else(|| match self.box_networks.classify(&question.name) {
            UpstreamClass::Never(zone) => Some(local_name(question, zone)),
            UpstreamClass::Inside(zone) if !self.forwards_inside => {
                Some(negative_answer(question, zone))
            }
            UpstreamClass::Inside(_) | UpstreamClass::Outside => None,
        });
        let exists = |answer: &CachedAnswer| answer.code != ResponseCode::NXDomain;
        if question.kind == RecordType::ANY && answer.as_ref().is_none_or(exists) {
            return Some(CachedAnswer::minimal_any(question));
        }
        answer
    }

    /// The answer from an upstream's `message` about `question`; `None` if the next upstream must
    /// be asked. It is cached if `keep`.
    pub fn handle_upstream(
        &mut self,
        now: Duration,
        question: &DnsQuestion,
        message: Message,
        keep: bool,
    ) -> Option<CachedAnswer> {
        // A board asks its router about names of the box.
        let of_the_box = self.box_networks.classify(&question.name) != UpstreamClass::Outside;
        let inside = Some(&self.box_networks).filter(|_| !(of_the_box && self.forwards_inside));
        let max_ttl = if of_the_box { OWN_TTL } else { LONGEST_TTL };
        let answer = match filter(question, message, inside) {
            Ok(kept) => {
                self.counters.removed += kept.removed;
                kept.answer.aged(0, max_ttl)
            }
            Err(InvalidUpstreamAnswer::Chain) => CachedAnswer::with_code(ResponseCode::ServFail),
            Err(InvalidUpstreamAnswer::Upstream) => return None,
        };
        if keep {
            self.cache.put(now, question, &answer);
        }
        Some(answer)
    }
}

/// The answer about names that are never forwarded: `localhost` is this node, all others do not
/// exist.
fn local_name(question: &DnsQuestion, zone: Name) -> CachedAnswer {
    let last = zone.iter().next_back().unwrap_or_default();
    if last.eq_ignore_ascii_case(b"localhost") {
        return CachedAnswer::localhost(question);
    }
    negative_answer(question, zone)
}

/// A negative answer; the name of the zone itself exists, though.
fn negative_answer(question: &DnsQuestion, zone: Name) -> CachedAnswer {
    if question.name == zone {
        CachedAnswer::no_data(zone)
    } else {
        CachedAnswer::no_such_name(zone)
    }
}

#[cfg(test)]
mod tests;
