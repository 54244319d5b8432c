//! Queries that are forwarded to upstreams, and their answers.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::mpsc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use octet_as_pid_1::wait_until;
use octet_lan::dns::inside::BoxNetworks;
use octet_lan::dns::prefix::IpPrefix;
use octet_lan::dns::upstreams::RefusedUpstream;

use crate::client::{Client, data, question};
use crate::host::{Host, impatient, inside, settings};
use crate::upstream::{Asked, Upstream};

fn addresses(name: &str, count: u16) -> Vec<Record> {
    let record = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let data = RData::from(std::net::IpAddr::V4(Ipv4Addr::new(198, 51, high, low)));
        Record::from_rdata(name.parse().unwrap(), 60, data)
    };
    (0..count).map(record).collect()
}

fn alias(owner: &str, target: &str) -> Record {
    let target: Name = target.parse().unwrap();
    Record::from_rdata(owner.parse().unwrap(), 60, RData::CNAME(CNAME(target)))
}

#[test]
fn a_name_from_outside() {
    let upstream = Upstream::honest();
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("www.example.com."), ["192.0.2.80"]);
    assert_eq!(client.address("www.Example.com."), ["192.0.2.80"]);
    assert_eq!(upstream.asked(), ["www.example.com. A"]);
    let counters = host.with(|dns| dns.counters());
    assert_eq!((counters.queries, counters.forwarded, counters.from_cache), (2, 1, 1));
    assert!(host.with(|dns| dns.cached_bytes()) > 0);
}

