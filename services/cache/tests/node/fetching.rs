//! Objects are fetched from other nodes once, from those that have them, and wrong data is never
//! accepted.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use iroh::endpoint::Connection;
use iroh::protocol::{AcceptError, ProtocolHandler, Router};
use iroh_blobs::api::blobs::BlobStatus;
use iroh_blobs::{ALPN, Hash};
use octet_cache::counters::PeerOutcomes;
use octet_cache::endpoint;
use octet_cache::fetch::{Missing, PIECE};
use octet_cache::limits::CacheLimits;
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::host::{LOOPBACK, Node, bytes, limits, path, peer, runtime, until};
use crate::provider::{Provider, Way};
use crate::request::{TIMEOUT, get};

/// The number of concurrent requests for one object.
const CROWD: usize = 20;

/// The timeout for silent nodes in these tests; on a slow machine, other nodes answer within it.
const SILENCE: Duration = Duration::from_secs(5);

#[test]
fn once_however_many_ask() {
    let runtime = runtime();
    let [origin, node] = [(); 2].map(|()| runtime.block_on(Node::start(limits())));
    // The map lists this node as well; it does not ask itself.
    node.peers.send_replace(vec![node.as_peer(1), origin.as_peer(2)]);
    let all = bytes(3_000_000, 1);
    let hash = runtime.block_on(origin.add(&all)).hash;
    thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| assert!(get(node.http, &path(hash), &[]).body == all));
        }
    });
    // The last byte may be readable before the object is stored.
    runtime.block_on(until("it is kept", || node.counters.fetched.get() > 0));
    assert_eq!((origin.counters.peers_served.get(), node.counters.fetched.get()), (1, 1));
    assert_eq!(node.counters.outcomes(origin.as_peer(2).node).sent, 1);
    // The transfer is recorded under the key of the receiver's service.
    let key = node.as_peer(1).key;
    let given = || origin.objects.policy().sent_to(key.as_bytes());
    runtime.block_on(until("it is noted", || given().0 >= all.len() as u64));
    // The size was proved before, with the last chunk.
    assert_eq!(given().1, 1);
    assert!(given().0 < all.len() as u64 + 20_000, "{given:?}", given = given());
    // An object that no node has is requested, and not found.
    assert_eq!(get(node.http, &path(Hash::new(b"nothing")), &[]).code, 404);
    assert_eq!(node.counters.outcomes(origin.as_peer(2).node).missing, 1);
}

/// Answers every request with bytes that do not belong to the object.
#[derive(Debug)]
struct Liar;

impl ProtocolHandler for Liar {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        let (mut to, mut from) = connection.accept_bi().await?;
        let _ = from.read_to_end(10_000).await;
        // The size, and then parents and leaves with wrong hashes.
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
    // The silent node is skipped after this time; the others answer in time.
    let limits = CacheLimits { connect_timeout: SILENCE, ..limits() };
    let [origin, node] = [(); 2].map(|()| runtime.block_on(Node::start(limits)));
    let silent = UdpSocket::bind(LOOPBACK).unwrap();
    let key = PrivateKey::generate().unwrap();
    let silent = peer(7, key.public(), vec![silent.local_addr().unwrap()]);
    let key = PrivateKey::generate().unwrap();
    let liar = runtime.block_on(endpoint::open(&key, &[LOOPBACK])).unwrap();
    let lies = peer(8, PublicKey::new(*liar.id().as_bytes()), liar.bound_sockets());
    let _liar = runtime.block_on(async { Router::builder(liar).accept(ALPN, Liar).spawn() });

    let all = bytes(700_001, 2);
    let hash = runtime.block_on(origin.add(&all)).hash;
    // The hash determines the order in which nodes are asked: whichever is first, both bad nodes
    // are asked before the one that has the object.
    let mut peers = vec![silent.clone(), lies.clone(), origin.as_peer(9)];
    let first = usize::from(hash.as_bytes()[0]) % peers.len();
    peers.rotate_right(first);
    node.peers.send_replace(vec![silent.clone(), lies.clone()]);
    assert_eq!(get(node.http, &path(hash), &[]).code, 504);
    node.peers.send_replace(peers);
    let answer = get(node.http, &path(hash), &[]);
    assert_eq!(answer.code, 200);
    assert!(answer.body == all);
    runtime.block_on(until("it is kept", || node.counters.fetched.get() == 1));
    let dealt = |number| node.counters.outcomes(PublicKey::new([number; 32]));
    assert_eq!(dealt(7), PeerOutcomes { timeouts: 2, ..PeerOutcomes::default() });
    assert_eq!(dealt(8), PeerOutcomes { invalid: 2, ..PeerOutcomes::default() });
    assert_eq!(dealt(9), PeerOutcomes { sent: 1, ..PeerOutcomes::default() });
}

