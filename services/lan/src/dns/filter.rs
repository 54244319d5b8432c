//! Filters an upstream's answer: only records that belong to the question, and no addresses inside
//! of the box.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamValue};
use hickory_proto::rr::{DNSClass, Name, RData, Record};

use super::answer::{CachedAnswer, LONGEST_NEGATIVE_TTL, LONGEST_TTL};
use super::inside::{BoxNetworks, UpstreamClass};
use super::query::DnsQuestion;

/// The maximum length of a chain of CNAME records.
pub const LONGEST_CHAIN: usize = 16;

/// The filtered answer.
#[derive(Debug, Clone, PartialEq)]
pub struct FilteredAnswer {
    pub answer: CachedAnswer,
    /// The number of records that were removed because they refer to the box.
    pub removed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUpstreamAnswer {
    /// The upstream has failed; another one may succeed.
    Upstream,
    /// The CNAME records form a loop, or a chain that is too long; no upstream can help.
    Chain,
}

/// Filters the records of `message` that belong to `question`. `inside` are the names and addresses
/// that an upstream cannot define; `None` for a node of the box that was asked for a name of the
/// box.
pub fn filter(
    question: &DnsQuestion,
    message: Message,
    inside: Option<&BoxNetworks>,
) -> Result<FilteredAnswer, InvalidUpstreamAnswer> {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(InvalidUpstreamAnswer::Upstream);
    }
    let FollowedChain { records, last, ends, removed } =
        follow(question, &message.answers, inside)?;
    let mut answer = CachedAnswer::with_code(if ends { ResponseCode::NoError } else { code });
    answer.records = records.into_iter().cloned().collect();
    if !ends && removed == 0 {
        answer.soa = message.authorities.into_iter().find_map(|record| negative(record, &last));
    }
    for record in answer.records.iter_mut().chain(&mut answer.soa) {
        // A TTL with the highest bit set counts as 0 (RFC 2181, 8).
        let ttl = i32::try_from(record.ttl).map_or(0, i32::unsigned_abs);
        record.ttl = ttl.min(LONGEST_TTL);
    }
    Ok(FilteredAnswer { answer, removed })
}

/// The records that belong to a question.
struct FollowedChain<'a> {
    records: Vec<&'a Record>,
    /// The name at the end of the CNAME chain.
    last: Name,
    /// Whether that name has records of the type.
    ends: bool,
    removed: u64,
}

/// Follows the CNAME chain from the question's name.
fn follow<'a>(
    question: &DnsQuestion,
    answers: &'a [Record],
    inside: Option<&BoxNetworks>,
) -> Result<FollowedChain<'a>, InvalidUpstreamAnswer> {
    let leads_in = |data: &RData| inside.is_some_and(|inside| points_inside(data, inside));
    let mut found =
        FollowedChain { records: vec![], last: question.name.clone(), ends: false, removed: 0 };
    let mut passed: Vec<Name> = vec![];
    loop {
        let mut alias = None;
        let (before, removed) = (found.records.len(), found.removed);
        for record in answers {
            if record.dns_class != DNSClass::IN || record.name != found.last {
                continue;
            }
            if record.record_type() == question.kind {
                if leads_in(&record.data) {
                    found.removed += 1;
                } else {
                    found.records.push(record);
                }
            } else if let RData::CNAME(target) = &record.data {
                alias = alias.or(Some((record, &target.0)));
            }
        }
        found.ends = found.records.len() > before;
        let Some((record, target)) = alias else { return Ok(found) };
        if found.ends || found.removed > removed {
            return Ok(found);
        }
        if leads_in(&record.data) {
            found.removed += 1;
            return Ok(found);
        }
        passed.push(std::mem::replace(&mut found.last, target.clone()));
        if passed.contains(target) || passed.len() > LONGEST_CHAIN {
            return Err(InvalidUpstreamAnswer::Chain);
        }
        found.records.push(record);
    }
}

/// `record` if it is the SOA record of a zone that contains `name`, with the TTL of a negative
/// answer (RFC 2308, 5).
fn negative(mut record: Record, name: &Name) -> Option<Record> {
    let RData::SOA(start) = &record.data else { return None };
    record.ttl = record.ttl.min(start.minimum).min(LONGEST_NEGATIVE_TTL);
    (record.dns_class == DNSClass::IN && record.name.zone_of(name)).then_some(record)
}

/// Whether the record's data refers to the box's networks or the node itself.
fn points_inside(data: &RData, inside: &BoxNetworks) -> bool {
    if let Some(address) = data.ip_addr() {
        return inside.is_private(address);
    }
    match data {
        RData::CNAME(target) => inside.classify(&target.0) != UpstreamClass::Outside,
        RData::HTTPS(service) => service_points_inside(service, inside),
        RData::SVCB(service) => service_points_inside(service, inside),
        _ => false,
    }
}

/// Whether the target or the address hints of an SVCB record refer to the box (RFC 9460, 2.5 and
/// 7.3).
fn service_points_inside(service: &SVCB, inside: &BoxNetworks) -> bool {
    let hint = |(_, value): &(_, SvcParamValue)| match value {
        SvcParamValue::Ipv4Hint(hint) => hint.0.iter().any(|it| inside.is_private(it.0.into())),
        SvcParamValue::Ipv6Hint(hint) => hint.0.iter().any(|it| inside.is_private(it.0.into())),
        _ => false,
    };
    inside.classify(&service.target_name) != UpstreamClass::Outside
        || service.svc_params.iter().any(hint)
}

#[cfg(test)]
mod tests;
