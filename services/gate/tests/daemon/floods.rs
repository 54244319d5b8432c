//! Floods, slow clients, and clients that do not read.

use std::io::Write;
use std::net::TcpStream;

use octet_as_pid_1::wait_until;
use octet_node::control::file::{ChunkBytes, MAX_CHUNK};
use octet_node::control::{ClientMessage, FilePiece, PieceBody, Request, encode};
use octet_node::key::PrivateKey;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Map, json};

use crate::host::Host;
use crate::operator::{errors, until_closed};

fn frame(message: &ClientMessage) -> Vec<u8> {
    let mut frame = vec![];
    encode(&serde_json::to_vec(message).unwrap(), &mut frame).unwrap();
    frame
}

fn request(id: u64, verb: &str) -> Vec<u8> {
    let request = Request { id, unit: None, verb: verb.into(), args: Map::new(), by: None };
    frame(&ClientMessage::Request(request))
}

/// A thousand connections of 250 addresses that send nothing, or an incomplete handshake: the
/// oldest of them are dropped, and the owner can still connect.
#[test]
fn a_thousand_half_open() {
    let anna = PrivateKey::generate().unwrap();
    let host = Host::new(&[("anna", &anna, &["own"])]);
    host.from(251).ask(&anna, "status", json!({})).unwrap();
    let before = host.peak_memory();
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let mut open: Vec<TcpStream> = vec![];
    for number in 0..1000u32 {
        let mut stream = host.from(1 + (number % 250) as u8).tcp();
        if number % 2 == 1 {
            stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
        }
        open.push(stream);
        if number % 100 == 99 {
            host.from(251).ask(&anna, "status", json!({})).unwrap();
        }
    }
    // All except the last 32 were closed.
    for stream in open.iter_mut().take(900) {
        until_closed(stream, b"");
    }
    host.from(251).ask(&anna, "status", json!({})).unwrap();
    let grown = host.peak_memory() - before;
    assert!(grown < 8 << 10, "{grown} KiB");
    assert_eq!(host.units.count("init status"), 12);
}

/// An address that connects too often is refused, which is logged once; other addresses are not
/// affected.
#[test]
fn who_tries_too_often_is_turned_away() {
    let (anna, stranger) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let host = Host::new(&[("anna", &anna, &["own"])]);
    // Operators may connect as often as they like.
    for _ in 0..40 {
        host.from(1).ask(&anna, "status", json!({})).unwrap();
    }
    let refused = (0..100).filter(|_| host.from(1).tls(&stranger).is_ok()).count();
    assert_eq!(refused, 20);
    assert!(host.from(1).tls(&anna).is_err());
    assert!(host.has_logged(&["127.0.0.1", "connects too often"]), "{}", host.log());
    assert_eq!(host.log().matches("connects too often").count(), 1);
    host.from(2).ask(&anna, "status", json!({})).unwrap();
}

#[test]
fn who_is_too_slow_is_cut_off() {
    let anna = PrivateKey::generate().unwrap();
    let mut host = Host::new(&[("anna", &anna, &["own"])]);
    host.at().ask(&anna, "status", json!({})).unwrap();
    host.kill();
    host.short = ("handshake", 300);
    host.start();
    // During the handshake.
    until_closed(&mut host.at().tcp(), b"\x16\x03\x01\x02\x00\x01");
    assert!(host.has_logged(&["has shown no key", "too long"]), "{}", host.log());
    host.kill();
    host.short = ("frame", 300);
    host.start();
    // Within a request; the complete request before it is answered.
    let (mut stream, _) = host.at().tls(&anna).unwrap();
    let half = [&request(1, "status")[..], b"OCT1\0\0\x01\0{\"id"].concat();
    let said = errors(&until_closed(&mut stream, &half));
    assert!(said.len() == 1 && said[0].contains("a frame timed out"), "{said:?}");
    assert!(host.has_logged(&["anna", "a frame timed out"]), "{}", host.log());
    wait_until("it is asked", || host.units.count("init status") == 2);
}

/// The client requests an endless answer, and does not read it.
#[test]
fn who_does_not_read_is_cut_off() {
    let anna = PrivateKey::generate().unwrap();
    let mut host = Host::new(&[("anna", &anna, &["own"])]);
    host.kill();
    host.short = ("unread", 1000);
    host.start();
    let before = host.peak_memory();
    let (mut stream, _) = host.at().tls(&anna).unwrap();
    stream.write_all(&request(1, "flood")).unwrap();
    // Other clients are served meanwhile.
    while !host.log().contains("does not read its answers") {
        host.from(2).ask(&anna, "status", json!({})).unwrap();
    }
    assert!(host.units.count("init flood") == 1 && host.units.count("init status") > 0);
    let grown = host.peak_memory() - before;
    assert!(grown < 8 << 10, "{grown} KiB");
}

/// Pieces of a file without a request are ignored.
#[test]
fn pieces_without_a_request_go_nowhere() {
    let anna = PrivateKey::generate().unwrap();
    let host = Host::new(&[("anna", &anna, &["own"])]);
    let (mut stream, _) = host.at().tls(&anna).unwrap();
    let chunk = ChunkBytes::new(0, vec![7; MAX_CHUNK]).unwrap();
    let piece = frame(&ClientMessage::Piece(FilePiece { id: 9, body: PieceBody::Chunk(chunk) }));
    for _ in 0..100 {
        stream.write_all(&piece).unwrap();
    }
    let mut client = octet_node::control::Client::new(stream);
    client.call("status", Map::new()).unwrap();
    assert_eq!(host.units.total(), 1);
}