#[test]
fn from_several_at_once() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let all = bytes(5 * PIECE as usize + 17, 6);
    let (go, goes) = watch::channel(false);
    let start = |number| runtime.block_on(Provider::start(number, &all, Way::Once(goes.clone())));
    let started: Vec<_> = (1..=3).map(start).collect();
    node.peers.send_replace(started.iter().map(|it| it.1.clone()).collect());
    thread::scope(|scope| {
        let asks = scope.spawn(|| get(node.http, &path(Hash::new(&all)), &[]));
        // No node sends a piece before all of them were asked for one.
        for (provider, ..) in &started {
            runtime.block_on(until("asked for a piece", || provider.pieces() > 0));
        }
        go.send_replace(true);
        assert!(asks.join().unwrap().body == all);
    });
    runtime.block_on(until("it is kept", || node.counters.fetched.get() == 1));
    for (_, peer, _) in &started {
        // Another may have taken its last piece over.
        let outcomes = node.counters.outcomes(peer.node);
        assert_eq!(PeerOutcomes { sent: 0, ..outcomes }, PeerOutcomes::default());
    }
    // The simulation shows that no piece is requested twice without a reason.
    let pieces: usize = started.iter().map(|it| it.0.pieces()).sum();
    assert!((6..=6 + started.len()).contains(&pieces), "{pieces}");
}

#[test]
fn who_lies_or_falls_silent_is_left() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(CacheLimits { answer_timeout: SILENCE, ..limits() }));
    let all = bytes(6 * PIECE as usize + 17, 3);
    let hash = Hash::new(&all);
    let (both, happened) = watch::channel(false);
    let [flips, silent, honest] = [Way::Flips, Way::FallsSilent, Way::Once(happened)];
    let start = |number, way| runtime.block_on(Provider::start(number, &all, way));
    let (flips, silent, honest) = (start(7, flips), start(8, silent), start(9, honest));
    node.peers.send_replace(vec![flips.1, silent.1, honest.1.clone()]);
    // The honest node sends nothing before the two others have done wrong: it would take their pieces over.
    let counters = Arc::clone(&node.counters);
    runtime.spawn(async move {
        let has_lied = || counters.outcomes(PublicKey::new([7; 32])).invalid > 0;
        until("both did wrong", || has_lied() && silent.0.pieces() > 0).await;
        both.send_replace(true);
        std::future::pending::<()>().await;
    });
    let mut answers = 0;
    loop {
        let answer = get(node.http, &path(hash), &[]);
        answers += 1;
        if answer.code == 200 {
            // All received bytes are correct.
            assert!(all.starts_with(&answer.body), "after {} bytes", answer.body.len());
            if answer.body.len() == all.len() {
                break;
            }
        } else {
            assert_eq!(answer.code, 504, "{}", answer.text());
        }
        // On a slow machine the honest node can be late as well, but then one fetch is enough.
        let honest = node.counters.outcomes(PublicKey::new([9; 32]));
        assert!(honest.timeouts >= answers, "after {answers}: {honest:?}");
        assert!(answers < 100, "late: it never comes");
    }
    runtime.block_on(until("it is kept", || node.counters.fetched.get() == 1));
    let dealt = |number| node.counters.outcomes(PublicKey::new([number; 32]));
    assert!(dealt(7).invalid > 0 && dealt(7).timeouts == 0, "{:?}", dealt(7));
    // Another may have taken its pieces over before it was silent for too long.
    assert!(dealt(8).sent == 0 && dealt(8).invalid == 0, "{:?}", dealt(8));
    assert!(dealt(9).sent > 0 && dealt(9).invalid == 0, "{:?}", dealt(9));
    // The stored data is correct for other nodes too, with all hashes that prove it.
    let other = runtime.block_on(Node::start(limits()));
    other.peers.send_replace(vec![node.as_peer(1)]);
    assert!(get(other.http, &path(hash), &[]).body == all);
}

