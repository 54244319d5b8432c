use super::super::upstream_path::UpstreamPath;
use super::*;

fn query(kind: RecordType, limit: usize) -> Query {
    let question = DnsQuestion {
        name: Name::from_ascii("Www.Example.com.").unwrap(),
        kind,
        path: UpstreamPath::Own,
    };
    Query { id: 9, question, recursion: true, edns: limit != 512, limit }
}

fn many(count: u8) -> CachedAnswer {
    let record = |last| {
        let data = RData::from(IpAddr::from([192, 0, 2, last]));
        Record::from_rdata("www.example.com.".parse().unwrap(), 60, data)
    };
    CachedAnswer {
        records: (0..count).map(record).collect(),
        ..CachedAnswer::with_code(ResponseCode::NoError)
    }
}

#[test]
fn answers_are_as_long_as_the_client_takes() {
    for (limit, fits) in [(512, 29), (1232, 74), (65535, 255)] {
        let query = query(RecordType::A, limit);
        let whole = reply(&query, &many(fits));
        let read = Message::from_vec(&whole).unwrap();
        assert!(whole.len() <= limit, "{}", whole.len());
        assert_eq!((read.answers.len(), read.metadata.truncation), (fits.into(), false), "{limit}");
        if limit == 65535 {
            continue;
        }
        let cut = Message::from_vec(&reply(&query, &many(fits + 1))).unwrap();
        assert_eq!((cut.answers.len(), cut.metadata.truncation), (0, true), "{limit}");
        assert_eq!(cut.queries.len(), 1);
    }
}

#[test]
fn names_are_spelled_as_they_were_asked() {
    let read = Message::from_vec(&reply(&query(RecordType::A, 1232), &many(1))).unwrap();
    assert_eq!(read.answers[0].name.to_ascii(), "Www.Example.com.");
    assert!(read.metadata.recursion_available && !read.metadata.authoritative);
    assert_eq!(read.edns.unwrap().max_payload(), 1232);
}

#[test]
fn how_long_it_counts() {
    assert_eq!(many(2).ttl(), Some(60));
    assert_eq!(many(0).ttl(), None);
    let zone: Name = "internal.".parse().unwrap();
    assert_eq!(CachedAnswer::no_such_name(zone.clone()).ttl(), Some(OWN_TTL));
    assert_eq!(CachedAnswer { soa: None, ..CachedAnswer::no_such_name(zone) }.ttl(), None);
    assert_eq!(CachedAnswer::with_code(ResponseCode::ServFail).ttl(), Some(1));
    assert_eq!(CachedAnswer::with_code(ResponseCode::Refused).ttl(), None);
    let mut zero = many(2);
    zero.records[1].ttl = 0;
    assert_eq!(zero.ttl(), None);
    let aged = many(1).aged(20, 30);
    assert_eq!(aged.records[0].ttl, 10);
}

#[test]
fn localhost_is_the_node() {
    let question = DnsQuestion {
        name: "a.localhost.".parse().unwrap(),
        kind: RecordType::AAAA,
        path: UpstreamPath::Own,
    };
    let answer = CachedAnswer::localhost(&question);
    assert_eq!(answer.records[0].data.ip_addr(), Some(Ipv6Addr::LOCALHOST.into()));
    let question = DnsQuestion { kind: RecordType::MX, ..question };
    assert_eq!(CachedAnswer::localhost(&question).records, []);
}
