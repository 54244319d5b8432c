//! Bounds: connections, and room on the disk.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use iroh_blobs::{ALPN, Hash};
use octet_cache::counters::Counters;
use octet_cache::limits::{Limits, Reserve};
use octet_cache::objects::{Objects, StoreError};
use octet_cache::policy::Kind;
use tempfile::TempDir;

use crate::host::{Node, add, bytes, limits, path, runtime, until};
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
    let origin = runtime.block_on(Node::start(limits()));
    let elsewhere = runtime.block_on(origin.add(b"elsewhere")).hash;
    // All of the disk is to stay free.
    let full = Limits { reserve: Reserve { share: 1, most: u64::MAX }, ..limits() };
    let peers = vec![origin.as_peer(1)];
    let (folder, all) = (TempDir::new().unwrap(), bytes(100_000, 5));
    runtime.block_on(async {
        let objects = Arc::new(Objects::open(folder.path(), &limits()).await.unwrap());
        let hash = add(&objects, &all, Kind::Loose).await.unwrap().hash;
        objects.store().shutdown().await.unwrap();
        drop(objects);
        let objects = Arc::new(Objects::open(folder.path(), &full).await.unwrap());
        let counters = Counters::default();
        // All that is loose would not be enough, so it does not go either.
        let added = add(&objects, b"x", Kind::Loose).await;
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