/// Requests `hash`, and reads until a byte of the body has arrived.
fn until_first_byte(node: &Node, hash: Hash) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(node.http).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let head =
        format!("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path(hash));
    stream.write_all(head.as_bytes()).unwrap();
    let mut read = vec![];
    let body = loop {
        let mut part = [0; 1000];
        let count = stream.read(&mut part).expect("late: no byte of the body");
        assert!(count > 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&part[..count]);
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n")
            && read.len() > end + 4
        {
            break read.split_off(end + 4);
        }
    };
    let head = String::from_utf8(read).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    (stream, body)
}

#[test]
fn read_by_many_while_it_comes_once() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let all = bytes(2 * PIECE as usize + 400_000, 4);
    let hash = Hash::new(&all);
    let (go, goes) = watch::channel(false);
    let (origin, peer, _router) = runtime.block_on(Provider::start(2, &all, Way::EndOnce(goes)));
    node.peers.send_replace(vec![peer]);
    let (has_a_byte, have) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..CROWD {
            let (node, all, has_a_byte) = (&node, &all, has_a_byte.clone());
            scope.spawn(move || {
                let (mut stream, mut body) = until_first_byte(node, hash);
                has_a_byte.send(()).unwrap();
                stream.read_to_end(&mut body).expect("late: the rest");
                assert!(body == *all);
            });
        }
        for _ in 0..CROWD {
            have.recv_timeout(TIMEOUT).expect("late: somebody has no byte");
        }
        // The node itself does not have the end yet.
        assert_eq!(node.counters.fetched.get(), 0);
        go.send_replace(true);
    });
    // One request for the size, and one for each piece.
    runtime.block_on(until("it is kept", || node.counters.fetched.get() > 0));
    assert_eq!((origin.pieces(), origin.asked.borrow().len()), (3, 4));
    assert_eq!(node.counters.fetched.get(), 1);
}

#[test]
fn what_does_not_come_is_cut_short_and_gone_on_with() {
    let runtime = runtime();
    let [origin, node] = [limits(), CacheLimits { answer_timeout: SILENCE, ..limits() }]
        .map(|limits| runtime.block_on(Node::start(limits)));
    let all = bytes(2 * PIECE as usize, 5);
    let hash = runtime.block_on(origin.add(&all)).hash;
    let (_provider, silent, _router) = runtime.block_on(Provider::start(2, &all, Way::FallsSilent));
    node.peers.send_replace(vec![silent]);
    let answer = get(node.http, &path(hash), &[]);
    assert_eq!((answer.code, answer.header("content-length")), (200, &*all.len().to_string()));
    let came = answer.body.len();
    assert!(came > 0 && came < all.len() && all.starts_with(&answer.body), "{came}");
    // After a kill, only the rest is fetched from another node, with the proof of the size.
    let killed = runtime.block_on(node.killed());
    let node = runtime.block_on(Node::start_in(killed, limits()));
    let kept = runtime.block_on(node.objects.store().blobs().observe(hash).into_future());
    // A part of the piece after the one that was read has arrived, too.
    let kept = kept.unwrap().total_bytes();
    assert!(kept >= came as u64, "{kept} of {came}");
    node.peers.send_replace(vec![origin.as_peer(3)]);
    let answer = get(node.http, &path(hash), &[]);
    assert!(answer.body == all, "{} {}", answer.code, answer.body.len());
    let key = node.as_peer(1).key;
    let given = || origin.objects.policy().sent_to(key.as_bytes()).0;
    let lacked = all.len() as u64 - kept;
    runtime.block_on(until("it is noted", || given() >= lacked));
    assert!(given() < lacked + 100_000, "{} of {lacked}", given());
}

