//! Limits of connections and disk space.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use iroh::TransportAddr;
use iroh::endpoint::ReadError;
use iroh_blobs::protocol::{ERR_LIMIT, ERR_PERMISSION, GetRequest, ObserveRequest, Request};
use iroh_blobs::{ALPN, Hash};
use octet_cache::counters::CacheCounters;
use octet_cache::endpoint;
use octet_cache::limits::{CacheLimits, Reserve};
use octet_cache::objects::{ObjectError, Objects};
use octet_cache::policy::ObjectKind;
use octet_node::key::PrivateKey;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::host::{LOOPBACK, Node, add, bytes, limits, path, runtime, until};
use crate::request::{TIMEOUT, get};

#[test]
fn few_connections_of_one() {
    let runtime = runtime();
    let limits = CacheLimits { http_per_client: 3, peers: 1, ..limits() };
    let node = runtime.block_on(Node::start(limits));
    let hash = runtime.block_on(node.add(b"something")).hash;
    let held: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(node.http).unwrap()).collect();
    for mut stream in &held {
        // The response shows that the connection has been accepted.
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        write!(stream, "HEAD {} HTTP/1.1\r\nHost: localhost\r\n\r\n", path(hash)).unwrap();
        assert!(stream.read(&mut [0; 12]).unwrap() > 0);
    }
    let mut fourth = TcpStream::connect(node.http).unwrap();
    fourth.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert_eq!(fourth.read(&mut [0]).unwrap_or(0), 0, "it is turned away");
    assert_eq!(node.counters.http_refused.get(), 1);
    drop(held);
    let counters = &node.counters;
    runtime.block_on(until("room again", || {
        let mut stream = TcpStream::connect(node.http).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let asked = write!(stream, "HEAD {} HTTP/1.1\r\nHost: localhost\r\n\r\n", path(hash));
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
    // All of the disk is reserved.
    let full = CacheLimits { reserve: Reserve { share: 1, max: u64::MAX }, ..limits() };
    let peers = vec![origin.as_peer(1)];
    let (folder, all) = (TempDir::new().unwrap(), bytes(100_000, 5));
    runtime.block_on(async {
        let objects = Arc::new(Objects::open(folder.path(), &limits()).await.unwrap());
        let hash = add(&objects, &all, ObjectKind::Loose).await.unwrap().hash;
        objects.store().shutdown().await.unwrap();
        drop(objects);
        let objects = Arc::new(Objects::open(folder.path(), &full).await.unwrap());
        let counters = CacheCounters::default();
        // The evictable objects would not free enough, so they are not evicted.
        let added = add(&objects, b"x", ObjectKind::Loose).await;
        assert!(matches!(added, Err(ObjectError::Full { .. })), "{added:?}");
        assert!(objects.find(Hash::new(b"x"), &counters).await.unwrap().is_none());
        assert_eq!(objects.find(hash, &counters).await.unwrap().unwrap().size, 100_000);
    });
    let node = runtime.block_on(Node::start(full));
    node.peers.send_replace(peers);
    let answer = get(node.http, &path(elsewhere), &[]);
    assert_eq!(answer.code, 507, "{}", answer.text());
    assert!(answer.text().contains("bytes left"), "{}", answer.text());
}

/// A peer's request has to arrive in time, and its length is limited; a connection without a
/// request is closed.
#[test]
fn requests_come_in_time_and_are_short() {
    let runtime = runtime();
    let limits = CacheLimits { request_timeout: Duration::from_secs(4), ..limits() };
    let all = bytes(8 << 20, 3);
    let node = runtime.block_on(Node::start(limits));
    let hash = runtime.block_on(node.add(&all)).hash;
    let other = runtime.block_on(Node::start(limits));
    runtime.block_on(async {
        let connect = async || other.endpoint.connect(node.address(), ALPN).await.unwrap();
        let connection = connect().await;
        // The object is larger than the window: the transfer continues as long as the peer reads.
        let good = postcard::to_stdvec(&Request::Get(GetRequest::blob(hash))).unwrap();
        let (mut to, mut from) = connection.open_bi().await.unwrap();
        to.write_all(&good).await.unwrap();
        to.finish().unwrap();
        from.read_exact(&mut [0; 100_000]).await.unwrap();

        let seq = Request::Get(GetRequest::all(hash));
        let observe = Request::Observe(ObserveRequest::new(hash));
        let requests = [
            (postcard::to_stdvec(&observe).unwrap(), true, ERR_PERMISSION),
            (postcard::to_stdvec(&seq).unwrap(), true, ERR_PERMISSION),
            ([&good[..], &[0; 5000]].concat(), false, ERR_LIMIT),
            (good[..10].to_vec(), false, ERR_LIMIT),
        ];
        for (bytes, is_whole, code) in requests {
            let (mut to, mut from) = connection.open_bi().await.unwrap();
            to.write_all(&bytes).await.unwrap();
            if is_whole {
                to.finish().unwrap();
            }
            let refused =
                timeout(TIMEOUT, from.read(&mut [0])).await.expect("late: it is not refused");
            assert_eq!(refused, Err(ReadError::Reset(code)), "{bytes:?}");
        }

        let idle = connect().await;
        timeout(TIMEOUT, idle.closed()).await.expect("late: it stays");
        let rest = from.read_to_end(usize::MAX).await.unwrap();
        assert!(rest.len() + 100_000 > all.len(), "{}", rest.len());
    });
}

/// Incomplete handshakes from spoofed addresses: the remaining permits are reserved for peers that
/// prove their address.
#[test]
fn handshakes_from_addresses_that_are_others() {
    let runtime = runtime();
    // A handshake keeps its place however slow the machine is.
    let limits = CacheLimits { peers: 4, request_timeout: TIMEOUT, ..limits() };
    runtime.block_on(async {
        let (node, other) = (Node::start(limits).await, Node::start(limits).await);
        let at = node.endpoint.bound_sockets()[0];
        let mut answer = [0; 1500];
        for count in 0..20 {
            let wire = UdpSocket::bind(LOOPBACK).await.unwrap();
            // Another endpoint each time, because a client caches a peer's address.
            let client =
                endpoint::open(&PrivateKey::generate().unwrap(), &[LOOPBACK]).await.unwrap();
            let mut address = node.address();
            address.addrs = [TransportAddr::Ip(wire.local_addr().unwrap())].into();
            // The first packet of a client, sent by a peer that does not receive the answer.
            let begun = client.connect(address, ALPN);
            let (length, _) = tokio::select! {
                first = wire.recv_from(&mut answer) => first.unwrap(),
                _ = begun => unreachable!("nobody answers"),
            };
            let from = UdpSocket::bind(LOOPBACK).await.unwrap();
            from.send_to(&answer[..length], at).await.unwrap();
            let answered = timeout(TIMEOUT, from.recv_from(&mut answer)).await;
            let (length, _) = answered.expect("late: no answer").unwrap();
            // RFC 9000, section 17.2: the types of long headers.
            let kind = answer[0] >> 4 & 3;
            let (initial, retry) = (0, 3);
            assert_eq!(kind, if count < 2 { initial } else { retry }, "{count}: {length} bytes");
        }
        other.endpoint.connect(node.address(), ALPN).await.unwrap();
    });
}
