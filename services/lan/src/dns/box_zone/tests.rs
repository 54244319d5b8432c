use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::super::upstream_path::UpstreamPath;
use super::*;

fn own() -> BoxZone {
    let hosts = [
        ("router".to_owned(), vec!["10.20.1.1", "10.20.2.1", "fd6f::1"]),
        ("board-3".to_owned(), vec!["10.20.3.2"]),
        ("a.b".to_owned(), vec!["10.20.3.2"]),
    ];
    let parse = |list: Vec<&str>| list.iter().map(|it| it.parse().unwrap()).collect();
    BoxZone::new("octet.internal", &hosts.map(|(host, list)| (host, parse(list))).into()).unwrap()
}

fn ask(name: &str, kind: RecordType) -> Option<(usize, bool)> {
    let question = DnsQuestion { name: name.parse().unwrap(), kind, path: UpstreamPath::Own };
    let answer = own().answer(&question)?;
    assert_eq!(answer.code, ResponseCode::NoError);
    assert!(
        answer.authoritative && answer.records.iter().all(|record| record.record_type() == kind)
    );
    Some((answer.records.len(), answer.soa.is_some()))
}

#[test]
fn a_name_has_its_addresses_or_none_of_that_kind() {
    assert_eq!(ask("router.octet.internal.", RecordType::A), Some((2, false)));
    assert_eq!(ask("ROUTER.octet.Internal.", RecordType::AAAA), Some((1, false)));
    assert_eq!(ask("board-3.octet.internal.", RecordType::AAAA), Some((0, true)));
    assert_eq!(ask("board-3.octet.internal.", RecordType::TXT), Some((0, true)));
    // Empty non-terminals exist, too.
    for between in ["b.octet.internal.", "octet.internal.", "internal."] {
        assert_eq!(ask(between, RecordType::A), Some((0, true)), "{between}");
    }
    for other in ["board-4.octet.internal.", "oard-3.octet.internal.", "x.board-3.octet.internal."]
    {
        assert_eq!(ask(other, RecordType::A), None, "{other}");
    }
}

#[test]
fn an_address_has_its_name() {
    for (address, name) in [
        ("10.20.2.1", "router.octet.internal."),
        ("fd6f::1", "router.octet.internal."),
        // The first of two names.
        ("10.20.3.2", "a.b.octet.internal."),
    ] {
        let reverse = Name::from(address.parse::<IpAddr>().unwrap());
        let question =
            DnsQuestion { name: reverse, kind: RecordType::PTR, path: UpstreamPath::Own };
        let answer = own().answer(&question).unwrap();
        assert_eq!(answer.records[0].data.to_string(), name);
        let question = DnsQuestion { kind: RecordType::A, ..question };
        assert_eq!(own().answer(&question).unwrap().records, []);
    }
    assert_eq!(ask("9.9.20.10.in-addr.arpa.", RecordType::PTR), None);
    assert_eq!(ask("3.20.10.in-addr.arpa.", RecordType::PTR), None);
    assert_eq!(ask("x.2.3.20.10.in-addr.arpa.", RecordType::PTR), None);
}

#[test]
fn what_is_no_name_is_refused() {
    for good in ["octet", "a", "board-3.octet.internal", "x.octet.", "9to5.octet"] {
        assert!(host_name(good).is_ok(), "{good}");
    }
    let long = "a".repeat(64);
    let longer = ["a234567890"; 26].join(".");
    for bad in ["", ".", "a..b", "-a", "a-", "a_b", "ä", "a b", "*", "a\\.b", &long, &longer] {
        assert!(host_name(bad).is_err(), "{bad}");
    }
    let addresses = vec!["10.20.3.2".parse().unwrap(); MAX_ADDRESSES + 1];
    let hosts = BTreeMap::from([("a".to_owned(), addresses)]);
    assert!(matches!(BoxZone::new("x.internal", &hosts), Err(InvalidZone::Addresses(..))));
    let hosts = (0..=MAX_NAMES).map(|number| (format!("a{number}"), vec![])).collect();
    assert!(matches!(BoxZone::new("x.internal", &hosts), Err(InvalidZone::Names(_))));
}

#[test]
fn an_alias_is_a_name_without_a_pointer() {
    let mut own = own();
    let address: IpAddr = "10.20.3.2".parse().unwrap();
    let other: IpAddr = "10.20.4.2".parse().unwrap();
    let aliases = [("0web".to_owned(), vec![address]), ("router".to_owned(), vec![other])];
    own.add_aliases("octet.internal", &aliases.into()).unwrap();
    let ask = |name: &str, kind| {
        let question = DnsQuestion { name: name.parse().unwrap(), kind, path: UpstreamPath::Own };
        own.answer(&question).map(|answer| answer.records)
    };
    assert_eq!(ask("0web.octet.internal.", RecordType::A).unwrap().len(), 1);
    // A host keeps its name.
    assert_eq!(ask("router.octet.internal.", RecordType::A).unwrap().len(), 2);
    let pointers = ask("2.3.20.10.in-addr.arpa.", RecordType::PTR).unwrap();
    assert_eq!(pointers[0].data.to_string(), "a.b.octet.internal.");
    let bad = [("a_b".to_owned(), vec![address])].into();
    assert!(own.add_aliases("octet.internal", &bad).is_err());
}
