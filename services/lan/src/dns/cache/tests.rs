use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Record, RecordType};
use proptest::prelude::*;

use super::super::upstream_path::UpstreamPath;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn question(name: &str) -> DnsQuestion {
    DnsQuestion { name: name.parse().unwrap(), kind: RecordType::A, path: UpstreamPath::Own }
}

fn answer(name: &str, ttls: &[u32]) -> CachedAnswer {
    let record = |(index, ttl): (usize, &u32)| {
        let data = RData::from(IpAddr::from([192, 0, 2, index as u8]));
        Record::from_rdata(name.parse().unwrap(), *ttl, data)
    };
    CachedAnswer {
        records: ttls.iter().enumerate().map(record).collect(),
        ..CachedAnswer::with_code(ResponseCode::NoError)
    }
}

fn ttls(answer: Option<CachedAnswer>) -> Option<Vec<u32>> {
    answer.map(|answer| answer.records.iter().map(|record| record.ttl).collect())
}

#[test]
fn an_answer_counts_for_its_time() {
    let mut cache = AnswerCache::new(4096);
    let (www, start) = (question("www.example."), 100 * SECOND);
    assert_eq!(cache.get(start, &www), None);
    cache.put(start, &www, &answer("www.example.", &[60, 90]));
    assert_eq!(ttls(cache.get(start, &www)), Some(vec![60, 90]));
    assert_eq!(ttls(cache.get(start + 59 * SECOND, &question("WWW.example."))), Some(vec![1, 31]));
    assert_eq!(cache.get(start + 60 * SECOND, &www), None);
    assert_eq!(cache.get(start, &question("example.")), None);
    assert_eq!(cache.get(start, &DnsQuestion { kind: RecordType::AAAA, ..www.clone() }), None);
    // The new answer has a new TTL.
    cache.put(start + 99 * SECOND, &www, &answer("www.example.", &[10]));
    assert_eq!(ttls(cache.get(start + 100 * SECOND, &www)), Some(vec![9]));
    cache.clear();
    assert_eq!((cache.get(start, &www), cache.bytes()), (None, 0));
}

#[test]
fn that_there_is_none_counts_too() {
    let mut cache = AnswerCache::new(4096);
    let missing = question("missing.internal.");
    let none = CachedAnswer::no_such_name("internal.".parse().unwrap());
    cache.put(SECOND, &missing, &none);
    let kept = cache.get(3 * SECOND, &missing).unwrap();
    assert_eq!((kept.code, kept.soa.unwrap().ttl), (ResponseCode::NXDomain, 3));
    assert_eq!(cache.get(6 * SECOND, &missing), None);
    cache.put(SECOND, &missing, &CachedAnswer { soa: None, ..none });
    assert_eq!(cache.get(6 * SECOND, &missing), None);
}

#[test]
fn what_is_asked_for_stays() {
    let mut cache = AnswerCache::new(4096);
    let name = |number: usize| format!("n{number}.example.");
    for number in 0..100 {
        cache.put(SECOND, &question(&name(number)), &answer(&name(number), &[60]));
        assert!(cache.get(SECOND, &question(&name(0))).is_some(), "{number}");
        assert!(cache.bytes() <= 4096);
    }
    assert_eq!(cache.get(SECOND, &question(&name(50))), None);
    assert!(cache.get(SECOND, &question(&name(99))).is_some());
    assert_eq!(cache.queue.len(), cache.entries.len());
    // An answer that exceeds the whole cache is not cached, and evicts nothing.
    let held = cache.entries.len();
    cache.put(SECOND, &question("long.example."), &answer("long.example.", &[60; 400]));
    assert_eq!(cache.entries.len(), held);
}

proptest! {
    #[test]
    fn it_is_never_larger_than_it_may_be(
        steps in prop::collection::vec((0u8..40, 1usize..30, 0u64..90, any::<bool>()), 1..200),
    ) {
        let mut cache = AnswerCache::new(6000);
        let mut now = SECOND;
        for (name, records, pause, put) in steps {
            now += Duration::from_secs(pause / 10);
            let name = format!("n{name}.example.");
            if put {
                cache.put(now, &question(&name), &answer(&name, &vec![30; records]));
            } else if let Some(answer) = cache.get(now, &question(&name)) {
                prop_assert!(answer.records.iter().all(|it| (1..=30).contains(&it.ttl)));
            }
            prop_assert!(cache.bytes() <= 6000);
            prop_assert_eq!(cache.queue.len(), cache.entries.len());
            let cost = cache.entries.iter().map(|(question, it)| cost(question, &it.message));
            prop_assert_eq!(cost.sum::<usize>(), cache.bytes());
        }
    }
}
