//! Objects are taken from nodes of other boxes, which prove who they are; both ends count the same
//! bytes, and a limit ends what is given.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use iroh::endpoint::Connection;
use iroh::protocol::{AcceptError, ProtocolHandler, Router};
use iroh_blobs::Hash;
use octet_cache::counters::PeerOutcomes;
use octet_cache::endpoint;
use octet_cache::fetch::{Missing, PIECE};
use octet_cache::limits::CacheLimits;
use octet_cache::neighbours::{CACHE_ALPN, FREE, NeighbourNode, Neighbours, UNKNOWN_LIMIT};
use octet_node::Peer;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{CallError, Client, FailureCode, PublicKey};
use octet_node::key::PrivateKey;
use octet_node::sub_key::Certified;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::host::{LOOPBACK, Node, bytes, certified, limits, path, runtime, until};
use crate::request::get;
use crate::verbs::{args, connect};

/// The largest part of an answer: content is counted and limited in such parts.
const LEAF: u64 = 16 << 10;

/// A neighbour that serves no more is asked again soon.
fn impatient() -> CacheLimits {
    CacheLimits { limit_pause: Duration::from_millis(50), ..limits() }
}

/// A node that gives, and one that takes. Each is the other's neighbour.
fn pair(runtime: &Runtime) -> (Node, Node) {
    let [giver, taker] = [(); 2].map(|()| runtime.block_on(Node::start(impatient())));
    giver.neighbours.set(vec![taker.as_neighbour("lake")], true);
    taker.neighbours.set(vec![giver.as_neighbour("hill")], true);
    (giver, taker)
}

/// What was taken, once both ends have counted the same.
fn counted(runtime: &Runtime, giver: &Node, taker: &Node) -> u64 {
    let served = || giver.neighbours.traffic.of(&taker.node).served;
    let bought = || taker.neighbours.traffic.of(&giver.node).bought;
    runtime.block_on(until("both ends count the same", || served() == bought()));
    bought()
}

fn fetch(runtime: &Runtime, node: &Node, hash: Hash) -> Result<(), Missing> {
    runtime.block_on(node.gateway.state.as_ref().unwrap().fetcher.fetch(hash))
}

#[test]
fn found_by_its_certificate_and_asked_after_boards() {
    let runtime = runtime();
    let (giver, taker) = pair(&runtime);
    let all = bytes(3 * PIECE as usize + 17, 1);
    let hash = runtime.block_on(giver.add(&all)).hash;
    assert!(get(taker.http, &path(hash), &[]).body == all);
    runtime.block_on(until("it is kept", || taker.counters.fetched.get() == 1));
    // The size is proved by the last 17 bytes.
    assert_eq!(counted(&runtime, &giver, &taker), all.len() as u64 + 17);
    assert_eq!(giver.neighbours.traffic.of(&taker.node).bought, 0);
    let sent = PeerOutcomes { sent: 1, ..PeerOutcomes::default() };
    assert_eq!(taker.counters.outcomes(giver.node), sent);

    // A board that has the object gives all of it; one that lacks it is asked first.
    let board = runtime.block_on(Node::start(limits()));
    taker.peers.send_replace(vec![board.as_peer(2)]);
    let both = bytes(3 * PIECE as usize, 2);
    let one = bytes(100_000, 3);
    for node in [&giver, &board] {
        runtime.block_on(node.add(&both));
    }
    runtime.block_on(giver.add(&one));
    assert!(get(taker.http, &path(Hash::new(&both)), &[]).body == both);
    assert_eq!(counted(&runtime, &giver, &taker), all.len() as u64 + 17);
    assert!(get(taker.http, &path(Hash::new(&one)), &[]).body == one);
    let last = one.len() as u64 % 1024;
    assert_eq!(counted(&runtime, &giver, &taker), (all.len() + one.len()) as u64 + 17 + last);
    assert_eq!(taker.counters.outcomes(PublicKey::new([2; 32])).missing, 1);
    // All of this was over one connection.
    assert_eq!(giver.counters.peers_served.get(), 1);
    // What no node has is lacked by the neighbour, too.
    assert!(matches!(fetch(&runtime, &taker, Hash::new("none")), Err(Missing::Nowhere)));
    assert_eq!(taker.counters.outcomes(giver.node).missing, 1);
    // Without a policy, a neighbour is asked for nothing.
    taker.neighbours.set(vec![giver.as_neighbour("hill")], false);
    let two = runtime.block_on(giver.add(&bytes(100_000, 8))).hash;
    assert!(matches!(fetch(&runtime, &taker, two), Err(Missing::Nowhere)));
    taker.neighbours.set(vec![giver.as_neighbour("hill")], true);
    fetch(&runtime, &taker, two).unwrap();
}

