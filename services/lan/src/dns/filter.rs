//! What of an upstream's answer is kept: what belongs to the question, and leads nowhere inside.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamValue};
use hickory_proto::rr::{DNSClass, Name, RData, Record};

use super::answer::{CachedAnswer, LONGEST_NEGATIVE_TTL, LONGEST_TTL};
use super::inside::{Inside, UpstreamClass};
use super::query::DnsQuestion;

/// How often one name may stand for another before there is an answer.
pub const LONGEST_CHAIN: usize = 16;

/// What is kept of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct FilteredAnswer {
    pub answer: CachedAnswer,
    /// Records that were taken out because they lead inside.
    pub removed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Useless {
    /// The upstream cannot answer; another one may.
    Upstream,
    /// Names stand for each other, or too many in a row: nobody can answer that.
    Chain,
}

/// Takes of `message` what belongs to `question`. `inside` are the names and addresses about which an
/// upstream has no say; `None` if it has, being a node of the box that was asked for a name of the box.
pub fn filter(
    question: &DnsQuestion,
    message: Message,
    inside: Option<&Inside>,
) -> Result<FilteredAnswer, Useless> {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(Useless::Upstream);
    }
    let Found { records, last, ends, removed } = follow(question, &message.answers, inside)?;
    let mut answer = CachedAnswer::of(if ends { ResponseCode::NoError } else { code });
    answer.records = records.into_iter().cloned().collect();
    if !ends && removed == 0 {
        answer.soa = message.authorities.into_iter().find_map(|record| negative(record, &last));
    }
    for record in answer.records.iter_mut().chain(&mut answer.soa) {
        // A time with the highest bit is none (RFC 2181, 8).
        let ttl = i32::try_from(record.ttl).map_or(0, i32::unsigned_abs);
        record.ttl = ttl.min(LONGEST_TTL);
    }
    Ok(FilteredAnswer { answer, removed })
}

/// What belongs to a question.
struct Found<'a> {
    records: Vec<&'a Record>,
    /// The name that the question's stands for in the end.
    last: Name,
    /// Whether that has what was asked for.
    ends: bool,
    removed: u64,
}

/// Follows the names that stand for others, from the question's on.
fn follow<'a>(
    question: &DnsQuestion,
    answers: &'a [Record],
    inside: Option<&Inside>,
) -> Result<Found<'a>, Useless> {
    let leads_in = |data: &RData| inside.is_some_and(|inside| leads_in(data, inside));
    let mut found = Found { records: vec![], last: question.name.clone(), ends: false, removed: 0 };
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
            return Err(Useless::Chain);
        }
        found.records.push(record);
    }
}

/// `record`, if it is the start of the zone in which there is no `name`, counting as long as that does
/// (RFC 2308, 5).
fn negative(mut record: Record, name: &Name) -> Option<Record> {
    let RData::SOA(start) = &record.data else { return None };
    record.ttl = record.ttl.min(start.minimum).min(LONGEST_NEGATIVE_TTL);
    (record.dns_class == DNSClass::IN && record.name.zone_of(name)).then_some(record)
}

/// Whether what a record says leads to the box's networks or to the node itself.
fn leads_in(data: &RData, inside: &Inside) -> bool {
    if let Some(address) = data.ip_addr() {
        return inside.is_kept_from(address);
    }
    match data {
        RData::CNAME(target) => inside.place(&target.0) != UpstreamClass::Outside,
        RData::HTTPS(service) => service_leads_in(service, inside),
        RData::SVCB(service) => service_leads_in(service, inside),
        _ => false,
    }
}

/// Where a service is said to be: another name, and addresses by the way (RFC 9460, 2.5 and 7.3).
fn service_leads_in(service: &SVCB, inside: &Inside) -> bool {
    let hint = |(_, value): &(_, SvcParamValue)| match value {
        SvcParamValue::Ipv4Hint(hint) => hint.0.iter().any(|it| inside.is_kept_from(it.0.into())),
        SvcParamValue::Ipv6Hint(hint) => hint.0.iter().any(|it| inside.is_kept_from(it.0.into())),
        _ => false,
    };
    inside.place(&service.target_name) != UpstreamClass::Outside
        || service.svc_params.iter().any(hint)
}

#[cfg(test)]
mod tests;
