use hickory_proto::op::{MessageType, OpCode, Query as Asked};
use proptest::prelude::*;

use super::*;

fn message(kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Asked::query(Name::from_ascii("Www.example.com.").unwrap(), kind));
    message
}

fn parsed(message: &Message) -> Result<Query, RefusedQuery> {
    Query::parse(&message.to_vec().unwrap(), Transport::Udp)
}

fn refused(message: &Message) -> (QueryRefusal, Option<Message>) {
    let refused = parsed(message).unwrap_err();
    (refused.reason, refused.reply.map(|bytes| Message::from_vec(&bytes).unwrap()))
}

#[test]
fn a_question_is_read() {
    let query = parsed(&message(RecordType::A)).unwrap();
    assert_eq!((query.id, query.recursion, query.edns, query.limit), (0x1234, true, false, 512));
    assert_eq!(query.question.name.to_ascii(), "Www.example.com.");
    for (says, limit) in [(0, 512), (800, 800), (1232, 1232), (4096, 1232), (65535, 1232)] {
        let mut message = message(RecordType::AAAA);
        message.edns = Some(Edns::new().set_max_payload(says).clone());
        let query = parsed(&message).unwrap();
        assert_eq!((query.edns, query.limit), (true, limit), "{says}");
        let by_tcp = Query::parse(&message.to_vec().unwrap(), Transport::Tcp).unwrap();
        assert_eq!(by_tcp.limit, 65535);
    }
}

#[test]
fn what_is_no_question_is_told_so() {
    assert!(parsed(&message(RecordType::A)).is_ok());
    let mut other = message(RecordType::A);
    other.queries[0].query_class = DNSClass::CH;
    let (why, reply) = refused(&other);
    assert_eq!(
        (why, reply.unwrap().metadata.response_code),
        (QueryRefusal::Class, ResponseCode::Refused)
    );
    let mut other = message(RecordType::A);
    other.edns = Some(Edns::new().set_version(1).clone());
    let (why, reply) = refused(&other);
    // The code 16 is also the number of another error.
    let code = u16::from(reply.unwrap().metadata.response_code);
    assert_eq!((why, code), (QueryRefusal::Class, ResponseCode::BADVERS.into()));
    for kind in [RecordType::AXFR, RecordType::IXFR, RecordType::Unknown(249), RecordType::ZERO] {
        let (why, reply) = refused(&message(kind));
        assert_eq!(
            (why, reply.unwrap().metadata.response_code),
            (QueryRefusal::Kind, ResponseCode::Refused)
        );
    }
    for opcode in [OpCode::Status, OpCode::Notify, OpCode::Update, OpCode::Unknown(9)] {
        let mut other = message(RecordType::A);
        other.metadata.op_code = opcode;
        let (why, reply) = refused(&other);
        let head = reply.unwrap().metadata;
        assert_eq!((why, head.response_code), (QueryRefusal::Opcode, ResponseCode::NotImp));
        assert_eq!((head.op_code, head.id, head.recursion_desired), (opcode, 0x1234, true));
    }
    let mut two = message(RecordType::A);
    two.queries.push(two.queries[0].clone());
    let (why, reply) = refused(&two);
    assert_eq!(
        (why, reply.unwrap().metadata.response_code),
        (QueryRefusal::Malformed, ResponseCode::FormErr)
    );
    let mut none = message(RecordType::A);
    none.queries.clear();
    assert_eq!(refused(&none).0, QueryRefusal::Malformed);
    let mut long = message(RecordType::A).to_vec().unwrap();
    long.resize(LONGEST + 1, 0);
    assert_eq!(Query::parse(&long, Transport::Tcp).unwrap_err().reason, QueryRefusal::Malformed);
}

#[test]
fn answers_are_never_answered() {
    assert!(parsed(&message(RecordType::A)).is_ok());
    let mut answer = message(RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    assert_eq!(refused(&answer), (QueryRefusal::NoQuestion, None));
    // The same holds for malformed messages.
    assert_eq!(Query::parse(&[0xff; 40], Transport::Udp).unwrap_err().reply, None);
    assert_eq!(Query::parse(&[0; 11], Transport::Udp).unwrap_err().reply, None);
}

proptest! {
    #[test]
    fn any_bytes_come_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        check(&bytes);
    }

    #[test]
    fn any_change_of_a_question_comes_to_an_end(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = message(RecordType::A);
        bytes.edns = Some(Edns::new());
        let mut bytes = bytes.to_vec().unwrap();
        for (index, byte) in changes {
            let length = bytes.len();
            bytes[index.index(length)] = byte;
        }
        check(&bytes);
        check(&bytes[..cut.index(bytes.len())]);
    }
}

/// Every reply answers this message, and stays within its limit.
fn check(bytes: &[u8]) {
    let reply = match Query::parse(bytes, Transport::Udp) {
        Ok(query) => reply(&query, &CachedAnswer::with_code(ResponseCode::ServFail)),
        Err(RefusedQuery { reply: Some(reply), .. }) => reply,
        Err(RefusedQuery { reply: None, .. }) => return,
    };
    assert!(bytes.len() >= HEAD && bytes[2] & 0x80 == 0);
    assert!((HEAD..=512).contains(&reply.len()));
    assert_eq!((&reply[..2], reply[2] & 0x80), (&bytes[..2], 0x80));
}