/// A running fetch does not restore an object that an operator removes, whoever has started it.
#[test]
fn removed_while_it_comes() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let here = node.gateway.state.as_ref().unwrap();
    let all = bytes(2 * PIECE as usize + 400_000, 7);
    let hash = Hash::new(&all);
    let (go, goes) = watch::channel(false);
    let (_provider, peer, _router) = runtime.block_on(Provider::start(2, &all, Way::EndOnce(goes)));
    node.peers.send_replace(vec![peer]);
    let remove = || {
        let removed = runtime.block_on(async { timeout(TIMEOUT, here.fetcher.remove(hash)).await });
        removed.expect("late: it is not removed").unwrap()
    };
    let is_gone = || {
        assert_eq!(get(node.http, &path(hash), &[]).code, 410);
        // The same holds for a request that started earlier, and asks other nodes only now.
        let late = here.fetcher.begin(hash, "127.0.0.1".parse().unwrap());
        let late = runtime.block_on(async { late.now_or_never() });
        assert!(matches!(late, Some(Err(Missing::Removed))), "{late:?}");
        let status = runtime.block_on(node.objects.store().blobs().status(hash)).unwrap();
        assert!(matches!(status, BlobStatus::NotFound), "{status:?}");
        assert_eq!(node.objects.policy().usage().used, 0);
    };
    let (mut stream, mut body) = until_first_byte(&node, hash);
    assert!(!remove());
    // The reader notices that the body is incomplete.
    let _ = stream.read_to_end(&mut body).expect("late: it does not end");
    assert!(body.len() < all.len() && all.starts_with(&body), "{}", body.len());
    is_gone();

    // An operator may fetch it again; then it is removed once more.
    let (again, counters) = (here.clone(), node.counters.clone());
    let fetching = runtime.spawn(async move { again.find(hash, &counters).await });
    runtime.block_on(until("it comes", || node.objects.policy().usage().used > 0));
    assert!(!remove());
    let ended = runtime.block_on(fetching).unwrap();
    assert!(matches!(ended, Err(Missing::Removed)), "{ended:?}");
    is_gone();

    // Now the fetch may end.
    go.send_replace(true);
    assert_eq!(runtime.block_on(here.find(hash, &node.counters)).unwrap().size, all.len() as u64);
    assert!(get(node.http, &path(hash), &[]).body == all);
    assert!(remove());
    is_gone();
}

/// Silent nodes delay clients, but no operator.
#[test]
fn some_fetches_are_for_operators() {
    let runtime = runtime();
    let few = CacheLimits { fetches: 4, client_fetches: 2, fetches_per_client: 1, ..limits() };
    let node = runtime.block_on(Node::start(few));
    let silent = UdpSocket::bind(LOOPBACK).unwrap();
    let key = PrivateKey::generate().unwrap().public();
    node.peers.send_replace(vec![peer(7, key, vec![silent.local_addr().unwrap()])]);
    let fetcher = &node.gateway.state.as_ref().unwrap().fetcher;
    for (client, is_busy) in [("127.0.0.1", false), ("127.0.0.2", false), ("127.0.0.3", true)] {
        let fetching = fetcher.begin(Hash::new(client), client.parse().unwrap());
        let begun = runtime.block_on(async { fetching.now_or_never() });
        assert_eq!(matches!(begun, Some(Err(Missing::Busy))), is_busy, "{client}: {begun:?}");
    }
    for (what, is_busy) in [("one", false), ("two", false), ("three", true)] {
        let fetching = fetcher.fetch(Hash::new(what));
        let begun = runtime.block_on(async { fetching.now_or_never() });
        assert_eq!(matches!(begun, Some(Err(Missing::Busy))), is_busy, "{what}: {begun:?}");
    }
}

/// Silent nodes delay one client, but no other.
#[test]
fn few_fetches_for_one_client() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(CacheLimits { fetches_per_client: 2, ..limits() }));
    let silent = UdpSocket::bind(LOOPBACK).unwrap();
    let key = PrivateKey::generate().unwrap().public();
    node.peers.send_replace(vec![peer(7, key, vec![silent.local_addr().unwrap()])]);
    let fetcher = &node.gateway.state.as_ref().unwrap().fetcher;
    // Sends the request without waiting for the response.
    let begin = |client: &str, what: &str| {
        let fetching = fetcher.begin(Hash::new(what), client.parse().unwrap());
        runtime.block_on(async { fetching.now_or_never() })
    };
    for what in ["one", "two", "one"] {
        assert!(begin("127.0.0.1", what).is_none(), "{what}: it is fetched");
    }
    let answer = get(node.http, &path(Hash::new("three")), &[]);
    assert_eq!((answer.code, answer.header("retry-after")), (503, "5"));
    assert!(answer.text().contains("fetched for you"), "{}", answer.text());
    // A running fetch can be joined by any client.
    assert!(begin("127.0.0.2", "one").is_none());
    // Other clients get the remaining permits.
    for client in ["127.0.0.2", "fd00::1", "fd00::2"] {
        assert!(begin(client, client).is_none(), "{client}: it is fetched");
    }
    assert!(matches!(begin("fd00::3", "four"), Some(Err(Missing::BusyForOne))));
}
