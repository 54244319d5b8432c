use std::net::IpAddr;

use hickory_proto::op::{MessageType, OpCode, Query as Asked};
use hickory_proto::rr::{RData, Record};
use proptest::prelude::*;

use super::super::prefix::IpPrefix;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn resolver(forwards_inside: bool) -> Resolver {
    let mut resolver = Resolver::new(forwards_inside, 10_000);
    resolver.box_networks.networks.push(IpPrefix::new("10.20.0.0".parse().unwrap(), 16).unwrap());
    let board = ("board-3".to_owned(), vec!["10.20.3.2".parse().unwrap()]);
    resolver.box_zone = BoxZone::new("octet.internal", &[board].into()).unwrap();
    let names = [("cache.octet".to_owned(), vec!["10.20.3.2".parse().unwrap()])];
    resolver.zones.register(&"cache".parse().unwrap(), &names).unwrap();
    resolver
}

fn message(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(5, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Asked::query(name.parse().unwrap(), kind));
    message
}

/// The code and the number of records; `None` if the query is forwarded.
fn ask(resolver: &mut Resolver, name: &str, kind: RecordType) -> Option<(ResponseCode, usize)> {
    said(resolver, SECOND, &message(name, kind))
}

fn said(
    resolver: &mut Resolver,
    now: Duration,
    message: &Message,
) -> Option<(ResponseCode, usize)> {
    match resolver.handle(now, &message.to_vec().unwrap(), Transport::Udp, UpstreamPath::Own) {
        QueryDecision::Reply(bytes) => {
            let reply = Message::from_vec(&bytes).unwrap();
            let has_soa = reply.authorities.len() == 1;
            let negative = reply.answers.is_empty() && reply.metadata.authoritative;
            assert_eq!(has_soa, negative, "{reply}");
            Some((reply.metadata.response_code, reply.answers.len()))
        }
        QueryDecision::Forward(_) => None,
        QueryDecision::Drop => panic!("nothing is said"),
    }
}

fn answer(name: &str, address: &str, ttl: u32) -> Message {
    let mut answer = message(name, RecordType::A);
    let data = RData::from(address.parse::<IpAddr>().unwrap());
    answer.answers.push(Record::from_rdata(name.parse().unwrap(), ttl, data));
    answer
}

fn question(name: &str) -> DnsQuestion {
    DnsQuestion { name: name.parse().unwrap(), kind: RecordType::A, path: UpstreamPath::Own }
}

#[test]
fn what_a_router_knows_and_whom_it_asks() {
    let mut router = resolver(false);
    let (there, missing) = (ResponseCode::NoError, ResponseCode::NXDomain);
    for (name, said) in [
        ("board-3.octet.internal.", Some((there, 1))),
        ("cache.octet.", Some((there, 1))),
        ("x.localhost.", Some((there, 1))),
        ("octet.internal.", Some((there, 0))),
        ("octet.", Some((there, 0))),
        ("home.arpa.", Some((there, 0))),
        ("board-9.octet.internal.", Some((missing, 0))),
        ("gate.octet.", Some((missing, 0))),
        ("printer.", Some((missing, 0))),
        ("printer.local.", Some((missing, 0))),
        ("x.onion.", Some((missing, 0))),
        ("9.9.20.10.in-addr.arpa.", Some((missing, 0))),
        ("www.example.com.", None),
    ] {
        assert_eq!(ask(&mut router, name, RecordType::A), said, "{name}");
    }
    assert_eq!(router.counters.from_own, 12);
}

#[test]
fn a_board_asks_its_router_about_the_box() {
    let mut board = resolver(true);
    let (there, missing) = (ResponseCode::NoError, ResponseCode::NXDomain);
    for (name, said) in [
        ("board-3.octet.internal.", Some((there, 1))),
        ("cache.octet.", Some((there, 1))),
        ("x.localhost.", Some((there, 1))),
        ("printer.", Some((missing, 0))),
        ("x.onion.", Some((missing, 0))),
        ("x.invalid.", Some((missing, 0))),
        ("1.0.0.127.in-addr.arpa.", Some((missing, 0))),
        ("board-9.octet.internal.", None),
        ("gate.octet.", None),
        ("9.9.20.10.in-addr.arpa.", None),
        ("www.example.com.", None),
    ] {
        assert_eq!(ask(&mut board, name, RecordType::A), said, "{name}");
    }
}

