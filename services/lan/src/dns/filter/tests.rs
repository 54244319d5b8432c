use std::net::IpAddr;

use hickory_proto::op::{MessageType, OpCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::svcb::{IpHint, SvcParamKey};
use hickory_proto::rr::rdata::{A, CNAME, HTTPS, MX, SOA};
use proptest::prelude::*;

use super::super::prefix::IpPrefix;
use super::super::upstream_path::UpstreamPath;
use super::*;

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

fn question() -> DnsQuestion {
    DnsQuestion { name: name("www.example."), kind: RecordType::A, path: UpstreamPath::Own }
}

fn inside() -> BoxNetworks {
    let network = |address: &str, length| IpPrefix::new(address.parse().unwrap(), length).unwrap();
    BoxNetworks {
        networks: vec![network("10.20.0.0", 16), network("fd6f:6374:6574::", 48)],
        ..BoxNetworks::default()
    }
}

fn record(owner: &str, data: RData) -> Record {
    Record::from_rdata(name(owner), 60, data)
}

fn a(owner: &str, address: &str) -> Record {
    record(owner, RData::from(address.parse::<IpAddr>().unwrap()))
}

fn cname(owner: &str, target: &str) -> Record {
    record(owner, RData::CNAME(CNAME(name(target))))
}

fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name(zone), name("nobody."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name(zone), ttl, RData::SOA(soa))
}

fn message(answers: Vec<Record>) -> Message {
    let mut message = Message::new(1, MessageType::Response, OpCode::Query);
    message.answers = answers;
    message
}

fn kept(answers: Vec<Record>) -> FilteredAnswer {
    filter(&question(), message(answers), Some(&inside())).unwrap()
}

fn data(kept: &FilteredAnswer) -> Vec<String> {
    kept.answer.records.iter().map(|record| record.data.to_string()).collect()
}

#[test]
fn what_belongs_to_the_question_is_kept() {
    let both = kept(vec![
        a("other.example.", "192.0.2.66"),
        a("WWW.example.", "192.0.2.1"),
        record("www.example.", RData::MX(MX::new(1, name("mail.example.")))),
        a("www.example.", "192.0.2.2"),
        a("www.example.", "2001:db8::1"),
    ]);
    assert_eq!((data(&both), both.removed), (vec!["192.0.2.1".into(), "192.0.2.2".into()], 0));
    let mut other_class = a("www.example.", "192.0.2.1");
    other_class.dns_class = DNSClass::CH;
    assert_eq!(data(&kept(vec![other_class])), [""; 0]);
}

#[test]
fn names_that_stand_for_others_are_followed() {
    // The order of the records does not matter.
    let chain = kept(vec![
        a("c.example.", "192.0.2.1"),
        cname("b.example.", "c.example."),
        cname("www.example.", "b.example."),
        cname("x.example.", "c.example."),
    ]);
    assert_eq!(data(&chain), ["b.example.", "c.example.", "192.0.2.1"]);
    let question = DnsQuestion { kind: RecordType::CNAME, ..question() };
    let answers = vec![cname("www.example.", "b.example."), cname("b.example.", "c.example.")];
    let alone = filter(&question, message(answers), Some(&inside())).unwrap();
    assert_eq!(data(&alone), ["b.example."]);
}

#[test]
fn a_chain_ends() {
    let of = |length: usize| {
        let from = |number| if number == 0 { "www.example.".into() } else { format!("n{number}.") };
        let mut records: Vec<Record> =
            (0..length).map(|it| cname(&from(it), &format!("n{}.example.", it + 1))).collect();
        for (number, record) in records.iter_mut().enumerate().skip(1) {
            record.name = name(&format!("n{number}.example."));
        }
        records.push(a(&format!("n{length}.example."), "192.0.2.1"));
        filter(&question(), message(records), Some(&inside()))
    };
    assert_eq!(of(LONGEST_CHAIN).unwrap().answer.records.len(), LONGEST_CHAIN + 1);
    assert_eq!(of(LONGEST_CHAIN + 1), Err(InvalidUpstreamAnswer::Chain));
    for ring in [
        vec![cname("www.example.", "www.example.")],
        vec![cname("www.example.", "b.example."), cname("b.example.", "WWW.example.")],
    ] {
        assert_eq!(
            filter(&question(), message(ring), Some(&inside())),
            Err(InvalidUpstreamAnswer::Chain)
        );
    }
}

