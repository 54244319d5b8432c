//! Boards behind a router, both played by the test: the router can claim anything about the board.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use octet_control::{HEADER, Reply, ReplyBody, encode};
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::hello::Hello;
use octet_node::record::Seat;
use octet_node::tls::{self, AlpnProtocol};
use proptest::prelude::*;
use rustls::ServerConnection;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::remote;
use crate::target::{BoxAddress, GateAddress};

pub fn new() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate().unwrap())
}

fn say(stream: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    let mut frame = vec![];
    encode(&serde_json::to_vec(value)?, &mut frame).unwrap();
    stream.write_all(&frame)?;
    stream.flush()
}

/// Sends a hello of `node`, and answers one request.
fn greet_and_answer<S: Read + Write>(
    stream: S,
    node: &PrivateKey,
    epoch: u64,
    answer: Value,
) -> io::Result<StreamOwned<ServerConnection, S>> {
    let key = new();
    let config = tls::server(&key, AlpnProtocol::Control).unwrap();
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let unit = "gate".parse().unwrap();
    let statement = KeyStatement { node: node.public(), unit, key: key.public(), epoch, issued: 1 };
    say(&mut stream, &Hello::new(Certificate::sign(statement, node).unwrap()))?;
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer)?;
    let request: Value = serde_json::from_slice(&buffer[HEADER.min(count)..count])?;
    let reply = Reply { id: request["id"].as_u64().unwrap(), body: ReplyBody::End(answer) };
    say(&mut stream, &reply)?;
    Ok(stream)
}

/// A router that relays to `board`, and sends `entry` as the board's entry in the map.
pub fn router(
    node: &Arc<PrivateKey>,
    board: &Arc<PrivateKey>,
    epoch: u64,
    entry: Value,
) -> GateAddress {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let (node, board) = (Arc::clone(node), Arc::clone(board));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that rejects the key disconnects.
            let _ = greet_and_answer(stream, &node, 1, entry.clone())
                .and_then(|stream| greet_and_answer(stream, &board, epoch, json!("board")));
        }
    });
    address
}

pub struct Operator {
    pub key: Arc<PrivateKey>,
    pub folder: TempDir,
}

impl Operator {
    pub fn new() -> Self {
        Self { key: new(), folder: TempDir::new().unwrap() }
    }

    pub fn boxes(&self) -> Boxes {
        Boxes::open(&self.folder.path().join("boxes.toml")).unwrap()
    }

    /// Calls board 3, named with the key `meant` if there is one.
    pub fn ask(
        &self,
        node: &PrivateKey,
        at: &GateAddress,
        meant: Option<&Arc<PrivateKey>>,
    ) -> Result<Value, RemoteError> {
        let target = BoxAddress { key: Some(node.public()), address: at.clone() };
        let mut boxes = self.boxes();
        let (client, of) = remote::connect(&target, &self.key, &mut boxes)?;
        let board = BoardArgument { number: 3, key: meant.map(|key| key.public()) };
        let (mut client, reached) = connect(client, of, board, &self.key, &mut boxes)?;
        assert_eq!(boxes.board(of, 3), Some(reached));
        Ok(client.call("status", Map::new())?)
    }

    fn problem(
        &self,
        node: &PrivateKey,
        at: &GateAddress,
        meant: Option<&Arc<PrivateKey>>,
    ) -> String {
        self.ask(node, at, meant).unwrap_err().to_string()
    }
}

fn record(owner: &PrivateKey, coordinator: &PrivateKey, number: u8, node: &PrivateKey) -> Value {
    let (coordinator, node) = (coordinator.public(), node.public());
    let seat = Seat { owner: owner.public(), coordinator, number, node };
    json!({ "record": SeatRecord::sign(seat, owner).unwrap() })
}

#[test]
fn a_board_is_the_one_that_it_was() {
    let (node, board, other, operator) = (new(), new(), new(), Operator::new());
    let at = router(&node, &board, 2, json!({ "node": board.public() }));
    // The coordinator's claim does not suffice, and there is no user to ask.
    assert!(operator.problem(&node, &at, None).contains(&board.public().to_string()));
    assert_eq!(operator.ask(&node, &at, Some(&board)).unwrap(), "board");
    assert_eq!(operator.ask(&node, &at, None).unwrap(), "board");
    // Rejected: another board at the address, even if the coordinator claims it, and an old key of
    // the same board.
    let swapped = router(&node, &other, 2, json!({ "node": other.public() }));
    assert!(operator.problem(&node, &swapped, None).contains("not did:key"));
    assert!(operator.problem(&node, &at, Some(&other)).contains("not did:key"));
    let old = router(&node, &board, 1, json!({}));
    assert!(operator.problem(&node, &old, None).contains("number 2 was seen"));
    // Rejected: a revoked board.
    operator.boxes().revoke(board.public()).unwrap();
    assert!(operator.problem(&node, &at, None).contains("was revoked"));
}

#[test]
fn a_board_is_the_one_that_an_owner_says() {
    let (node, board, owner) = (new(), new(), new());
    let fresh = |entry: &Value| {
        let operator = Operator::new();
        (router(&node, &board, 1, entry.clone()), operator)
    };
    // A record by the operator's own key.
    let operator = Operator::new();
    let at = router(&node, &board, 1, record(&operator.key, &node, 3, &board));
    assert_eq!(operator.ask(&node, &at, None).unwrap(), "board");
    // A record by another key is accepted once `boxes.toml` lists that key as an owner.
    let by_owner = record(&owner, &node, 3, &board);
    let (at, operator) = fresh(&by_owner);
    assert!(operator.problem(&node, &at, None).contains("is not known"));
    let owners = format!("[owners]\n\"{}\" = [\"{}\"]\n", node.public(), owner.public());
    let file = operator.folder.path().join("boxes.toml");
    std::fs::write(&file, &owners).unwrap();
    assert_eq!(operator.ask(&node, &at, None).unwrap(), "board");
    // Rejected: a record for another box or number, and another board than the record's.
    let elsewhere = [record(&owner, &owner, 3, &board), record(&owner, &node, 4, &board)];
    for entry in elsewhere {
        let (at, operator) = fresh(&entry);
        std::fs::write(operator.folder.path().join("boxes.toml"), &owners).unwrap();
        assert!(operator.problem(&node, &at, None).contains("is not known"));
    }
    let at = router(&node, &new(), 1, by_owner);
    assert!(operator.problem(&node, &at, None).contains("not did:key"));
}

#[test]
fn as_people_write_it() {
    let key = new().public();
    assert_eq!("3".parse(), Ok(BoardArgument { number: 3, key: None }));
    assert_eq!(format!("12={key}").parse(), Ok(BoardArgument { number: 12, key: Some(key) }));
    for bad in ["", "0", "03", "+3", "256", "3=", "=", "3=x", "three"] {
        assert!(bad.parse::<BoardArgument>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,30}", entry in "[\\[\\]{}\":,a-z0-9]{0,60}") {
        let _ = text.parse::<BoardArgument>();
        if let Ok(entry) = serde_json::from_str::<Value>(&entry) {
            let of = PublicKey::new([1; 32]);
            prop_assert_eq!(verify_record(&entry, of, 3, &[of]), None);
        }
    }
}