#[test]
fn each_question_comes_from_another_port_with_another_number_and_other_capitals() {
    let (sender, seen) = mpsc::channel();
    let upstream = Upstream::new(move |asked| {
        let spelled = asked.message.queries[0].name.to_ascii();
        sender.send((asked.from.port(), asked.message.metadata.id, spelled)).unwrap();
        vec![asked.address("192.0.2.80").to_vec().unwrap()]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    for number in 0..64 {
        client.address(&format!("a-name-with-many-letters-{number}.example.com."));
    }
    let seen: Vec<_> = seen.try_iter().collect();
    assert_eq!(seen.len(), 64);
    let different = |of: fn(&(u16, u16, String)) -> String| {
        seen.iter().map(of).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert!(different(|(port, _, _)| port.to_string()) > 48);
    assert!(different(|(_, id, _)| id.to_string()) > 60);
    // The part "example.com" is the same in all queries: there are 2^10 spellings.
    assert!(different(|(_, _, name)| name[name.len() - 12..].to_owned()) > 48);
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for_twice() {
    let (silent, failing, good) = (
        Upstream::new(|_| vec![]),
        Upstream::new(|asked| {
            let mut answer = asked.empty();
            answer.metadata.response_code = ResponseCode::ServFail;
            vec![answer.to_vec().unwrap()]
        }),
        Upstream::honest(),
    );
    let all = [silent.address, failing.address, good.address];
    let host = Host::new(impatient(), &all);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("www.example.com."), ["192.0.2.80"]);
    assert_eq!(client.address("www2.example.com."), ["192.0.2.80"]);
    assert_eq!(silent.asked(), ["www.example.com. A"]);
    assert_eq!(failing.asked(), ["www.example.com. A"]);
    assert_eq!(good.asked().len(), 2);
    assert_eq!(host.with(|dns| dns.counters()).upstream_failures, 2);
}

/// Queries of a client with an exit node are only forwarded there, even if that node does not
/// answer.
#[test]
fn who_leaves_by_another_node_asks_there_alone() {
    let (own, exit) = (
        Upstream::honest(),
        Upstream::new(|asked| {
            if asked.name() == "silent.example.com." {
                return vec![];
            }
            vec![asked.address("192.0.2.99").to_vec().unwrap()]
        }),
    );
    let host = Host::new(impatient(), &[own.address]);
    let at_exit = exit.address;
    host.with(move |dns| {
        let by_exit = IpPrefix::new("127.0.0.2".parse().unwrap(), 32).unwrap();
        dns.set_box_networks(BoxNetworks { exit_clients: vec![by_exit], ..inside() });
        assert_eq!(dns.set_exits(&[at_exit]), []);
    });
    let (node, device) =
        (Client::new("127.0.0.1", host.address), Client::new("127.0.0.2", host.address));
    for _ in 0..2 {
        assert_eq!(node.address("www.example.com."), ["192.0.2.80"]);
        assert_eq!(device.address("www.example.com."), ["192.0.2.99"]);
    }
    let none = device.ask("silent.example.com.", RecordType::A);
    assert_eq!(none.metadata.response_code, ResponseCode::ServFail);
    host.with(|dns| assert_eq!(dns.set_exits(&[]), []));
    let none = device.ask("other.example.com.", RecordType::A);
    assert_eq!(none.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(own.asked(), ["www.example.com. A"]);
    assert_eq!(exit.asked()[..2], ["www.example.com. A", "silent.example.com. A"]);
}

#[test]
fn nobody_is_asked_for_ever() {
    let upstream = Upstream::new(|asked| {
        if asked.name() == "www.example.com." {
            return vec![asked.address("192.0.2.80").to_vec().unwrap()];
        }
        let mut answer = asked.empty();
        answer.metadata.response_code = ResponseCode::Refused;
        vec![answer.to_vec().unwrap()]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("www.example.com."), ["192.0.2.80"]);
    let none = client.ask("none.example.com.", RecordType::A);
    assert_eq!(none.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(upstream.asked().len(), 1 + 4);
    assert_eq!(host.with(|dns| dns.counters()).unanswered, 1);
}

#[test]
fn what_is_too_long_for_a_datagram_is_asked_for_by_tcp() {
    let upstream = Upstream::new(|asked| {
        let mut answer = asked.with(addresses(&asked.name(), 100));
        if !asked.tcp {
            answer = answer.truncate();
        }
        vec![answer.to_vec().unwrap()]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    let short = client.ask("www.example.com.", RecordType::A);
    assert_eq!((short.answers.len(), short.metadata.truncation), (0, true));
    assert_eq!(upstream.asked(), ["www.example.com. A", "www.example.com. A tcp"]);
    let mut stream = std::net::TcpStream::connect(host.address).unwrap();
    crate::client::send_all(&mut stream, &[question(1, "www.example.com.", RecordType::A)]);
    let whole = crate::client::receive(&mut stream).unwrap();
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (100, false));
    assert_eq!(upstream.asked().len(), 2);
}

#[test]
fn what_is_longer_than_it_may_be_is_not_read() {
    let of_length = |asked: &Asked, length: usize| {
        let mut bytes = asked.address("192.0.2.80").to_vec().unwrap();
        bytes.resize(length, 0);
        vec![bytes]
    };
    let upstream = Upstream::new(move |asked| {
        let longest = asked.name().starts_with("longest");
        of_length(asked, if longest { 4096 } else { 4097 })
    });
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("longest.example.com."), ["192.0.2.80"]);
    let longer = client.ask("longer.example.com.", RecordType::A);
    assert_eq!(longer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(client.address("longest2.example.com."), ["192.0.2.80"]);
}

#[test]
fn names_that_stand_for_each_other_come_to_an_end() {
    let upstream = Upstream::new(|asked| {
        let mut records = vec![alias("www.example.com.", "a.example.com.")];
        records.extend(addresses("a.example.com.", 1));
        records.push(alias("ring.example.com.", "b.example.com."));
        records.push(alias("b.example.com.", "ring.example.com."));
        vec![asked.with(records).to_vec().unwrap()]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("www.example.com."), ["a.example.com.", "198.51.0.0"]);
    let ring = client.ask("ring.example.com.", RecordType::A);
    assert_eq!(ring.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(upstream.asked().len(), 2);
}

#[test]
fn a_node_that_is_told_to_ask_itself_does_not() {
    let upstream = Upstream::honest();
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("www.example.com."), ["192.0.2.80"]);
    let itself = host.address;
    let refused = host.with(move |dns| dns.set_upstreams(&[itself]));
    assert_eq!(refused, [RefusedUpstream::Itself(itself)]);
    let none = client.ask("www.example.com.", RecordType::A);
    assert_eq!(none.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(host.with(|dns| dns.counters()).queries, 2);
}

#[test]
fn two_nodes_that_ask_each_other_come_to_an_end() {
    let upstream = Upstream::honest();
    let (one, other) = (Host::new(impatient(), &[upstream.address]), Host::new(impatient(), &[]));
    let (to_one, to_other) = (one.address, other.address);
    other.with(move |dns| assert_eq!(dns.set_upstreams(&[to_one]), []));
    let client = Client::new("127.0.0.1", to_other);
    assert_eq!(client.address("www.example.com."), ["192.0.2.80"]);
    one.with(move |dns| assert_eq!(dns.set_upstreams(&[to_other]), []));
    let none = client.ask("ring.example.com.", RecordType::A);
    assert_eq!(none.metadata.response_code, ResponseCode::ServFail);
    for host in [&one, &other] {
        let counters = host.with(|dns| dns.counters());
        assert!(counters.queries <= 12, "{counters:?}");
    }
}

#[test]
fn one_question_of_many_is_asked_once() {
    let (release, held) = mpsc::channel();
    let held = Mutex::new(held);
    let upstream = Upstream::new(move |asked| {
        held.lock().unwrap().recv().unwrap();
        vec![asked.address("192.0.2.80").to_vec().unwrap()]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let clients = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]
        .map(|address| Client::new(address, host.address));
    for (id, client) in clients.iter().enumerate() {
        client.send(&question(id as u16, "www.example.com.", RecordType::A));
    }
    wait_until("all wait", || host.with(|dns| dns.counters()).joined == 3);
    release.send(()).unwrap();
    for (id, client) in clients.iter().enumerate() {
        let answer = client.receive();
        assert_eq!(
            (usize::from(answer.metadata.id), data(&answer)),
            (id, vec!["192.0.2.80".into()])
        );
    }
    assert_eq!(upstream.asked(), ["www.example.com. A"]);
    assert_eq!(host.with(|dns| dns.counters()).forwarded, 1);
}

#[test]
fn one_client_has_its_part_of_those_that_wait() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let upstream = Upstream::new(move |asked| {
        // Blocks until the sender is dropped, and never after that.
        let _ = held.lock().unwrap().recv();
        vec![asked.address("192.0.2.80").to_vec().unwrap()]
    });
    let host = Host::new(settings(), &[upstream.address]);
    let (one, other) = ("127.0.0.2", "127.0.0.3");
    let (one, other) = (Client::new(one, host.address), Client::new(other, host.address));
    for id in 0..40 {
        one.send(&question(id, &format!("n{id}.example.com."), RecordType::A));
    }
    for _ in 0..8 {
        assert_eq!(one.receive().metadata.response_code, ResponseCode::ServFail);
    }
    other.send(&question(1, "other.example.com.", RecordType::A));
    wait_until("it is asked", || host.with(|dns| dns.counters()).forwarded == 33);
    drop(release);
    for _ in 0..32 {
        assert_eq!(data(&one.receive()), ["192.0.2.80"]);
    }
    assert_eq!(data(&other.receive()), ["192.0.2.80"]);
    assert_eq!(host.with(|dns| dns.counters()).busy, 8);
}
