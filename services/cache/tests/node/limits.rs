//! Bounds: connections, and room on the disk.

use std::io::{Read, Write};
use std::net::TcpStream;

use iroh_blobs::{ALPN, Hash};
use octet_cache::limits::{Limits, Reserve};
use octet_cache::objects::StoreError;

use crate::host::{Node, bytes, limits, path, runtime, until};
use crate::request::{PATIENCE, get};

#[test]
fn few_connections_of_one() {
    let runtime = runtime();
    let limits = Limits { http_of_one: 3, peers: 1, ..limits() };
    let node = runtime.block_on(Node::start(limits));
    let hash = runtime.block_on(node.add(b"something")).hash;
    let held: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(node.http).unwrap()).collect();
    for mut stream in &held {
        // Each is served, so it has its place.
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "HEAD {} HTTP/1.1\r\nHost: box\r\n\r\n", path(hash)).unwrap();
        assert!(stream.read(&mut [0; 12]).unwrap() > 0);
    }
    let mut fourth = TcpStream::connect(node.http).unwrap();
    fourth.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(fourth.read(&mut [0]).unwrap_or(0), 0, "it is turned away");
    assert_eq!(node.counters.http_refused.get(), 1);
    drop(held);
    let counters = &node.counters;
    runtime.block_on(until("room again", || {
        let mut stream = TcpStream::connect(node.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let asked = write!(stream, "HEAD {} HTTP/1.1\r\nHost: box\r\n\r\n", path(hash));
        asked.is_ok() && stream.read(&mut [0; 12]).is_ok_and(|count| count > 0)
    }));

    let other = runtime.block_on(Node::start(limits));
    runtime.block_on(async {
        let first = other.endpoint.connect(node.address(), ALPN).await.unwrap();
        until("the first is served", || counters.peers_served.get() == 1).await;
        let second = other.endpoint.connect(node.address(), ALPN).await.unwrap();
        second.closed().await;
        assert_eq!(counters.peers_refused.get(), 1);
        assert!(first.close_reason().is_none());
    });
}

#[test]
fn a_full_disk_takes_nothing_and_gives_all() {
    let runtime = runtime();
    let [origin, node] = [(); 2].map(|()| runtime.block_on(Node::start(limits())));
    let all = bytes(100_000, 5);
    let hash = runtime.block_on(node.add(&all)).hash;
    let elsewhere = runtime.block_on(origin.add(b"elsewhere")).hash;
    // All of the disk is to stay free.
    let full = Limits { reserve: Reserve { share: 1, most: u64::MAX }, ..limits() };
    let peers = vec![origin.as_peer(1)];
    let moved = node.folder;
    runtime.block_on(node.objects.store().shutdown()).unwrap();
    runtime.block_on(async {
        let store = moved.path().join("store");
        let objects = octet_cache::objects::Objects::open(&store, &full).await.unwrap();
        let counters = octet_cache::counters::Counters::default();
        let added = objects.add(None, futures_util::stream::iter([Ok("x".into())])).await;
        assert!(matches!(added, Err(StoreError::Full { .. })), "{added:?}");
        assert!(objects.find(Hash::new(b"x"), &counters).await.unwrap().is_none());
        assert_eq!(objects.find(hash, &counters).await.unwrap().unwrap().size, 100_000);
    });
    let node = runtime.block_on(Node::start(full));
    node.peers.send_replace(peers);
    let answer = get(node.http, &path(elsewhere), &[]);
    assert_eq!(answer.code, 507, "{}", answer.text());
    assert!(answer.text().contains("bytes left"), "{}", answer.text());
}
