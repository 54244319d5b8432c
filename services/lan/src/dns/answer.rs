//! What is said to a client (RFC 1035, 4.1; RFC 2308; RFC 8482).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, OpCode, Query as Asked, ResponseCode};
use hickory_proto::rr::rdata::{HINFO, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::query::{BY_UDP, DnsQuestion, Query};

/// For how many seconds others keep what this node itself says: boards come and go.
pub const OWN_TTL: u32 = 5;

/// The longest that anything counts, in seconds.
pub const LONGEST_TTL: u32 = 24 * 60 * 60;

/// The longest that "there is none" counts, in seconds.
pub const LONGEST_NEGATIVE_TTL: u32 = 15 * 60;

/// For how many seconds nobody is asked again what nobody could answer (RFC 9520, 3.2).
const FAILURE_TTL: u32 = 1;

/// What is known about a question.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedAnswer {
    /// Whether it could be answered, and whether there is such a name.
    pub code: ResponseCode,
    /// Whether this node itself is who knows.
    pub own: bool,
    pub records: Vec<Record>,
    /// Where there is none: the start of the zone, which says for how long that counts.
    pub soa: Option<Record>,
}

impl CachedAnswer {
    /// Nothing but `code`.
    pub fn of(code: ResponseCode) -> Self {
        Self { code, own: false, records: vec![], soa: None }
    }

    /// There is no such name in `zone`, as this node itself knows.
    pub fn no_such_name(zone: Name) -> Self {
        Self { own: true, soa: Some(start_of(zone)), ..Self::of(ResponseCode::NXDomain) }
    }

    /// There is such a name in `zone`, but nothing of that kind, as this node itself knows.
    pub fn nothing(zone: Name) -> Self {
        Self { own: true, soa: Some(start_of(zone)), ..Self::of(ResponseCode::NoError) }
    }

    /// What this node itself knows about a name in `zone` that has `addresses`.
    pub fn addresses(question: &DnsQuestion, addresses: &[IpAddr], zone: Name) -> Self {
        let records = addresses.iter().filter_map(|address| {
            let data = RData::from(address.to_canonical());
            (data.record_type() == question.kind).then_some(data)
        });
        Self::data(question, records, zone)
    }

    /// The name behind an address of `zone`.
    pub fn pointer(question: &DnsQuestion, name: Name, zone: Name) -> Self {
        let data = RData::PTR(hickory_proto::rr::rdata::PTR(name));
        Self::data(question, (question.kind == RecordType::PTR).then_some(data), zone)
    }

    /// The node itself: `localhost` (RFC 6761, 6.3).
    pub fn localhost(question: &DnsQuestion) -> Self {
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Self::addresses(question, &addresses, question.name.clone())
    }

    /// To who wants everything about a name: that it does not get that (RFC 8482, 4.2).
    pub fn not_everything(question: &DnsQuestion) -> Self {
        let data = RData::HINFO(HINFO::new("RFC8482".into(), String::new()));
        let record = Record::from_rdata(question.name.clone(), LONGEST_NEGATIVE_TTL, data);
        Self { records: vec![record], ..Self::of(ResponseCode::NoError) }
    }

    fn data(question: &DnsQuestion, data: impl IntoIterator<Item = RData>, zone: Name) -> Self {
        let of = |data| Record::from_rdata(question.name.clone(), OWN_TTL, data);
        let records: Vec<Record> = data.into_iter().map(of).collect();
        if records.is_empty() {
            return Self::nothing(zone);
        }
        Self { own: true, records, ..Self::of(ResponseCode::NoError) }
    }

    /// For how many seconds it counts; `None` if it is not to be kept.
    pub fn ttl(&self) -> Option<u32> {
        match self.code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            ResponseCode::ServFail => return Some(FAILURE_TTL),
            _ => return None,
        }
        let has_records = self.code == ResponseCode::NoError && !self.records.is_empty();
        // Without the start of a zone nobody says for how long there is none (RFC 2308, 5).
        if !has_records && self.soa.is_none() {
            return None;
        }
        let ttl = self.records.iter().chain(&self.soa).map(|record| record.ttl).min()?;
        Some(ttl).filter(|ttl| *ttl > 0)
    }

    /// With what counts for `most` seconds at most, `elapsed` seconds later.
    pub fn aged(mut self, elapsed: u32, most: u32) -> Self {
        for record in self.records.iter_mut().chain(&mut self.soa) {
            record.ttl = record.ttl.min(most).saturating_sub(elapsed);
        }
        self
    }
}

/// The start of a zone that has none, so that it is known for how long there is no such name.
fn start_of(zone: Name) -> Record {
    let root = Name::root();
    let nobody = root.prepend_label("invalid").and_then(|it| it.prepend_label("nobody"));
    let nobody = nobody.unwrap_or(root);
    // Nobody transfers the zone: of the times only the last is ever looked at.
    let soa = SOA::new(zone.clone(), nobody, 1, 3600, 1200, 604_800, OWN_TTL);
    Record::from_rdata(zone, OWN_TTL, RData::SOA(soa))
}

/// `answer` as the answer to `query`; if it is too long, only that it is.
pub fn reply(query: &Query, answer: &CachedAnswer) -> Vec<u8> {
    let mut message = Message::response(query.id, OpCode::Query);
    let head = &mut message.metadata;
    head.recursion_desired = query.recursion;
    head.recursion_available = true;
    head.authoritative = answer.own;
    head.response_code = answer.code;
    let DnsQuestion { name, kind, .. } = &query.question;
    message.queries.push(Asked::query(name.clone(), *kind));
    message.answers.clone_from(&answer.records);
    for record in &mut message.answers {
        // Spelled as it was asked: upper and lower case may be somebody else's, from the cache.
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
