//! Prometheus metrics, as a collector reads them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use iroh_blobs::Hash;
use octet_cache::metrics::Numbers;
use octet_node::metrics::server::serve;
use tokio::net::TcpListener;

use crate::host::{LOOPBACK, Node, bytes, limits, path, runtime, until};
use crate::request::get;

/// Each sample by its name and label.
fn collect(at: SocketAddr) -> BTreeMap<String, u64> {
    let answer = get(at, "/metrics", &[]);
    assert_eq!(
        answer.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = answer.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.strip_prefix("octet_cache_").unwrap().to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

#[test]
fn of_what_is_kept_and_given() {
    let runtime = runtime();
    let [origin, node] = [(); 2].map(|()| runtime.block_on(Node::start(limits())));
    node.peers.send_replace(vec![origin.as_peer(1)]);
    let [at, from] = [&node, &origin].map(|node| {
        let listener = runtime.block_on(TcpListener::bind(LOOPBACK)).unwrap();
        let at = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, Numbers(node.gateway.clone())));
        at
    });
    let before = collect(at);
    let (small, large) = (bytes(100, 1), bytes(100_000, 2));
    runtime.block_on(node.add(&small));
    runtime.block_on(origin.add(&large));
    for _ in 0..2 {
        assert!(get(node.http, &path(Hash::new(&small)), &[]).body == small);
    }
    assert!(get(node.http, &path(Hash::new(&large)), &[]).body == large);
    assert_eq!(get(node.http, &path(Hash::new(b"nothing")), &[]).code, 404);
    runtime.block_on(until("it is kept", || node.counters.fetched.get() == 1));
    let is_verified = || node.scrubber.verified_bytes.get() == 100_100;
    runtime.block_on(until("both are verified", is_verified));
    let after = collect(at);
    let changed: BTreeMap<&str, u64> = after
        .iter()
        .map(|(name, value)| (&**name, value - before.get(name).copied().unwrap_or_default()))
        .filter(|(_, more)| *more > 0)
        .collect();
    let usage = node.objects.policy().usage();
    let expected = BTreeMap::from([
        ("bytes{state=\"pinned\"}", usage.pinned),
        ("bytes{state=\"used\"}", usage.used),
        ("fetched_total", 1),
        ("http_answers_total{code=\"200\"}", 3),
        ("http_answers_total{code=\"404\"}", 1),
        ("http_bytes_total", 100_200),
        ("memory_bytes", 228),
        ("memory_hits_total", 1),
        ("memory_objects", 1),
        ("objects", 2),
        ("requests_total{found=\"elsewhere\"}", 2),
        ("requests_total{found=\"here\"}", 2),
        ("verified_bytes_total", 100_100),
    ]);
    assert_eq!(changed, expected);
    assert_eq!(after["quota_bytes"], usage.quota);
    runtime.block_on(until("it is noted", || collect(from)["given_bytes_total"] >= 100_000));
    // Collectors have a small limit of their own, so they take no connections from other clients.
    let zeros = ["evicted_total", "refused_total{door=\"http\"}", "refused_total{door=\"nodes\"}"];
    assert!(zeros.iter().all(|name| after[*name] == 0), "{after:?}");
}