#[test]
fn nothing_leads_into_the_box() {
    let mixed = kept(vec![
        a("www.example.", "10.20.3.2"),
        a("www.example.", "127.0.0.1"),
        a("www.example.", "192.0.2.1"),
        a("www.example.", "0.0.0.0"),
    ]);
    assert_eq!((data(&mixed), mixed.removed), (vec!["192.0.2.1".into()], 3));
    let alone = kept(vec![a("www.example.", "10.20.3.2")]);
    assert_eq!((data(&alone).len(), alone.removed, alone.answer.ttl()), (0, 1, None));
    let by_name = kept(vec![
        cname("www.example.", "board-3.octet.internal."),
        a("board-3.octet.internal.", "192.0.2.1"),
    ]);
    assert_eq!((data(&by_name).len(), by_name.removed), (0, 1));
    // A node of the box can define addresses of the box.
    let answers = vec![a("www.example.", "10.20.3.2")];
    let own = filter(&question(), message(answers), None).unwrap();
    assert_eq!((data(&own), own.removed), (vec!["10.20.3.2".into()], 0));
}

#[test]
fn services_do_not_lead_into_the_box_either() {
    let question = DnsQuestion { kind: RecordType::HTTPS, ..question() };
    let of = |target: &str, hint: &str| {
        let hint = IpHint(vec![A(hint.parse().unwrap())]);
        let value = (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(hint));
        let service = HTTPS(SVCB::new(1, name(target), vec![value]));
        let answers = vec![record("www.example.", RData::HTTPS(service))];
        let kept = filter(&question, message(answers), Some(&inside())).unwrap();
        (kept.answer.records.len(), kept.removed)
    };
    assert_eq!(of(".", "192.0.2.1"), (1, 0));
    assert_eq!(of("cdn.example.", "192.0.2.1"), (1, 0));
    assert_eq!(of(".", "10.20.3.2"), (0, 1));
    assert_eq!(of("board-3.octet.internal.", "192.0.2.1"), (0, 1));
}

#[test]
fn that_there_is_none_counts_as_long_as_the_zone_says() {
    let none = |records: Vec<Record>| {
        let mut message = message(vec![]);
        message.metadata.response_code = ResponseCode::NXDomain;
        message.authorities = records;
        filter(&question(), message, Some(&inside())).unwrap().answer
    };
    for (ttl, minimum, counts) in
        [(300, 60, 60), (60, 300, 60), (90_000, 90_000, LONGEST_NEGATIVE_TTL)]
    {
        let answer = none(vec![soa("example.", ttl, minimum)]);
        assert_eq!((answer.code, answer.ttl()), (ResponseCode::NXDomain, Some(counts)));
    }
    assert_eq!(none(vec![]).ttl(), None);
    assert_eq!(none(vec![soa("other.", 60, 60)]).soa, None);
}

#[test]
fn times_are_cut() {
    let mut long = a("www.example.", "192.0.2.1");
    long.ttl = 1_000_000;
    assert_eq!(kept(vec![long.clone()]).answer.ttl(), Some(LONGEST_TTL));
    long.ttl = u32::MAX;
    assert_eq!(kept(vec![long]).answer.ttl(), None);
}

#[test]
fn an_upstream_that_cannot_answer_has_not() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp] {
        let mut message = message(vec![a("www.example.", "192.0.2.1")]);
        assert!(filter(&question(), message.clone(), Some(&inside())).is_ok());
        message.metadata.response_code = code;
        assert_eq!(
            filter(&question(), message, Some(&inside())),
            Err(InvalidUpstreamAnswer::Upstream)
        );
    }
}

proptest! {
    #[test]
    fn nothing_else_ever_gets_through(
        links in prop::collection::vec((0u8..6, 0u8..6, any::<bool>(), any::<u8>()), 0..20),
    ) {
        let owner = |number: u8| {
            if number == 0 { "www.example.".to_owned() } else { format!("n{number}.example.") }
        };
        let answers = links.into_iter().map(|(from, to, alias, last)| {
            if alias { cname(&owner(from), &owner(to)) } else {
                a(&owner(from), &format!("10.{}.3.{last}", 19 + last % 2))
            }
        });
        let Ok(kept) = filter(&question(), message(answers.collect()), Some(&inside())) else {
            return Ok(());
        };
        let mut at = name("www.example.");
        for record in &kept.answer.records {
            prop_assert_eq!(&record.name, &at);
            match &record.data {
                RData::CNAME(target) => at = target.0.clone(),
                data => prop_assert!(!inside().is_private(data.ip_addr().unwrap())),
            }
        }
    }
}