#[test]
fn the_name_of_a_node_is_known_everywhere() {
    // The key is that of RFC 8032, section 7.1, test 1; the name was computed with Python's hashlib
    // and base64.
    let name = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena.octet.";
    let (there, missing) = (ResponseCode::NoError, ResponseCode::NXDomain);
    for forwards_inside in [false, true] {
        let mut node = resolver(forwards_inside);
        let asked = message(&name.to_uppercase(), RecordType::AAAA).to_vec().unwrap();
        let QueryDecision::Reply(bytes) =
            node.handle(SECOND, &asked, Transport::Udp, UpstreamPath::Own)
        else {
            panic!()
        };
        let reply = Message::from_vec(&bytes).unwrap();
        let address: IpAddr = "fc15:3721:cd76:a4c1:f90b:3b88:f618:593d".parse().unwrap();
        assert_eq!(reply.answers[0].data, RData::from(address));
        assert_eq!(ask(&mut node, name, RecordType::A), Some((there, 0)));
        assert_eq!(ask(&mut node, &format!("www.{name}"), RecordType::AAAA), Some((missing, 0)));
        // The last letter has bits beyond the key's.
        let other = name.replace("kena.", "kenb.");
        let of_the_router = (!forwards_inside).then_some((missing, 0));
        assert_eq!(ask(&mut node, &other, RecordType::AAAA), of_the_router);
    }
}

#[test]
fn everything_about_a_name_is_not_said() {
    let mut router = resolver(false);
    for name in ["www.example.com.", "board-3.octet.internal."] {
        let asked = message(name, RecordType::ANY).to_vec().unwrap();
        let QueryDecision::Reply(bytes) =
            router.handle(SECOND, &asked, Transport::Udp, UpstreamPath::Own)
        else {
            panic!()
        };
        let reply = Message::from_vec(&bytes).unwrap();
        assert_eq!(reply.answers.len(), 1);
        assert_eq!(reply.answers[0].record_type(), RecordType::HINFO);
    }
    let missing = ask(&mut router, "board-9.octet.internal.", RecordType::ANY);
    assert_eq!(missing, Some((ResponseCode::NXDomain, 0)));
}

#[test]
fn what_was_answered_is_known_for_its_time() {
    let mut router = resolver(false);
    let www = message("www.example.com.", RecordType::A);
    assert_eq!(said(&mut router, SECOND, &www), None);
    let came = answer("www.example.com.", "192.0.2.1", 60);
    assert!(router.handle_upstream(SECOND, &question("www.example.com."), came, true).is_some());
    assert_eq!(said(&mut router, 60 * SECOND, &www), Some((ResponseCode::NoError, 1)));
    assert_eq!(said(&mut router, 61 * SECOND, &www), None);
    assert_eq!((router.counters.from_cache, router.counters.queries), (1, 3));
    let came = answer("old.example.com.", "192.0.2.1", 60);
    assert!(router.handle_upstream(SECOND, &question("old.example.com."), came, false).is_some());
    assert_eq!(said(&mut router, SECOND, &message("old.example.com.", RecordType::A)), None);
}

#[test]
fn what_a_router_says_of_the_box_is_believed_and_soon_forgotten() {
    let mut board = resolver(true);
    let nine = "board-9.octet.internal.";
    let said_of = |board: &mut Resolver, name: &str| {
        let came = answer(name, "10.20.9.2", 60);
        board.handle_upstream(SECOND, &question(name), came, true).unwrap()
    };
    assert_eq!(said_of(&mut board, nine).records[0].ttl, OWN_TTL);
    assert_eq!(said(&mut board, 5 * SECOND, &message(nine, RecordType::A)).unwrap().1, 1);
    assert_eq!(said(&mut board, 6 * SECOND, &message(nine, RecordType::A)), None);
    // A router cannot define addresses of the box for outside names.
    assert_eq!(said_of(&mut board, "www.example.com.").records, []);
    assert_eq!(board.counters.removed, 1);
}

