//! Boards behind the gate of a router.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use octet_as_pid_1::wait_until;
use octet_node::control::{CallError, FailureCode};
use octet_node::key::PrivateKey;
use serde_json::{Map, Value, json};

use crate::host::{Host, named};
use crate::key;
use crate::operator::{denied, failure, object};
use crate::settings::Config;

/// A proxy between the router's gate and those of boards, which records all bytes.
struct Tap {
    port: u16,
    noted: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// A proxy to the gate at port `gate`.
    fn before(gate: u16) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let noted = Arc::<Mutex<Vec<u8>>>::default();
        let all = Arc::clone(&noted);
        thread::spawn(move || {
            for one in listener.incoming().map_while(Result::ok) {
                let other = TcpStream::connect(("127.0.0.1", gate)).unwrap();
                for (mut from, mut to) in
                    [(one.try_clone().unwrap(), other.try_clone().unwrap()), (other, one)]
                {
                    let all = Arc::clone(&all);
                    thread::spawn(move || {
                        let mut buffer = [0; 4096];
                        while let Ok(count @ 1..) = from.read(&mut buffer) {
                            all.lock().unwrap().extend_from_slice(&buffer[..count]);
                            if to.write_all(&buffer[..count]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { port, noted }
    }

    fn saw(&self, text: &str) -> bool {
        let noted = self.noted.lock().unwrap();
        noted.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

/// Waits until the gate has received the map, which happens after it is ready.
fn has_the_map(host: &Host, operator: &PrivateKey) {
    // All calls use one connection, so that the tests' counts of connections are exact.
    let client = host.at().client(operator).unwrap();
    let mut client = client.with_unit(Some("gate".parse().unwrap()));
    // The number is no board's, so that nothing is relayed.
    let mut ask = || failure(client.call("relay", object(json!({ "board": 99 }))));
    wait_until("it has the map", || ask().code == FailureCode::NotFound);
}

#[test]
fn an_operator_reaches_a_board_and_nobody_reads_it() {
    let (anna, ben) = (key(), key());
    let board = Host::new(&[("anna", &anna, &["own"])]);
    let tap = Tap::before(board.port);
    let node = board.identity.node();
    let operators: [(&str, &PrivateKey, &[&str]); 2] =
        [("anna", &anna, &["own"]), ("ben", &ben, &["operate:cache"])];
    let router = Host::router(&operators, &[(3, node)], tap.port);
    has_the_map(&router, &anna);
    let at = router.at();

    let mut client = at.at_board(&anna, 3, node).unwrap();
    let secret = json!({ "unit": "a-word-that-nobody-reads" });
    let answer = client.call("restart", object(secret.clone())).unwrap();
    assert_eq!(answer["args"], secret);
    let by = json!({ "operator": anna.public() });
    assert_eq!((&answer["by"], board.units.count("init restart")), (&by, 1));
    assert_eq!(router.units.total(), 0);
    assert_eq!(router.ask("show", json!({})).unwrap()["relayed"], 1);
    drop(client);
    let public = anna.public().to_string();
    for outcome in ["allowed", "by the operator: "] {
        let parts = ["anna", &public, "gate relay {\"board\":3}", outcome];
        assert!(router.has_logged(&parts), "{}", router.log());
    }
    assert!(board.has_logged(&["anna", "init restart", "done"]), "{}", board.log());
    // Many bytes were recorded, but no plaintext; the proxy does see what the test sends without
    // TLS.
    assert!(tap.noted.lock().unwrap().len() > 500);
    assert!(!tap.saw("a-word-that-nobody-reads") && !tap.saw("restart"));
    let mut plain = at.handed_on(&anna, 3).unwrap();
    plain.write_all(b"a-word-that-anybody-reads").unwrap();
    let _ = plain.read(&mut [0; 10]);
    assert!(tap.saw("a-word-that-anybody-reads"));

    // The client detects that another node is behind the address.
    let other = key().public();
    let problem = at.at_board(&anna, 3, other).err().unwrap().to_string();
    assert!(problem.contains(&node.to_string()), "{problem}");

    // The board's gate does not know Ben, and the router's gate requires `read`.
    denied(at.at_board(&ben, 3, node).map(|_| Value::Null), "needs `read`");
    assert_eq!(board.units.total(), 1);
}

#[test]
fn only_boards_of_the_map() {
    let (anna, ben) = (key(), key());
    let board = Host::new(&[("anna", &anna, &["own"])]);
    let node = board.identity.node();
    let operators: [(&str, &PrivateKey, &[&str]); 2] =
        [("anna", &anna, &["own"]), ("ben", &ben, &["read"])];
    let router = Host::router(&operators, &[(3, node)], board.port);
    has_the_map(&router, &anna);
    let at = router.at();
    at.at_board(&anna, 3, node).unwrap().call("status", Map::new()).unwrap();
    // Ben is an operator of the router, but not of the board.
    let problem = at.at_board(&ben, 3, node).map(|mut it| it.call("status", Map::new()));
    denied(problem.unwrap(), "is not an operator");
    for number in [0, 4, 256 + 3] {
        let problem = failure(at.handed_on(&anna, number).map(|_| Value::Null));
        assert_eq!(problem.code, FailureCode::NotFound, "{problem}");
    }
    // A relay needs a TLS connection to the gate: it is refused through PID 1, and in a signed
    // command.
    let problem = failure(router.ask("relay", json!({ "board": 3 })));
    assert!(problem.help.contains("--board"), "{problem}");
    // A connection with another pending request cannot be relayed.
    let mut client = at.client(&anna).unwrap();
    client.call_each("watch", Map::new(), |_| false).unwrap();
    client.set_unit(Some("gate".parse().unwrap()));
    let busy = client.call("relay", object(json!({ "board": 3 })));
    assert_eq!(failure(busy).code, FailureCode::Busy);
    client.set_unit(None);
    client.call("status", Map::new()).unwrap();
    // A node that is not the coordinator has no boards.
    let problem = failure(board.at().handed_on(&anna, 3).map(|_| Value::Null));
    assert!(problem.message.contains("does not hold the map"), "{problem}");
    // When the board is switched off, relayed connections are closed, and new ones fail with a
    // clear message.
    let mut client = at.at_board(&anna, 3, node).unwrap();
    client.call("status", Map::new()).unwrap();
    drop(board);
    assert!(client.call("status", Map::new()).is_err());
    assert!(router.has_logged(&["anna", "gate relay", "by the board: "]), "{}", router.log());
    let problem = failure(at.handed_on(&anna, 3).map(|_| Value::Null));
    assert!(problem.message.contains("does not answer"), "{problem}");
    assert!(problem.help.contains("off"), "{}", problem.help);
    at.ask(&anna, "status", json!({})).unwrap();
}

/// A coordinator that is a board relays like a router, and also to its own number.
#[test]
fn a_board_that_holds_the_map_hands_on() {
    let anna = key();
    let operators: [(&str, &PrivateKey, &[&str]); 1] = [("anna", &anna, &["own"])];
    let board = Host::new(&operators);
    let node = board.identity.node();
    let manager = Host::coordinator(2, &operators, &[(1, key().public()), (3, node)], board.port);
    has_the_map(&manager, &anna);
    let at = manager.at();
    at.at_board(&anna, 3, node).unwrap().call("status", Map::new()).unwrap();
    assert_eq!((board.units.total(), manager.units.total()), (1, 0));
    at.handed_on(&anna, 2).unwrap();
    let problem = failure(at.handed_on(&anna, 4).map(|_| Value::Null));
    assert_eq!(problem.code, FailureCode::NotFound, "{problem}");
}

/// Relayed connections end if they are idle, or if the client does not read.
#[test]
fn who_wants_nothing_is_cut_off() {
    let anna = key();
    let operators: [(&str, &PrivateKey, &[&str]); 1] = [("anna", &anna, &["own"])];
    let board = Host::new(&operators);
    let node = board.identity.node();
    let mut router = Host::router(&operators, &[(3, node)], board.port);
    has_the_map(&router, &anna);
    router.kill();
    router.short = ("relay", 2000);
    router.start();
    has_the_map(&router, &anna);
    let mut client = None;
    wait_until("something has passed", || {
        let there = router.at().at_board(&anna, 3, node);
        client = there.and_then(|mut it| it.call("status", Map::new()).map(|_| it)).ok();
        client.is_some()
    });
    let mut client = client.unwrap();
    assert!(router.has_logged(&["gate relay", "nothing has passed for too long"]));
    assert!(client.call("status", Map::new()).is_err());

    router.kill();
    router.short = ("unread", 1000);
    router.start();
    has_the_map(&router, &anna);
    let mut client = router.at().at_board(&anna, 3, node).unwrap();
    let before = router.peak_memory();
    client.call_each("flood", Map::new(), |_| false).unwrap();
    assert!(router.has_logged(&["gate relay", "the connection broke"]), "{}", router.log());
    let grown = router.peak_memory() - before;
    assert!(grown < 4 << 10, "{grown} KiB");
    router.at().at_board(&anna, 3, node).unwrap().call("status", Map::new()).unwrap();
}

#[test]
fn so_many_and_no_more() {
    let names = ["anna", "ben", "carl"];
    let keys = [key(), key(), key()];
    let all: Vec<(&str, &PrivateKey, &[&str])> =
        names.iter().zip(&keys).map(|(name, key)| (*name, key, &["own"][..])).collect();
    let board = Host::new(&all);
    let node = board.identity.node();
    let router = Host::router(&all, &[(3, node)], board.port);
    has_the_map(&router, &keys[0]);
    let at = router.at();
    let busy = |key| failure(at.handed_on(key, 3).map(|_| Value::Null)).code;
    let mut held = vec![];
    for key in &keys[..2] {
        for _ in 0..4 {
            held.push(at.at_board(key, 3, node).unwrap());
        }
        assert_eq!(busy(key), FailureCode::Busy);
    }
    assert_eq!(busy(&keys[2]), FailureCode::Busy);
    // The other connections continue, the router itself answers, and a closed connection makes
    // room.
    held[7].call("status", Map::new()).unwrap();
    at.ask(&keys[2], "status", json!({})).unwrap();
    held.remove(0);
    assert!((0..).find_map(|_| at.at_board(&keys[2], 3, node).ok()).is_some());
    held[0].call("status", Map::new()).unwrap();
}

#[test]
fn who_is_no_operator_any_more_is_cut_off() {
    let (anna, ben) = (key(), key());
    let all: [(&str, &PrivateKey, &[&str]); 2] =
        [("anna", &anna, &["own"]), ("ben", &ben, &["read"])];
    let board = Host::new(&all);
    let node = board.identity.node();
    let router = Host::router(&all, &[(3, node)], board.port);
    let config = Config::start(&router);
    has_the_map(&router, &anna);
    let mut annas = router.at().at_board(&anna, 3, node).unwrap();
    let mut bens = router.at().at_board(&ben, 3, node).unwrap();
    annas.call("status", Map::new()).unwrap();
    bens.call("status", Map::new()).unwrap();
    *config.0.lock().unwrap() = named(&all[..1]);
    router.ask("config-apply", json!({})).unwrap();
    assert!(matches!(bens.call("status", Map::new()), Err(CallError::Closed | CallError::Io(_))));
    assert!(router.has_logged(&["ben", "gate relay", "cut off: "]), "{}", router.log());
    annas.call("status", Map::new()).unwrap();
    assert!((0..).any(|_| { router.ask("show", json!({})).unwrap()["relayed"] == 1 }));
}
