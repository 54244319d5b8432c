use hickory_proto::op::{MessageType, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use proptest::prelude::*;

use super::super::upstream_path::UpstreamPath;
use super::*;

fn question() -> DnsQuestion {
    DnsQuestion {
        name: Name::from_ascii("WWW.example.com.").unwrap(),
        kind: RecordType::A,
        path: UpstreamPath::Own,
    }
}

/// A query in which every second letter is a capital.
fn exchange(form: QueryForm) -> Exchange {
    let mut random = [0xaa; 34];
    random[..2].copy_from_slice(&[0x12, 0x34]);
    Exchange::new(&question(), form, &random).unwrap()
}

fn sent(form: QueryForm) -> Message {
    Message::from_vec(exchange(form).bytes()).unwrap()
}

fn answer(form: QueryForm) -> Message {
    let mut message = sent(form);
    message.metadata.message_type = MessageType::Response;
    message.edns = None;
    message
}

fn heard(message: &Message) -> UpstreamMessage {
    exchange(QueryForm::default()).parse_reply(&message.to_vec().unwrap(), LONGEST_BY_UDP)
}

#[test]
fn what_is_asked() {
    let message = sent(QueryForm::default());
    assert_eq!((message.metadata.id, message.metadata.recursion_desired), (0x1234, true));
    assert_eq!(message.queries[0].name.to_ascii(), "WwW.ExAmPlE.CoM.");
    assert_eq!(message.edns.as_ref().unwrap().max_payload(), 1232);
    let plain = sent(QueryForm { mixed_case: false, edns: false });
    assert_eq!(plain.queries[0].name.to_ascii(), "www.example.com.");
    assert_eq!(plain.edns, None);
    // Other random bytes result in another query.
    let other = Exchange::new(&question(), QueryForm::default(), &[7; 34]).unwrap();
    assert_ne!(other.bytes()[..29], exchange(QueryForm::default()).bytes()[..29]);
}

#[test]
fn only_the_answer_to_this_question_is_one() {
    let good = answer(QueryForm::default());
    assert!(matches!(heard(&good), UpstreamMessage::Answer(_)));
    let changed = |change: fn(&mut Message)| {
        let mut message = good.clone();
        change(&mut message);
        heard(&message)
    };
    assert_eq!(changed(|it| it.metadata.id += 1), UpstreamMessage::Spoofed);
    assert_eq!(
        changed(|it| it.metadata.message_type = MessageType::Query),
        UpstreamMessage::Spoofed
    );
    assert_eq!(changed(|it| it.metadata.op_code = OpCode::Notify), UpstreamMessage::Spoofed);
    assert_eq!(changed(|it| it.queries.clear()), UpstreamMessage::Spoofed);
    assert_eq!(changed(|it| it.queries.push(it.queries[0].clone())), UpstreamMessage::Spoofed);
    assert_eq!(changed(|it| it.queries[0].query_type = RecordType::AAAA), UpstreamMessage::Spoofed);
    assert_eq!(changed(|it| it.queries[0].query_class = 3.into()), UpstreamMessage::Spoofed);
    let other =
        |it: &mut Message| it.queries[0].name = Name::from_ascii("WwX.ExAmPlE.CoM.").unwrap();
    assert_eq!(changed(other), UpstreamMessage::Spoofed);
    let lower = |it: &mut Message| it.queries[0].name = it.queries[0].name.to_lowercase();
    assert_eq!(changed(lower), UpstreamMessage::OtherCase);
    let asked = exchange(QueryForm::default()).bytes().to_vec();
    assert_eq!(
        exchange(QueryForm::default()).parse_reply(&asked, LONGEST_BY_UDP),
        UpstreamMessage::Spoofed
    );
}

#[test]
fn answers_that_are_of_no_use() {
    let good = answer(QueryForm::default());
    let mut cut = good.clone();
    cut.metadata.truncation = true;
    assert_eq!(heard(&cut), UpstreamMessage::Truncated);
    let mut long = good.to_vec().unwrap();
    long.resize(LONGEST_BY_UDP, 0);
    let exchange = exchange(QueryForm::default());
    assert!(matches!(exchange.parse_reply(&long, LONGEST_BY_UDP), UpstreamMessage::Answer(_)));
    long.push(0);
    assert_eq!(exchange.parse_reply(&long, LONGEST_BY_UDP), UpstreamMessage::Unreadable);
    assert!(matches!(exchange.parse_reply(&long, 65535), UpstreamMessage::Answer(_)));
    long[7] = 1;
    long.truncate(40);
    assert_eq!(exchange.parse_reply(&long, LONGEST_BY_UDP), UpstreamMessage::Unreadable);
}

#[test]
fn who_does_not_know_edns_is_recognised() {
    let mut refuses = answer(QueryForm::default());
    refuses.metadata.response_code = ResponseCode::FormErr;
    assert_eq!(heard(&refuses), UpstreamMessage::NoEdns);
    refuses.queries.clear();
    assert_eq!(heard(&refuses), UpstreamMessage::BareError);
    let plain = QueryForm { edns: false, ..QueryForm::default() };
    let mut refuses = answer(plain);
    refuses.metadata.response_code = ResponseCode::FormErr;
    let heard = exchange(plain).parse_reply(&refuses.to_vec().unwrap(), LONGEST_BY_UDP);
    assert!(matches!(heard, UpstreamMessage::Answer(_)));
}

proptest! {
    #[test]
    fn any_bytes_come_to_an_end(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let exchange = exchange(QueryForm::default());
        prop_assert_eq!(exchange.parse_reply(&bytes, LONGEST_BY_UDP), UpstreamMessage::Spoofed);
        // Random bytes after a valid header.
        let mut good = answer(QueryForm::default()).to_vec().unwrap();
        let counts = bytes.iter().take(6).copied().collect::<Vec<u8>>();
        good[6..6 + counts.len()].copy_from_slice(&counts);
        good.append(&mut bytes);
        prop_assert!(matches!(
            exchange.parse_reply(&good, LONGEST_BY_UDP),
            UpstreamMessage::Answer(_) | UpstreamMessage::Unreadable
        ));
    }
}