#[test]
fn a_limit_ends_it_and_a_higher_one_lets_it_go_on() {
    let runtime = runtime();
    let (giver, taker) = pair(&runtime);
    let all = bytes(4 * PIECE as usize + 17, 4);
    let hash = runtime.block_on(giver.add(&all)).hash;
    let mut before = 0;
    for limit in [PIECE + 5000, 3 * PIECE + 5000] {
        giver.neighbours.traffic.set_limit(taker.node, Some(limit));
        let fetched = fetch(&runtime, &taker, hash);
        assert!(matches!(fetched, Err(Missing::Limited(1))), "{fetched:?}");
        let counted = counted(&runtime, &giver, &taker);
        assert!(counted <= limit && limit < counted + LEAF, "{counted} of {limit}");
        assert!(counted > before);
        before = counted;
    }
    // It gave what it was allowed to, and neither lies nor is silent.
    let outcomes = PeerOutcomes { sent: 0, ..taker.counters.outcomes(giver.node) };
    assert_eq!(outcomes, PeerOutcomes::default());
    giver.neighbours.traffic.set_limit(taker.node, None);
    fetch(&runtime, &taker, hash).unwrap();
    assert!(get(taker.http, &path(hash), &[]).body == all);
    // Nothing but the proof of the size has come more than once.
    let sum = counted(&runtime, &giver, &taker);
    assert!((all.len() as u64..all.len() as u64 + 50 * 17).contains(&sum), "{sum}");
}

/// What is under way when a fetch ends has been counted by the giver, and is by the taker.
#[test]
fn a_fetch_that_ends_is_counted_to_its_end() {
    let runtime = runtime();
    let (giver, taker) = pair(&runtime);
    let hash = runtime.block_on(giver.add(&bytes(16 * PIECE as usize, 9))).hash;
    // It does not come to its end before it is removed.
    giver.neighbours.traffic.set_limit(taker.node, Some(12 * PIECE));
    let bought = || taker.neighbours.traffic.of(&giver.node).bought;
    thread::scope(|scope| {
        let asks = scope.spawn(|| fetch(&runtime, &taker, hash));
        runtime.block_on(until("a part has come", || bought() > PIECE));
        let fetcher = &taker.gateway.state.as_ref().unwrap().fetcher;
        runtime.block_on(fetcher.remove(hash)).unwrap();
        assert!(asks.join().unwrap().is_err());
    });
    assert!(counted(&runtime, &giver, &taker) > PIECE);
}

/// With accounts, a node that is no neighbour and none of the box gets a little.
#[test]
fn all_others_share_an_allowance() {
    let runtime = runtime();
    let [giver, taker] = [(); 2].map(|()| runtime.block_on(Node::start(impatient())));
    taker.peers.send_replace(vec![giver.as_peer(1)]);
    let [free, accounted] = [5, 6].map(|seed| bytes(2 * PIECE as usize, seed));
    let hashes = [&free, &accounted].map(|it| runtime.block_on(giver.add(it)).hash);
    fetch(&runtime, &taker, hashes[0]).unwrap();
    giver.neighbours.traffic.set_accounts(true);
    assert!(fetch(&runtime, &taker, hashes[1]).is_err());
    let key = taker.as_peer(1).key;
    let given = || giver.objects.policy().sent_to(key.as_bytes()).0;
    let limit = free.len() as u64 + 1024 + FREE;
    runtime.block_on(until("it is noted", || given() + LEAF > limit));
    assert!(given() <= limit, "{} of {limit}", given());
    // A node of the box gets all of it.
    giver.peers.send_replace(vec![taker.as_peer(2)]);
    fetch(&runtime, &taker, hashes[1]).unwrap();
}

fn statement(node: &PrivateKey, unit: &str, key: PublicKey, epoch: u64) -> Certificate {
    let unit = unit.parse().unwrap();
    let statement = KeyStatement { node: node.public(), unit, key, epoch, issued: 1 };
    Certificate::sign(statement, node).unwrap()
}

