//! Clients that exceed their limits.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use hickory_proto::op::{MessageType, ResponseCode};
use hickory_proto::rr::RecordType;
use octet_as_pid_1::wait_until;

use crate::client::{Client, data, question, receive, send_all};
use crate::host::{Host, settings};
use crate::upstream::Upstream;

/// The number of queries of the flooding client.
const FLOOD: u16 = 10_000;

/// How often a client repeats a query without an answer, as real ones do.
const ATTEMPTS: usize = 20;

#[test]
fn a_flood_of_one_leaves_others_their_answers() {
    let upstream = Upstream::honest();
    let host = Host::new(settings(), &[upstream.address]);
    let (one, other) = ("127.0.0.2", "127.0.0.3");
    let (one, other) = (Client::new(one, host.address), Client::new(other, host.address));
    assert_eq!(one.address("www.example.com."), ["192.0.2.80"]);
    let flood = thread::spawn(move || {
        for id in 0..FLOOD {
            // Half of the queries are for the same name, half each for another one.
            let name =
                if id % 2 == 0 { "www.example.com.".into() } else { format!("n{id}.flood.") };
            one.send(&question(id, &name, RecordType::A));
            if id % 10 == 0 {
                // The rate is about 10 000 queries per second.
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    other.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answered = 0;
    for id in 0..100 {
        let asked = question(id, &format!("n{id}.example.com."), RecordType::A);
        for _ in 0..ATTEMPTS {
            other.send(&asked);
            let mut buffer = [0; 1232];
            let Ok(length) = other.socket.recv(&mut buffer) else { continue };
            let answer = hickory_proto::op::Message::from_vec(&buffer[..length]).unwrap();
            // The upstream is a thread of this test, and can be slow.
            if answer.metadata.id == id && data(&answer) == ["192.0.2.80"] {
                answered += 1;
                break;
            }
        }
    }
    flood.join().unwrap();
    assert_eq!(answered, 100);
    let counters = host.with(|dns| dns.counters());
    println!("{counters:?}");
    // Which limit is reached first depends on the machine's speed.
    assert!(counters.limited + counters.crowded > 0, "{counters:?}");
    assert!(upstream.asked().len() <= 1 + 100 * ATTEMPTS + FLOOD as usize / 2);
}

#[test]
fn questions_on_a_connection_are_answered_as_answers_come() {
    let upstream = Upstream::honest();
    let host = Host::new(settings(), &[upstream.address]);
    let mut stream = TcpStream::connect(host.address).unwrap();
    let all: Vec<_> =
        (0..50).map(|id| question(id, &format!("n{id}.example.com."), RecordType::A)).collect();
    send_all(&mut stream, &all);
    let mut ids: Vec<u16> = (0..50)
        .map(|_| {
            let answer = receive(&mut stream).unwrap();
            assert_eq!(data(&answer), ["192.0.2.80"]);
            answer.metadata.id
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..50).collect::<Vec<u16>>());
    // A client that has shut down its side still receives all answers.
    send_all(&mut stream, &[question(99, "last.example.com.", RecordType::A)]);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(receive(&mut stream).unwrap().metadata.id, 99);
    assert!(receive(&mut stream).is_none());
}

#[test]
fn one_client_has_its_part_of_the_connections() {
    let host = Host::new(settings(), &[]);
    let ask = |stream: &mut TcpStream| {
        // A refused connection fails at the first or the second write.
        let asked = question(1, "board-3.octet.internal.", RecordType::A).to_vec().unwrap();
        let length = u16::try_from(asked.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length, &asked[..]].concat()).ok()?;
        receive(stream)
    };
    let mut streams: Vec<TcpStream> =
        (0..8).map(|_| TcpStream::connect(host.address).unwrap()).collect();
    assert!(streams.iter_mut().all(|stream| ask(stream).is_some()));
    let mut ninth = TcpStream::connect(host.address).unwrap();
    assert!(ask(&mut ninth).is_none());
    assert!(streams.iter_mut().all(|stream| ask(stream).is_some()));
    assert_eq!(host.with(|dns| dns.counters()).connections_refused, 1);
    // UDP is not affected, and a closed connection makes room.
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("board-3.octet.internal."), ["10.20.3.2"]);
    drop(streams.pop());
    wait_until("there is a place again", || {
        ask(&mut TcpStream::connect(host.address).unwrap()).is_some()
    });
}

#[test]
fn a_connection_ends_that_says_nothing_or_too_much() {
    let host = Host::new(settings(), &[]);
    let mut silent = TcpStream::connect(host.address).unwrap();
    let mut good = TcpStream::connect(host.address).unwrap();
    let own = question(1, "board-3.octet.internal.", RecordType::A);
    send_all(&mut good, std::slice::from_ref(&own));
    assert_eq!(data(&receive(&mut good).unwrap()), ["10.20.3.2"]);
    good.write_all(&[0xff, 0xff, 0, 0]).unwrap();
    assert!(receive(&mut good).is_none());
    let mut answer = TcpStream::connect(host.address).unwrap();
    let mut no_question = own.clone();
    no_question.metadata.message_type = MessageType::Response;
    send_all(&mut answer, &[own, no_question]);
    assert!(receive(&mut answer).is_some());
    assert!(receive(&mut answer).is_none());
    assert!(receive(&mut silent).is_none());
}

#[test]
fn answers_are_not_answered() {
    let host = Host::new(settings(), &[]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("board-3.octet.internal."), ["10.20.3.2"]);
    let mut answer = question(1, "board-3.octet.internal.", RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    client.send(&answer);
    client.socket.send(&[0x80; 5]).unwrap();
    // The next message is the answer to the next query.
    client.send(&question(2, "board-4.octet.internal.", RecordType::A));
    let next = client.receive();
    assert_eq!((next.metadata.id, data(&next)), (2, vec!["10.20.4.2".into()]));
    let zone = client.ask("octet.internal.", RecordType::AXFR);
    assert_eq!(zone.metadata.response_code, ResponseCode::Refused);
    let counters = host.with(|dns| dns.counters());
    assert_eq!((counters.refused.no_question, counters.refused.kind), (2, 1));
}
