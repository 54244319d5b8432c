//! A private fetch asks one node, over a path of `forward`, and shows it no key or address of this node.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use iroh_blobs::{ALPN, Hash};
use octet_cache::fetch::Missing;
use octet_cache::private::{MAX, PrivatePaths, RENEWAL};
use octet_node::Peer;
use octet_node::control::{CallError, Failure, FailureCode};
use octet_node::tls::AlpnProtocol;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::host::{LOOPBACK, Node, bytes, limits, runtime, until};
use crate::provider::{Provider, Way};
use crate::verbs::{args, config_with_policy, connect, start_with};

/// The throw-away address.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// In place of `forward`: it has a path to the node `hill`, and to no other.
struct Forward {
    socket: PathBuf,
    /// The verbs that were called.
    calls: Arc<Mutex<Vec<String>>>,
}

impl Forward {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("forward.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let called = Arc::clone(&calls);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut peer, called) = (Peer::new(stream.unwrap()), Arc::clone(&called));
                thread::spawn(move || {
                    while let Ok(Some(request)) = peer.next_request() {
                        called.lock().unwrap().push(request.verb.clone());
                        let answer = answer(&request.verb, request.args.get("to"));
                        peer.end(request.id, answer).unwrap();
                    }
                });
            }
        });
        Self { socket, calls }
    }

    /// The private paths to nodes that listen at the port of `at`.
    fn paths(&self, at: SocketAddr, renewal: Duration) -> PrivatePaths {
        PrivatePaths::new(self.socket.clone(), at.port(), renewal)
    }

    fn count(&self, verb: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|it| *it == verb).count()
    }

    /// Waits until as many paths have ended as have begun.
    fn end(&self, runtime: &Runtime) {
        let count = self.count("private-path");
        runtime.block_on(until("all paths end", || self.count("private-end") == count));
    }
}

fn answer(verb: &str, to: Option<&Value>) -> Result<Value, Failure> {
    match (verb, to) {
        ("private-path", Some(to)) if to != "hill" => {
            Err(Failure::new(FailureCode::Failed, "there is no path: nobody knows it", ""))
        }
        ("private-path", _) => Ok(json!({ "path": 7, "to": LOOPBACK.ip(), "from": FROM })),
        _ => Ok(json!({ "path": 7 })),
    }
}

/// What the node at the end of a path receives: who sends, and what.
type Received = Arc<Mutex<(BTreeSet<IpAddr>, Vec<u8>)>>;

fn note(received: &Received, from: SocketAddr, datagram: &[u8]) {
    let mut received = received.lock().unwrap();
    received.0.insert(from.ip());
    received.1.extend(datagram);
}

/// Forwards all datagrams of one client between it and `to`, as the last relay does. Returns where it listens.
async fn relay(to: SocketAddr) -> (SocketAddr, Received) {
    let [near, far] = [UdpSocket::bind(LOOPBACK).await, UdpSocket::bind(LOOPBACK).await];
    let (near, far) = (near.unwrap(), far.unwrap());
    let (at, received) = (near.local_addr().unwrap(), Received::default());
    let seen = Arc::clone(&received);
    tokio::spawn(async move {
        let (mut there, mut back, mut client) = ([0; 2000], [0; 2000], None);
        loop {
            tokio::select! {
                Ok((length, from)) = near.recv_from(&mut there) => {
                    client = Some(from);
                    note(&seen, from, &there[..length]);
                    let _ = far.send_to(&there[..length], to).await;
                }
                Ok((length, _)) = far.recv_from(&mut back) => {
                    let Some(client) = client else { continue };
                    let _ = near.send_to(&back[..length], client).await;
                }
            }
        }
    });
    (at, received)
}

fn fetch(runtime: &Runtime, node: &Node, paths: &PrivatePaths, hash: Hash) -> Result<(), Missing> {
    let path = paths.open("hill", Some("2,3")).unwrap();
    runtime.block_on(node.gateway.state.as_ref().unwrap().fetcher.fetch_private(hash, path))
}

