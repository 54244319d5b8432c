//! Attackers who forge an upstream's answer, or point names at the box.

use std::net::UdpSocket;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use crate::client::{Client, data};
use crate::host::{Host, impatient, settings};
use crate::upstream::{Asked, Upstream};

/// An attacker's answer, correct except for what `change` alters.
fn forged(asked: &Asked, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = asked.address("192.0.2.66");
    change(&mut message);
    message.to_vec().unwrap()
}

#[test]
fn only_the_answer_to_the_question_is_believed() {
    let upstream = Upstream::new(|asked| {
        let good = asked.address("192.0.2.80").to_vec().unwrap();
        if asked.before == 0 {
            return vec![good];
        }
        let other = Name::from_ascii("other.example.com.").unwrap();
        vec![
            forged(asked, |it| it.metadata.id ^= 1),
            forged(asked, |it| {
                let name = it.queries[0].name.to_ascii();
                let (first, rest) = name.split_at(1);
                let first = first.chars().map(|it| {
                    if it.is_uppercase() {
                        it.to_ascii_lowercase()
                    } else {
                        it.to_ascii_uppercase()
                    }
                });
                let name = first.chain(rest.chars()).collect::<String>();
                it.queries[0].name = Name::from_ascii(name).unwrap();
            }),
            forged(asked, |it| it.queries[0].name = other),
            forged(asked, |it| it.queries[0].query_type = RecordType::AAAA),
            forged(asked, |it| it.queries.clear()),
            b"no message".to_vec(),
            vec![],
            good,
        ]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("first.example.com."), ["192.0.2.80"]);
    assert_eq!(host.with(|dns| dns.counters()).spoofed, 0);
    assert_eq!(client.address("second.example.com."), ["192.0.2.80"]);
    let counters = host.with(|dns| dns.counters());
    assert_eq!((counters.spoofed, counters.upstream_failures), (7, 0));
    assert_eq!(upstream.asked().len(), 2);
}

#[test]
fn only_the_server_that_was_asked_is_heard() {
    let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
    let upstream = Upstream::new(move |asked| {
        // The answer is correct in everything that can be guessed, but has the wrong source
        // address.
        let forged = forged(asked, |_| {});
        elsewhere.send_to(&forged, asked.from).unwrap();
        let somebody = UdpSocket::bind("127.0.0.9:0").unwrap();
        somebody.send_to(&forged, asked.from).unwrap();
        vec![asked.address("192.0.2.80").to_vec().unwrap()]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    for number in 0..10 {
        assert_eq!(client.address(&format!("n{number}.example.com.")), ["192.0.2.80"]);
    }
    assert_eq!(upstream.asked().len(), 10);
}

#[test]
fn a_server_that_does_not_repeat_capitals_is_asked_without() {
    let upstream = Upstream::new(|asked| {
        let mut answer = asked.address("192.0.2.80");
        answer.queries[0].name = answer.queries[0].name.to_lowercase();
        vec![answer.to_vec().unwrap()]
    });
    let host = Host::new(impatient(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    let long = "a-long-name-so-that-some-letter-is-a-capital.example.com.";
    assert_eq!(client.address(long), ["192.0.2.80"]);
    assert_eq!(upstream.asked().len(), 2);
    // The next query uses the supported form at once.
    assert_eq!(client.address(&format!("x.{long}")), ["192.0.2.80"]);
    assert_eq!(upstream.asked().len(), 3);
    assert_eq!(host.with(|dns| dns.counters()).upstream_failures, 0);
}

#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    let upstream = Upstream::new(|asked| {
        let mut answer = asked.address("192.0.2.80");
        if asked.message.edns.is_some() {
            answer = asked.empty();
            answer.metadata.response_code = ResponseCode::FormErr;
        }
        vec![answer.to_vec().unwrap()]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("first.example.com."), ["192.0.2.80"]);
    assert_eq!(client.address("second.example.com."), ["192.0.2.80"]);
    assert_eq!(upstream.asked().len(), 3);
}

#[test]
fn no_answer_leads_into_the_box() {
    let upstream = Upstream::new(|asked| {
        let mut all = asked.address("192.0.2.80");
        if asked.name().starts_with("rebound") {
            for inside in
                ["10.20.3.2", "127.0.0.1", "169.254.1.1", "0.0.0.0", "192.168.1.1", "240.0.0.1"]
            {
                all.answers.extend(asked.address(inside).answers);
            }
        }
        vec![all.to_vec().unwrap()]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("www.example.com."), ["192.0.2.80"]);
    assert_eq!(host.with(|dns| dns.counters()).removed, 0);
    assert_eq!(client.address("rebound.example.com."), ["192.0.2.80"]);
    assert_eq!(client.address("rebound.example.com."), ["192.0.2.80"]);
    assert_eq!(host.with(|dns| dns.counters()).removed, 6);
}

#[test]
fn what_was_not_asked_for_is_not_kept() {
    let upstream = Upstream::new(|asked| {
        let mut answer = asked.address("192.0.2.80");
        let mut planted = answer.answers[0].clone();
        planted.name = "bank.example.com.".parse().unwrap();
        answer.answers.push(planted.clone());
        answer.authorities.push(planted.clone());
        answer.additionals.push(planted);
        if asked.name() == "bank.example.com." {
            answer = asked.address("192.0.2.1");
        }
        vec![answer.to_vec().unwrap()]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    let answer = client.ask("www.example.com.", RecordType::A);
    assert_eq!(data(&answer), ["192.0.2.80"]);
    assert_eq!((answer.authorities.len(), answer.additionals.len()), (0, 0));
    assert_eq!(client.address("bank.example.com."), ["192.0.2.1"]);
}
