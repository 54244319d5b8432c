//! Uploads over HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use iroh_blobs::Hash;
use octet_cache::limits::CacheLimits;
use octet_cache::names::now;
use octet_cache::policy::cost;
use serde_json::json;
use tempfile::TempDir;

use crate::host::{Node, bytes, limits, path, runtime};
use crate::request::{TIMEOUT, get};
use crate::verbs::{args, connect, start_at};

/// Uploads `body`, and announces `length` bytes. Returns the head of the response.
fn put(at: SocketAddr, token: Option<&str>, length: Option<usize>, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let token = token.map(|it| format!("Authorization: Bearer {it}\r\n")).unwrap_or_default();
    let kind = match length {
        Some(length) => format!("Content-Length: {length}\r\n"),
        None => "Transfer-Encoding: chunked\r\n".to_owned(),
    };
    let head =
        format!("PUT /b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}{kind}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    if !body.is_empty() && length.is_some_and(|length| length > body.len()) {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("late: no answer");
    answer
}

#[test]
fn with_a_token_and_as_much_as_it_says() {
    let runtime = runtime();
    let node =
        runtime.block_on(Node::start(CacheLimits { quota: Some(cost(200_000)), ..limits() }));
    let all = bytes(100_000, 3);
    let put = |token: Option<&str>, length, body: &[u8]| put(node.http, token, length, body);
    let token = node.tokens.make(150_000, now() + 1000);
    let (token, length) = (Some(&token[..]), Some(all.len()));
    let answer = put(token, length, &all);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let place = path(Hash::new(&all));
    assert!(answer.contains(&format!("location: {place}\r\n")), "{answer}");
    assert!(get(node.http, &place, &[]).body == all);
    assert!(!node.objects.policy().is_pinned(&Hash::new(&all)));

    let other = bytes(100_000, 4);
    let past = node.tokens.make(150_000, now());
    let large = node.tokens.make(1 << 40, now() + 1000);
    for (token, length, body, code) in [
        (None, length, &other[..], 401),
        (Some("AAAA"), length, &other, 403),
        (Some(&past), length, &other, 403),
        (token, None, b"0\r\n\r\n", 411),
        (token, Some(150_001), b"", 413),
        (Some(&large), Some(300_000), b"", 507),
    ] {
        let answer = put(token, length, body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
        assert!(!answer.contains("location"), "{answer}");
    }
    // None of these uploads has caused an eviction.
    assert!(get(node.http, &place, &[]).body == all);
    // An interrupted upload creates no object.
    put(token, length, &other[..50_000]);
    for wrong in [&other[..], &other[..50_000]] {
        assert_eq!(get(node.http, &path(Hash::new(wrong)), &[]).code, 404);
    }
}

/// A client that sends the whole object before it reads still receives the reason of a refusal.
#[test]
fn an_early_refusal_is_read() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let token = node.tokens.make(1000, now() + 1000);
    let part = vec![7; 1 << 20];
    let send = |length: usize, parts: usize| {
        let mut stream = TcpStream::connect(node.http).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        let head = format!(
            "PUT /b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let sent = (0..parts).try_for_each(|_| stream.write_all(&part));
        (stream, sent)
    };
    let (mut stream, sent) = send(64 << 20, 64);
    sent.expect("all of it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("late: no answer");
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("an object may have 1000 bytes"), "{answer}");
    // A client that sends forever is disconnected.
    let (_, sent) = send(1 << 40, 1 << 10);
    let kind = sent.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "late: {kind}");
}

#[test]
fn what_an_operator_has_removed_is_put_by_nobody() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let all = bytes(100_000, 5);
    let hash = runtime.block_on(node.add(&all)).hash;
    assert!(runtime.block_on(node.objects.remove(hash)).unwrap());
    let token = node.tokens.make(150_000, now() + 1000);
    let put = || put(node.http, Some(&token), Some(all.len()), &all);
    let answer = put();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("an operator has removed this object"), "{answer}");
    assert_eq!(get(node.http, &path(hash), &[]).code, 410);
    // Nothing of it is on disk.
    assert!(!runtime.block_on(node.objects.store().blobs().has(hash)).unwrap());
    // Once an operator has added it again, clients may upload it.
    runtime.block_on(node.add(&all));
    let answer = put();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(get(node.http, &path(hash), &[]).body == all);
}

#[test]
fn a_token_by_the_verb() {
    let folder = TempDir::new().unwrap();
    let (socket, http) = start_at(&folder, Some(folder.path().join("state")));
    let mut client = connect(&socket);
    let mut make = |wanted| client.call("token", args(wanted));
    let token = make(json!({ "bytes": "1K" })).unwrap()["token"].as_str().unwrap().to_owned();
    assert!(put(http, Some(&token), Some(5), b"hello").contains(" 201 "));
    for wrong in [json!({ "bytes": "1KB" }), json!({ "bytes": "1K", "ttl": 0 })] {
        make(wrong).unwrap_err();
    }
    let next = make(json!({ "bytes": "1K", "revoke": true })).unwrap();
    assert!(put(http, Some(&token), Some(5), b"hello").contains(" 403 "));
    assert!(put(http, next["token"].as_str(), Some(5), b"hello").contains(" 201 "));
}
