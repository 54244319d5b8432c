//! Commands for another board of the box, to which the receiving board relays them.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::quic::send_request;
use octet_messages::request::{MailboxRefusal, MailboxReply, SignedRequest};
use octet_node::Peer;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::key::PrivateKey;
use octet_node::map::{CLUSTER, MAP, Map, MapVersion, Member, SignedMap, Update};
use serde_json::json;

use crate::bot::Operator;
use crate::gate::Gate;
use crate::{Host, TIMEOUT, certificate};

/// The map that `cluster` sends, once it is set.
type Told = Arc<Mutex<Option<SignedMap>>>;

/// Simulates `cluster` for the messenger.
fn cluster(socket: &Path) -> Told {
    let (listener, told) = (UnixListener::bind(socket).unwrap(), Told::default());
    let shared = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (told, mut peer) = (Arc::clone(&shared), Peer::new(stream));
            std::thread::spawn(move || {
                let Ok(Some(request)) = peer.next_request() else { return };
                assert_eq!(request.verb, MAP);
                let map = loop {
                    match told.lock().unwrap().clone() {
                        Some(map) => break map,
                        None => std::thread::sleep(Duration::from_millis(10)),
                    }
                };
                let update = Update { number: None, map: Some(map) };
                // The connection stays open until the service is killed.
                if peer.item(request.id, json!(update)).is_ok() {
                    let _ = peer.next_request();
                }
            });
        }
    });
    told
}

/// The map of a box with these boards.
fn map(boards: &[(&Host, &MailboxAddress)]) -> SignedMap {
    let members = boards.iter().zip(1..).map(|((host, place), number)| Member {
        number,
        node: host.node.public(),
        addresses: place.addresses.iter().map(SocketAddr::ip).collect(),
        certificates: vec![certificate(&host.node, place.mailbox)],
        record: None,
        drained: false,
    });
    let (coordinator, key) = (&boards[0].0.node, PrivateKey::generate().unwrap());
    let version = MapVersion { epoch: 1, sequence: 1 };
    let map = Map::new(coordinator.public(), version, members.collect(), vec![]);
    let (unit, node) = (CLUSTER.parse().unwrap(), coordinator.public());
    let statement = KeyStatement { node, unit, key: key.public(), epoch: 1, issued: 1 };
    SignedMap::sign(map, Certificate::sign(statement, coordinator).unwrap(), &key).unwrap()
}

#[test]
fn what_is_for_another_board_is_carried_there() {
    let mut hosts = [Host::new(), Host::new()];
    let gates = hosts.each_ref().map(|host| Gate::start(&host.folder.path().join("gate.sock")));
    let told = hosts.each_ref().map(|host| cluster(&host.folder.path().join("cluster.sock")));
    // Both use the same port, at different addresses.
    let port = UdpSocket::bind("127.0.0.2:0").unwrap().local_addr().unwrap().port();
    let places = [0, 1].map(|it: usize| hosts[it].start(&format!("127.0.0.{}:{port}", it + 2)));
    let all = map(&[(&hosts[0], &places[0]), (&hosts[1], &places[1])]);
    told.iter().for_each(|told| *told.lock().unwrap() = Some(all.clone()));
    let deadline = Instant::now() + TIMEOUT;
    while hosts.iter().any(|host| host.ask("status", json!({}))["boards"] != 2) {
        assert!(Instant::now() < deadline, "the map is not known");
        std::thread::sleep(Duration::from_millis(10));
    }

    let mut anna = Operator::new(&hosts[0], &places[0], "anna");
    let other = hosts[1].node.public();
    let command = anna.sign_for(other, "stats");
    anna.write(&command);
    let said = anna.answers(1).pop().unwrap();
    assert!(said.contains("stats") && said.contains("\"n\": 1"), "{said}");
    assert_eq!(gates[1].begun.recv_timeout(TIMEOUT).unwrap(), "stats");
    assert!(gates[0].begun.try_recv().is_err(), "it is for the other");

    // That board's gate refuses a repetition, and a sender that is not in the map does not reach
    // the gate.
    anna.write(&command);
    assert!(anna.answers(2).pop().unwrap().contains("run before"));
    let fresh = anna.sign_for(other, "show");
    let stranger = {
        let (nobody, request) =
            (PrivateKey::generate().unwrap(), SignedRequest::Run(fresh.clone()));
        send_request(&nobody, &places[1], &request, TIMEOUT)
    };
    assert_eq!(stranger, Some(MailboxReply::Refused(MailboxRefusal::NoBoard)));
    // An operator of this board who is not an operator of the other one.
    let mut ben = Operator::new(&hosts[0], &places[0], "ben");
    gates[1].strangers.lock().unwrap().push(ben.key());
    ben.write(&ben.sign_for(other, "purge"));
    let said = ben.answers(1).pop().unwrap();
    assert!(said.contains("not signed by an operator of that board"), "{said}");
    // Commands of unknown keys are not relayed, because they would use up the rate limit of this
    // board at the other one.
    gates[0].strangers.lock().unwrap().push(ben.key());
    for _ in 0..40 {
        ben.write(&ben.sign_for(other, "purge"));
    }
    anna.write(&fresh);
    assert!(anna.answers(3).pop().unwrap().contains("show"), "the same from a board is run");
    assert_eq!(gates[1].begun.recv_timeout(TIMEOUT).unwrap(), "show");

    // The other board is down, so the result is unknown. A command for a node outside the box is
    // passed to this board's gate, which refuses it.
    hosts[1].kill();
    anna.write(&anna.sign_for(other, "stats"));
    assert!(anna.answers(4).pop().unwrap().contains("the board does not answer"));
    anna.write(&anna.sign_for(PrivateKey::generate().unwrap().public(), "ls"));
    assert_eq!(gates[0].begun.recv_timeout(TIMEOUT).unwrap(), "ls");
}
