//! Queries of clients, and answers of servers outside.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::rr::RData;
use octet_lan::dns::box_zone::BoxZone;
use octet_lan::dns::exchange::{Exchange, LONGEST_BY_UDP, QueryForm, UpstreamMessage};
use octet_lan::dns::filter::LONGEST_CHAIN;
use octet_lan::dns::inside::{BoxNetworks, UpstreamClass};
use octet_lan::dns::prefix::IpPrefix;
use octet_lan::dns::query::{BY_UDP, Query, Transport};
use octet_lan::dns::resolver::{QueryDecision, Resolver};
use octet_lan::dns::upstream_path::UpstreamPath;

/// A time at which all cached records are still valid.
const NOW: Duration = Duration::from_secs(1 << 20);

/// The question with which the head of an input is replaced for a second run.
const QUESTION: &[u8] = b"\x03www\x07example\x03com\x00\x00\x01\x00\x01";

/// A query gets an answer that belongs to it, is dropped, or is forwarded unless it concerns the
/// box. Records of an answer are cached only if they belong to the question and do not point into
/// the box.
pub fn dns(bytes: &[u8]) {
    for forwards_inside in [false, true] {
        question(&mut resolver(forwards_inside), bytes, forwards_inside);
    }
    answer(bytes);
    if let Some(rest) = bytes.get(4..) {
        // A second run reaches deeper: the bytes from the counts on become the answer to that
        // question.
        let mut right = vec![0, 0, 0x81, bytes[3]];
        right.extend([0, 1]);
        right.extend(rest.iter().skip(2).take(6));
        right.resize(12, 0);
        right.extend(QUESTION);
        right.extend(rest.iter().skip(8 + QUESTION.len()));
        answer(&right);
    }
}

fn resolver(forwards_inside: bool) -> Resolver {
    let mut resolver = Resolver::new(forwards_inside, 1 << 17);
    let network = |address: [u8; 4]| IpPrefix::new(IpAddr::from(address), 16);
    resolver.box_networks = BoxNetworks {
        networks: network([10, 20, 0, 0]).into_iter().collect(),
        own_addresses: vec![IpAddr::from([192, 0, 2, 7])],
        ..BoxNetworks::default()
    };
    let board = ("board-3".to_owned(), vec![IpAddr::from([10, 20, 3, 2])]);
    resolver.box_zone = BoxZone::new("octet.internal", &[board].into()).expect("names of a box");
    resolver
}

fn question(resolver: &mut Resolver, bytes: &[u8], forwards_inside: bool) {
    match resolver.handle(NOW, bytes, Transport::Udp, UpstreamPath::Own) {
        QueryDecision::Drop => {
            assert!(bytes.len() < 12 || bytes[2] & 0x80 != 0, "a question is dropped");
        }
        QueryDecision::Reply(reply) => {
            assert!((12..=BY_UDP).contains(&reply.len()));
            assert_eq!((&reply[..2], reply[2] & 0xf8), (&bytes[..2], 0x80 | bytes[2] & 0x78));
            // The reply is not accepted as a query.
            assert!(
                resolver.handle(NOW, &reply, Transport::Udp, UpstreamPath::Own)
                    == QueryDecision::Drop
            );
        }
        QueryDecision::Forward(query) => {
            let place = resolver.box_networks.classify(&query.question.name);
            let of_the_box = forwards_inside && matches!(place, UpstreamClass::Inside(_));
            assert!(place == UpstreamClass::Outside || of_the_box, "{place:?}");
            assert!(Exchange::new(&query.question, QueryForm::default(), &[0xff; 34]).is_some());
        }
    }
}

fn answer(bytes: &[u8]) {
    let mut resolver = resolver(false);
    let head = b"\x00\x09\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00";
    let asked = [head, QUESTION].concat();
    let query = Query::parse(&asked, Transport::Tcp).expect("a question");
    let plain = QueryForm { mixed_case: false, edns: true };
    let exchange = Exchange::new(&query.question, plain, &[0; 34]).expect("a question");
    let UpstreamMessage::Answer(message) = exchange.parse_reply(bytes, LONGEST_BY_UDP) else {
        return;
    };
    let all = message.answers.len();
    let Some(answer) = resolver.handle_upstream(NOW, &query.question, *message, true) else {
        return;
    };
    assert!(answer.records.len() <= all);
    let mut at = query.question.name.clone();
    for (index, record) in answer.records.iter().enumerate() {
        assert!(record.name == at && record.ttl <= 86_400, "{record}");
        if let Some(address) = record.data.ip_addr() {
            assert!(!resolver.box_networks.is_private(address), "{address}");
            continue;
        }
        assert!(index < LONGEST_CHAIN, "{record}");
        if let RData::CNAME(target) = &record.data {
            at = target.0.clone();
        }
    }
    // The cache returns the same answer.
    let later = resolver.handle(NOW, &asked, Transport::Tcp, UpstreamPath::Own);
    let kept = answer.ttl().is_some();
    assert_eq!(matches!(later, QueryDecision::Reply(_)), kept, "{answer:?}");
    assert_eq!(resolver.cache.bytes() > 0, kept);
}
