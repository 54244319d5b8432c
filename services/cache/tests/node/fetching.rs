//! Objects that come from other nodes: once, from those that give them, and never something else.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use iroh::endpoint::Connection;
use iroh::protocol::{AcceptError, ProtocolHandler, Router};
use iroh_blobs::{ALPN, Hash};
use octet_cache::counters::Dealings;
use octet_cache::endpoint;
use octet_cache::limits::Limits;
use octet_node::control::PublicKey;
use octet_node::key::Key;

use crate::host::{LOOPBACK, Node, bytes, limits, path, peer, runtime, until};
use crate::request::get;

/// How many ask for one object at the same time.
const CROWD: usize = 20;

#[test]
fn once_however_many_ask() {
    let runtime = runtime();
    let [origin, node] = [(); 2].map(|()| runtime.block_on(Node::start(limits())));
    // This node is in the map as well, and does not ask itself.
    node.peers.send_replace(vec![node.as_peer(1), origin.as_peer(2)]);
    let all = bytes(3_000_000, 1);
    let hash = runtime.block_on(origin.add(&all)).hash;
    thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| assert!(get(node.http, &path(hash), &[]).body == all));
        }
    });
    assert_eq!((origin.counters.peers_served.get(), node.counters.fetched.get()), (1, 1));
    assert_eq!(node.counters.dealings(origin.as_peer(2).node).gave, 1);
    // To whom it was given is known, by the key of its service.
    let key = node.as_peer(1).key;
    let given = || origin.objects.policy().given_to(key.as_bytes());
    runtime.block_on(until("it is noted", || given().0 >= all.len() as u64));
    // The size was asked for before, with the last part.
    assert_eq!(given().1, 1);
    assert!(given().0 < all.len() as u64 + 20_000, "{given:?}", given = given());
    // And what nobody has is asked for, and not found.
    assert_eq!(get(node.http, &path(Hash::new(b"nothing")), &[]).code, 404);
    assert_eq!(node.counters.dealings(origin.as_peer(2).node).lacked, 1);
}

/// Answers every request with bytes that are not those of the object.
#[derive(Debug)]
struct Liar;

impl ProtocolHandler for Liar {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        let (mut to, mut from) = connection.accept_bi().await?;
        let _ = from.read_to_end(10_000).await;
        // The size, and then parents and leaves that have other hashes.
        let _ = to.write_all(&700_001u64.to_le_bytes()).await;
        let _ = to.write_all(&bytes(800_000, 66)).await;
        let _ = to.finish();
        connection.closed().await;
        Ok(())
    }
}

#[test]
fn not_from_who_is_silent_or_lies() {
    let runtime = runtime();
    // The silent one is left after this; all others are given their time.
    let limits = Limits { connect: Duration::from_secs(1), ..limits() };
    let [origin, node] = [(); 2].map(|()| runtime.block_on(Node::start(limits)));
    let silent = UdpSocket::bind(LOOPBACK).unwrap();
    let key = Key::generate().unwrap();
    let silent = peer(7, key.public(), vec![silent.local_addr().unwrap()]);
    let key = Key::generate().unwrap();
    let liar = runtime.block_on(endpoint::open(&key, &[LOOPBACK])).unwrap();
    let lies = peer(8, PublicKey::new(*liar.id().as_bytes()), liar.bound_sockets());
    let _liar = runtime.block_on(async { Router::builder(liar).accept(ALPN, Liar).spawn() });

    let all = bytes(700_001, 2);
    let hash = runtime.block_on(origin.add(&all)).hash;
    // They are asked in a turn that the hash says: whoever comes first, both are asked before the one that has it.
    let mut peers = vec![silent.clone(), lies.clone(), origin.as_peer(9)];
    let first = usize::from(hash.as_bytes()[0]) % peers.len();
    peers.rotate_right(first);
    node.peers.send_replace(vec![silent.clone(), lies.clone()]);
    assert_eq!(get(node.http, &path(hash), &[]).code, 504);
    node.peers.send_replace(peers);
    let answer = get(node.http, &path(hash), &[]);
    assert_eq!(answer.code, 200);
    assert!(answer.body == all);
    let dealt = |number| node.counters.dealings(PublicKey::new([number; 32]));
    assert_eq!(dealt(7), Dealings { silent: 2, ..Dealings::default() });
    assert_eq!(dealt(8), Dealings { wrong: 2, ..Dealings::default() });
    assert_eq!(dealt(9), Dealings { gave: 1, ..Dealings::default() });
}
