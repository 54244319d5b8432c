//! The answers to clients (RFC 1035, 4.1; RFC 2308; RFC 8482).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, OpCode, Query as Asked, ResponseCode};
use hickory_proto::rr::rdata::{HINFO, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::query::{BY_UDP, DnsQuestion, Query};

/// The TTL of this node's own records, in seconds. It is short, because boards are plugged and
/// unplugged.
pub const OWN_TTL: u32 = 5;

/// The maximum TTL in seconds.
pub const LONGEST_TTL: u32 = 24 * 60 * 60;

/// The maximum TTL of a negative answer in seconds.
pub const LONGEST_NEGATIVE_TTL: u32 = 15 * 60;

/// How long a failure is cached, in seconds (RFC 9520, 3.2).
const FAILURE_TTL: u32 = 1;

/// The answer to a question, with its TTLs.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedAnswer {
    /// `NoError`, `NXDomain`, or a failure.
    pub code: ResponseCode,
    /// Whether this node is authoritative for it.
    pub authoritative: bool,
    pub records: Vec<Record>,
    /// The SOA record of a negative answer, which defines its TTL.
    pub soa: Option<Record>,
}

impl CachedAnswer {
    /// An answer with a code only.
    pub fn with_code(code: ResponseCode) -> Self {
        Self { code, authoritative: false, records: vec![], soa: None }
    }

    /// An authoritative answer: `zone` has no such name.
    pub fn no_such_name(zone: Name) -> Self {
        Self {
            authoritative: true,
            soa: Some(soa(zone)),
            ..Self::with_code(ResponseCode::NXDomain)
        }
    }

    /// An authoritative answer: the name exists in `zone`, but has no records of the type.
    pub fn no_data(zone: Name) -> Self {
        Self { authoritative: true, soa: Some(soa(zone)), ..Self::with_code(ResponseCode::NoError) }
    }

    /// An authoritative answer about a name in `zone` with `addresses`.
    pub fn addresses(question: &DnsQuestion, addresses: &[IpAddr], zone: Name) -> Self {
        let records = addresses.iter().filter_map(|address| {
            let data = RData::from(address.to_canonical());
            (data.record_type() == question.kind).then_some(data)
        });
        Self::data(question, records, zone)
    }

    /// The answer to a reverse lookup in `zone`.
    pub fn pointer(question: &DnsQuestion, name: Name, zone: Name) -> Self {
        let data = RData::PTR(hickory_proto::rr::rdata::PTR(name));
        Self::data(question, (question.kind == RecordType::PTR).then_some(data), zone)
    }

    /// The loopback addresses for `localhost` (RFC 6761, 6.3).
    pub fn localhost(question: &DnsQuestion) -> Self {
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Self::addresses(question, &addresses, question.name.clone())
    }

    /// The minimal answer to a question of type ANY (RFC 8482, 4.2).
    pub fn minimal_any(question: &DnsQuestion) -> Self {
        let data = RData::HINFO(HINFO::new("RFC8482".into(), String::new()));
        let record = Record::from_rdata(question.name.clone(), LONGEST_NEGATIVE_TTL, data);
        Self { records: vec![record], ..Self::with_code(ResponseCode::NoError) }
    }

    fn data(question: &DnsQuestion, data: impl IntoIterator<Item = RData>, zone: Name) -> Self {
        let of = |data| Record::from_rdata(question.name.clone(), OWN_TTL, data);
        let records: Vec<Record> = data.into_iter().map(of).collect();
        if records.is_empty() {
            return Self::no_data(zone);
        }
        Self { authoritative: true, records, ..Self::with_code(ResponseCode::NoError) }
    }

    /// The TTL in seconds; `None` if the answer must not be cached.
    pub fn ttl(&self) -> Option<u32> {
        match self.code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            ResponseCode::ServFail => return Some(FAILURE_TTL),
            _ => return None,
        }
        let has_records = self.code == ResponseCode::NoError && !self.records.is_empty();
        // A negative answer without an SOA record is not cached (RFC 2308, 5).
        if !has_records && self.soa.is_none() {
            return None;
        }
        let ttl = self.records.iter().chain(&self.soa).map(|record| record.ttl).min()?;
        Some(ttl).filter(|ttl| *ttl > 0)
    }

    /// The answer after `elapsed` seconds, with TTLs of at most `max_ttl` seconds.
    pub fn aged(mut self, elapsed: u32, max_ttl: u32) -> Self {
        for record in self.records.iter_mut().chain(&mut self.soa) {
            record.ttl = record.ttl.min(max_ttl).saturating_sub(elapsed);
        }
        self
    }
}

/// An SOA record for `zone`, which defines the TTL of negative answers.
fn soa(zone: Name) -> Record {
    let root = Name::root();
    let nobody = root.prepend_label("invalid").and_then(|it| it.prepend_label("nobody"));
    let nobody = nobody.unwrap_or(root);
    // There are no zone transfers, so only the last value is used.
    let soa = SOA::new(zone.clone(), nobody, 1, 3600, 1200, 604_800, OWN_TTL);
    Record::from_rdata(zone, OWN_TTL, RData::SOA(soa))
}

/// Encodes `answer` as the response to `query`; an answer that is too long is truncated to none,
/// with TC set.
pub fn reply(query: &Query, answer: &CachedAnswer) -> Vec<u8> {
    let mut message = Message::response(query.id, OpCode::Query);
    let head = &mut message.metadata;
    head.recursion_desired = query.recursion;
    head.recursion_available = true;
    head.authoritative = answer.authoritative;
    head.response_code = answer.code;
    let DnsQuestion { name, kind, .. } = &query.question;
    message.queries.push(Asked::query(name.clone(), *kind));
    message.answers.clone_from(&answer.records);
    for record in &mut message.answers {
        // The client's spelling is restored: a cached answer can have another client's upper and
        // lower case.
        if record.name == *name {
            record.name.clone_from(name);
        }
    }
    message.authorities.extend(answer.soa.clone());
    if query.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(BY_UDP as u16);
        message.edns = Some(edns);
    }
    match message.to_vec() {
        Ok(bytes) if bytes.len() <= query.limit => return bytes,
        Ok(_) => message.metadata.truncation = true,
        Err(_) => message.metadata.response_code = ResponseCode::ServFail,
    }
    message.answers.clear();
    message.authorities.clear();
    message.to_vec().unwrap_or_default()
}

#[cfg(test)]
mod tests;