/// The giver sees the throw-away address and a key that it does not know; no other node sees anything. Without
/// `private` it knows the key of the node that asks.
#[test]
fn the_giver_does_not_learn_who_asks() {
    let runtime = runtime();
    let [giver, taker, board, neighbour] =
        [(); 4].map(|()| runtime.block_on(Node::start(limits())));
    taker.peers.send_replace(vec![board.as_peer(2)]);
    taker.neighbours.set(vec![neighbour.as_neighbour("lake")], true);
    let all = bytes(3_000_000, 1);
    let hash = Hash::new(&all);
    for node in [&giver, &board, &neighbour] {
        runtime.block_on(node.add(&all));
    }
    let at = giver.endpoint.bound_sockets()[0];
    let (relay, received) = runtime.block_on(relay(at));
    let folder = TempDir::new().unwrap();
    let forward = Forward::start(folder.path());
    fetch(&runtime, &taker, &forward.paths(relay, RENEWAL), hash).unwrap();
    assert_eq!(taker.objects.size(hash), Some(all.len() as u64));
    forward.end(&runtime);
    assert_eq!(forward.count("private-path"), 1);

    let (from, captured) = received.lock().unwrap().clone();
    assert_eq!(from, [FROM].into());
    let key = taker.as_peer(1).key;
    for needle in [key, taker.node] {
        assert!(!captured.windows(32).any(|window| window == needle.as_bytes()));
    }
    for other in [&board, &neighbour] {
        assert_eq!(other.counters.peers_served.get(), 0);
    }
    // The connection has ended, so what the giver sent is recorded, and not for the node that asked.
    let given = || giver.objects.policy().sent_to(key.as_bytes());
    let one = runtime.block_on(giver.add(&bytes(100_000, 2))).hash;
    taker.peers.send_replace(vec![giver.as_peer(3)]);
    let fetcher = &taker.gateway.state.as_ref().unwrap().fetcher;
    runtime.block_on(fetcher.fetch(one)).unwrap();
    runtime.block_on(until("it is recorded", || given().0 >= 100_000));
    assert_eq!(given().1, 1);
    assert!(given().0 < all.len() as u64);
    assert_eq!(giver.counters.peers_served.get(), 2);

    assert_eq!(AlpnProtocol::Objects.name(), ALPN);
}

/// If the node does not have it, or does not answer, nobody else is asked, and the path ends all the same.
#[test]
fn nobody_else_is_asked_instead() {
    let runtime = runtime();
    let [giver, taker, board] = [(); 3].map(|()| runtime.block_on(Node::start(limits())));
    taker.peers.send_replace(vec![board.as_peer(2)]);
    let hash = runtime.block_on(board.add(&bytes(100_000, 1))).hash;
    let folder = TempDir::new().unwrap();
    let forward = Forward::start(folder.path());
    let at = giver.endpoint.bound_sockets()[0];
    let paths = forward.paths(at, RENEWAL);
    let fetched = fetch(&runtime, &taker, &paths, hash);
    assert!(matches!(fetched, Err(Missing::Nowhere)), "{fetched:?}");
    forward.end(&runtime);
    // Nobody listens there.
    let closed = runtime.block_on(UdpSocket::bind(LOOPBACK)).unwrap();
    let silent = forward.paths(closed.local_addr().unwrap(), RENEWAL);
    let fetched = fetch(&runtime, &taker, &silent, hash);
    assert!(matches!(fetched, Err(Missing::Silent(1))), "{fetched:?}");
    forward.end(&runtime);
    assert_eq!(board.counters.peers_served.get(), 0);

    // It does not join a fetch from others either, which ends as if nobody had asked.
    let (goes, event) = watch::channel(false);
    let all = bytes(300_000, 3);
    let (provider, peer, _router) = runtime.block_on(Provider::start(4, &all, Way::Once(event)));
    taker.peers.send_replace(vec![peer]);
    let fetcher = Arc::clone(&taker.gateway.state.as_ref().unwrap().fetcher);
    let other = runtime.spawn(async move { fetcher.fetch(Hash::new(&all)).await });
    runtime.block_on(until("it is asked", || !provider.asked.borrow().is_empty()));
    let fetched = fetch(&runtime, &taker, &paths, Hash::new(bytes(300_000, 3)));
    assert!(matches!(fetched, Err(Missing::OnItsWay)), "{fetched:?}");
    forward.end(&runtime);
    goes.send_replace(true);
    runtime.block_on(other).unwrap().unwrap();
}