/// Both ends refuse whoever does not prove to be the `cache` of the other's node.
#[test]
fn only_the_newest_certificate_of_its_cache() {
    let runtime = runtime();
    let giver = runtime.block_on(Node::start(limits()));
    let of_giver = giver.certified.borrow().clone().unwrap();
    let [node, key, stranger, other] = [(); 4].map(|()| PrivateKey::generate().unwrap());
    let taker = NeighbourNode { name: "lake".to_owned(), node: node.public(), address: LOOPBACK };
    giver.neighbours.set(vec![taker], true);
    let of_taker = certified(key, &node, 5);
    let to = giver.as_neighbour("hill");
    // Connects with a certificate, by a node that has seen none before.
    let connect = |shown: &Certified| {
        let taker = Neighbours::new(watch::channel(Some(shown.clone())).1).unwrap();
        runtime.block_on(taker.connect(&to)).is_ok()
    };
    let with = |own: &Certified, certificate| Certified { certificate, ..own.clone() };
    let wrong = |own: &Certified, node: &PrivateKey, epoch: u64| {
        let key = own.key.public();
        [
            with(own, statement(&stranger, "cache", key, 9)),
            with(own, statement(node, "gate", key, 9)),
            with(own, statement(node, "cache", other.public(), epoch + 1)),
            with(own, statement(node, "cache", key, epoch - 1)),
        ]
    };
    assert!(connect(&of_taker));
    for (at, refused) in wrong(&of_taker, &node, 5).iter().enumerate() {
        assert!(!connect(refused), "{at}");
    }
    assert_eq!(giver.counters.peers_refused.get(), 4);
    assert!(connect(&of_taker));

    // The other way round: a taker that has seen the newest one.
    let owner = PrivateKey::from_seed(*giver.owner.seed()).unwrap();
    let shown = with(&of_giver, statement(&owner, "cache", of_giver.key.public(), 7));
    let newer = with(&of_taker, statement(&node, "cache", of_taker.key.public(), 6));
    for (at, refused) in wrong(&of_giver, &owner, 7).into_iter().enumerate() {
        giver.certified.send_replace(Some(shown.clone()));
        let taker = Neighbours::new(watch::channel(Some(newer.clone())).1).unwrap();
        assert!(runtime.block_on(taker.connect(&to)).is_ok(), "{at}");
        // It has to connect again.
        taker.set(vec![], true);
        giver.certified.send_replace(Some(refused));
        assert!(runtime.block_on(taker.connect(&to)).is_err(), "{at}");
    }
    giver.certified.send_replace(Some(shown));
    assert!(connect(&newer));
}

#[test]
fn another_gives_what_a_killed_one_has_not_given() {
    let runtime = runtime();
    let (killed, taker) = pair(&runtime);
    let other = runtime.block_on(Node::start(impatient()));
    other.neighbours.set(vec![taker.as_neighbour("lake")], true);
    taker.neighbours.set(vec![killed.as_neighbour("hill"), other.as_neighbour("wood")], true);
    let all = bytes(4 * PIECE as usize + 17, 7);
    let hash = runtime.block_on(killed.add(&all)).hash;
    runtime.block_on(other.add(&all));
    // One gives a part, the other nothing yet.
    let limit = PIECE + 5000;
    killed.neighbours.traffic.set_limit(taker.node, Some(limit));
    other.neighbours.traffic.set_limit(taker.node, Some(0));
    let has_come = || taker.neighbours.traffic.of(&killed.node).bought;
    thread::scope(|scope| {
        let asks = scope.spawn(|| while fetch(&runtime, &taker, hash).is_err() {});
        runtime.block_on(until("a part has come", || has_come() + LEAF > limit));
        runtime.block_on(killed.endpoint.close());
        other.neighbours.traffic.set_limit(taker.node, None);
        asks.join().unwrap();
    });
    assert!(get(taker.http, &path(hash), &[]).body == all);
    let from_killed = has_come();
    let from_other = counted(&runtime, &other, &taker);
    let sum = from_killed + from_other;
    assert!(from_killed <= limit, "{from_killed}");
    // What had come of a request when the node was killed may not have been stored yet.
    assert!((all.len() as u64..all.len() as u64 + 20 * LEAF).contains(&sum), "{sum}");
}

/// A neighbour with the right certificate that sends wrong data.
#[derive(Debug, Clone)]
struct LyingNeighbour {
    certificate: Vec<u8>,
    asked: Arc<AtomicUsize>,
}

impl ProtocolHandler for LyingNeighbour {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        let mut answer = self.certificate.clone();
        while let Ok((mut to, mut from)) = connection.accept_bi().await {
            let _ = from.read_to_end(10_000).await;
            // The asker can go on as soon as it has the answer.
            self.asked.fetch_add(1, Ordering::Relaxed);
            let _ = to.write_all(&answer).await;
            let _ = to.finish();
            // The size, and then parents and leaves with wrong hashes.
            answer = [&700_001u64.to_le_bytes()[..], &bytes(800_000, 66)].concat();
        }
        Ok(())
    }
}