#[test]
fn who_wants_nobody_asked_gets_what_is_known() {
    let mut router = resolver(false);
    let mut www = message("www.example.com.", RecordType::A);
    www.metadata.recursion_desired = false;
    assert_eq!(said(&mut router, SECOND, &www), Some((ResponseCode::Refused, 0)));
    let mut own = message("board-3.octet.internal.", RecordType::A);
    own.metadata.recursion_desired = false;
    assert_eq!(said(&mut router, SECOND, &own), Some((ResponseCode::NoError, 1)));
    let came = answer("www.example.com.", "192.0.2.1", 60);
    router.handle_upstream(SECOND, &question("www.example.com."), came, true);
    assert_eq!(said(&mut router, SECOND, &www), Some((ResponseCode::NoError, 1)));
    assert_eq!(router.counters.refused.recursion, 1);
}

/// Cached answers are used for their path only, and clients that use this node as their exit learn
/// nothing about the box.
#[test]
fn each_way_has_its_own_answers() {
    let mut router = resolver(false);
    let mut said = |name: &str, way| {
        let asked = message(name, RecordType::A).to_vec().unwrap();
        match router.handle(SECOND, &asked, Transport::Udp, way) {
            QueryDecision::Reply(bytes) => {
                let reply = Message::from_vec(&bytes).unwrap();
                Some((reply.metadata.response_code, reply.answers.len()))
            }
            QueryDecision::Forward(query) => {
                assert_eq!(query.question.path, way);
                let came = answer(name, "192.0.2.1", 60);
                router.handle_upstream(SECOND, &query.question, came, true);
                None
            }
            QueryDecision::Drop => panic!("nothing is said"),
        }
    };
    let (there, missing) = ((ResponseCode::NoError, 1), (ResponseCode::NXDomain, 0));
    for way in [UpstreamPath::Own, UpstreamPath::Exit, UpstreamPath::Guest] {
        assert_eq!(said("www.example.com.", way), None);
        assert_eq!(said("www.example.com.", way), Some(there));
    }
    for name in ["board-3.octet.internal.", "cache.octet."] {
        assert_eq!(
            [UpstreamPath::Own, UpstreamPath::Exit].map(|way| said(name, way)),
            [Some(there); 2]
        );
        assert_eq!(said(name, UpstreamPath::Guest), Some(missing));
    }
}

#[test]
fn strangers_are_not_heard() {
    let mut router = resolver(false);
    let mut from =
        |address: &str| router.admit(SECOND, SocketAddr::new(address.parse().unwrap(), 4242));
    assert!(from("10.20.3.2") && from("::ffff:10.20.3.2") && from("127.0.0.1"));
    assert!(!from("192.0.2.1") && !from("10.21.0.1") && !from("2001:db8::1"));
    assert_eq!(router.counters.refused.strangers, 3);
    router.box_networks.guests.push(IpPrefix::new("fc00::".parse().unwrap(), 8).unwrap());
    assert!(router.admit(SECOND, "[fc15::1]:4242".parse().unwrap()));
    assert!(!router.admit(SECOND, "[fd15::1]:4242".parse().unwrap()));
}

proptest! {
    #[test]
    fn any_bytes_come_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut router = resolver(false);
        if let QueryDecision::Reply(reply) = router.handle(SECOND, &bytes, Transport::Udp, UpstreamPath::Own) {
            prop_assert!(reply.len() <= 1232 && reply[..2] == bytes[..2] && reply[2] & 0x80 != 0);
        }
    }

    #[test]
    fn no_name_of_the_box_is_ever_asked_of_others(
        front in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9), 1..5),
        zone in prop::sample::select(vec![
            "internal", "OCTET", "local", "localhost", "home.arpa", "lan", "Test", "invalid",
            "onion", "alt", "10.in-addr.arpa", "168.192.in-addr.arpa", "d.f.ip6.arpa",
        ]),
        kind in 1u16..300,
    ) {
        let mut router = resolver(false);
        let zone = zone.split('.').map(|label| label.as_bytes().to_vec());
        let mut asked = message(".", kind.into());
        asked.queries[0].name = Name::from_labels(front.into_iter().chain(zone)).unwrap();
        let asked = asked.to_vec().unwrap();
        let decision = router.handle(SECOND, &asked, Transport::Udp, UpstreamPath::Own);
        prop_assert!(matches!(decision, QueryDecision::Reply(_)), "{:?}", decision);
    }
}