#[test]
fn paths_are_few_and_renewed_and_end() {
    let runtime = runtime();
    let folder = TempDir::new().unwrap();
    let forward = Forward::start(folder.path());
    let paths = forward.paths(LOOPBACK, Duration::from_millis(10));
    // What `forward` says is said.
    let refused = paths.open("nobody", None).unwrap_err();
    assert_eq!(refused.message, "there is no path: nobody knows it");
    let mut open: Vec<_> = (0..MAX).map(|_| paths.open("hill", None).unwrap()).collect();
    let busy = paths.open("hill", None).unwrap_err();
    assert_eq!(busy.code, FailureCode::Busy);
    assert_eq!(forward.count("private-path"), 1 + MAX);
    runtime.block_on(until("they are renewed", || forward.count("private-renew") > 10));
    assert_eq!(forward.count("private-end"), 0);
    open.pop();
    runtime.block_on(until("one ends", || forward.count("private-end") == 1));
    runtime.block_on(until("another begins", || {
        paths.open("hill", None).map(|path| open.push(path)).is_ok()
    }));
    open.clear();
    runtime.block_on(until("all end", || forward.count("private-end") == MAX + 1));
}

fn says(answer: Result<u64, String>, why: &str) {
    let message = answer.unwrap_err();
    assert!(message.contains(why), "{message}");
}

#[test]
fn get_private_needs_a_policy_and_names_the_node() {
    let runtime = runtime();
    let giver = runtime.block_on(Node::start(limits()));
    let all = bytes(300_000, 1);
    let hash = runtime.block_on(giver.add(&all)).hash.to_hex().to_string();
    let folder = TempDir::new().unwrap();
    let forward = Forward::start(folder.path());
    let at = giver.endpoint.bound_sockets()[0];
    // All nodes listen at the same port.
    let address = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), at.port());
    let (socket, _) = start_with(&folder, Some(folder.path().join("state")), address);
    let mut client = connect(&socket);
    let mut get = |asked: Value| match client.call("get", args(asked)) {
        Ok(answer) => Ok(answer["size"].as_u64().unwrap()),
        Err(CallError::Failure(failure)) => Err(failure.message),
        Err(other) => panic!("{other}"),
    };
    says(get(json!({ "hash": hash, "via": "2" })), "`via` goes with `private`");
    says(get(json!({ "hash": hash, "private": "hill" })), "no policy allows");
    assert_eq!(forward.count("private-path"), 0);
    let policy = json!([{ "from": "router", "to": "path", "service": "cache.objects" }]);
    let config = config_with_policy(&folder, &json!({}), &json!([]), &policy);
    connect(&socket).call("config-apply", args(json!({}))).unwrap();
    config.join().unwrap();
    says(get(json!({ "hash": hash, "private": "lake" })), "there is no path");
    let unknown = "0".repeat(64);
    says(get(json!({ "hash": unknown, "private": "hill" })), "hill does not have it");
    assert_eq!(get(json!({ "hash": hash, "private": "hill", "via": "2,3" })), Ok(300_000));
    let rows = connect(&socket).call("ls", args(json!({}))).unwrap();
    assert_eq!((&rows[0]["hash"], &rows[0]["damaged"]), (&json!(hash), &json!(false)), "{rows}");
    // What is here is not asked for.
    let count = forward.count("private-path");
    assert_eq!(get(json!({ "hash": hash, "private": "lake" })), Ok(300_000));
    assert_eq!(forward.count("private-path"), count);
}