#[test]
fn a_liar_is_not_asked_again() {
    let runtime = runtime();
    let taker = runtime.block_on(Node::start(limits()));
    let node = PrivateKey::generate().unwrap();
    let key = PrivateKey::generate().unwrap();
    let endpoint = runtime.block_on(endpoint::open(&key, &[LOOPBACK])).unwrap();
    let address = endpoint.bound_sockets()[0];
    let certificate = certified(key, &node, 1).certificate.to_bytes();
    let liar = LyingNeighbour { certificate, asked: Arc::default() };
    let asked = || liar.asked.load(Ordering::Relaxed);
    let accepts = liar.clone();
    let _router =
        runtime.block_on(async { Router::builder(endpoint).accept(CACHE_ALPN, accepts).spawn() });
    let liar_node = NeighbourNode { name: "hill".to_owned(), node: node.public(), address };
    taker.neighbours.set(vec![liar_node], true);
    let fetched = fetch(&runtime, &taker, Hash::new("one"));
    assert!(matches!(fetched, Err(Missing::Nowhere)), "{fetched:?}");
    let wrong = PeerOutcomes { invalid: 1, ..PeerOutcomes::default() };
    assert_eq!(taker.counters.outcomes(node.public()), wrong);
    assert_eq!(taker.neighbours.traffic.of(&node.public()).bought, 0);
    assert_eq!(asked(), 2, "for its certificate, and for the object");
    let fetched = fetch(&runtime, &taker, Hash::new("two"));
    assert!(matches!(fetched, Err(Missing::Silent(1))), "{fetched:?}");
    assert_eq!(asked(), 2);
}

/// The unit reads its neighbours from `config`, and `accounts` limits them by verbs.
#[test]
fn limited_by_verbs() {
    let folder = TempDir::new().unwrap();
    let [node, other] = [(); 2].map(|()| PrivateKey::generate().unwrap());
    let descriptor = |node: &PrivateKey| String::from(statement(node, "forward", node.public(), 1));
    let lines = json!([
        { "name": "hill", "descriptor": descriptor(&node), "board": 2 },
        { "name": "lake", "descriptor": descriptor(&other), "board": 3 },
    ]);
    let sections = json!({
        "cache": {}, "appliance": { "name": "octet" }, "origin": [], "keep": [], "cluster": { "boards": 3 }, "policy": [], "neighbour": lines, "accounts": {},
    });
    answer(&folder, "config", "sections", sections);
    answer(&folder, "init", "boot", json!({ "board": null }));
    crate::verbs::start_at(&folder, Some(folder.path().join("state")));
    let mut client = connect(&folder.path().join("cache.sock"));
    client.call("config-apply", args(json!({}))).unwrap();
    let rows = |client: &mut Client<_>| client.call("traffic", args(json!({}))).unwrap();
    // A board without a number has no lines, and gets them with it.
    assert_eq!(rows(&mut client), json!([]));
    tell_number(&folder, 2);
    let runtime = runtime();
    runtime.block_on(until("it has a line", || rows(&mut client) != json!([])));
    let before = rows(&mut client);
    let epoch = before[0]["epoch"].as_str().unwrap().to_owned();
    assert_eq!(epoch.len(), 32);
    // With `[accounts]` it gets this much before it has a limit.
    let row = |limit: Value| {
        json!([{
            "neighbour": "hill", "node": node.public(), "bought": 0, "served": 0, "limit": limit, "epoch": epoch,
        }])
    };
    assert_eq!(before, row(json!(UNKNOWN_LIMIT)));
    let mut limit = |node: PublicKey, served: Value| {
        let mut given = args(json!({ "node": node }));
        if !served.is_null() {
            given.insert("served".to_owned(), served);
        }
        client.call("account-limit", given).map(|_| rows(&mut client))
    };
    assert_eq!(limit(node.public(), json!(5)).unwrap(), row(json!(5)));
    assert_eq!(limit(node.public(), Value::Null).unwrap(), row(Value::Null));
    // The neighbour of another board is none of this one.
    let refused = limit(other.public(), json!(5));
    assert!(matches!(refused, Err(CallError::Failure(it)) if it.code == FailureCode::NotFound));
    let stats = client.call("stats", args(json!({}))).unwrap();
    let expected = json!([{
        "neighbour": "hill", "gave": 0, "lacked": 0, "silent": 0, "wrong": 0, "given": 0, "bought": 0, "limit": null,
    }]);
    assert_eq!(stats["neighbours"], expected);
}

/// Has `cluster` tell the node its number.
fn tell_number(folder: &TempDir, number: u8) {
    let listener = UnixListener::bind(folder.path().join("cluster.sock")).unwrap();
    thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        let request = peer.next_request().unwrap().unwrap();
        peer.item(request.id, json!({ "number": number, "map": null })).unwrap();
        // The connection stays open.
        let _ = peer.next_request();
    });
}

/// Has a unit answer each call of `verb` with `value`.
fn answer(folder: &TempDir, unit: &str, verb: &'static str, value: Value) {
    let listener = UnixListener::bind(folder.path().join(format!("{unit}.sock"))).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut peer = Peer::new(stream.unwrap());
            while let Ok(Some(request)) = peer.next_request() {
                assert_eq!(request.verb, verb);
                peer.end(request.id, Ok(value.clone())).unwrap();
            }
        }
    });
}
