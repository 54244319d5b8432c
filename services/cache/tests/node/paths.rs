//! Which paths and methods are answered how, also those that no program of ours asks for.

use octet_cache::http::UNKNOWN;

use crate::host::{Node, limits, path, runtime};
use crate::request::{Answer, say};

/// What each answer of the gateway says about its bytes, an error as well.
fn is_kept_apart(answer: &Answer) {
    assert!(answer.header("content-security-policy").starts_with("sandbox"), "{answer:?}");
}

fn ask(node: &Node, method: &str, target: &str) -> Answer {
    let fields = "Host: localhost\r\nConnection: close\r\n";
    say(node.http, &format!("{method} {target} HTTP/1.1\r\n{fields}\r\n"))
}

#[test]
fn a_path_is_an_object_a_name_or_nothing() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let hash = runtime.block_on(node.add(b"something")).hash;
    let own = path(hash);
    let hex = hash.to_hex().to_string();
    // Each digit as its percent-encoded byte.
    let encoded: String = hex.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let key = "did:key:x";
    for (target, code, text) in [
        (own.clone(), 200, "something"),
        (format!("{own}?a=b"), 200, "something"),
        (format!("{own}?"), 200, "something"),
        (format!("/b/{encoded}"), 200, "something"),
        (format!("http://localhost{own}"), 200, "something"),
        (format!("{own}/name"), 200, "something"),
        (format!("{own}//name"), 200, "something"),
        (format!("{own}/a/b/"), 200, "something"),
        (format!("{own}/%ff"), 200, "something"),
        (format!("{own}/name?a=b"), 200, "something"),
        // A hash that has a name behind it is compared as it was sent.
        (format!("/b/{encoded}/name"), 400, "a hash is 64 digits"),
        (format!("/b/{hex}%2Fname"), 400, "a hash is 64 digits"),
        ("/b/%41".to_owned(), 400, "a hash is 64 digits"),
        ("/b/%".to_owned(), 400, "a hash is 64 digits"),
        ("/b/%4".to_owned(), 400, "a hash is 64 digits"),
        ("/b/%ff".to_owned(), 400, "Invalid URL"),
        ("/b/.".to_owned(), 400, "a hash is 64 digits"),
        (format!("/b/./{hex}"), 400, "a hash is 64 digits"),
        (format!("/n/{key}/path"), 400, "a name is a node's key"),
        (format!("/n/{key}/%ff"), 400, "Invalid URL"),
        ("/n/%ff/path".to_owned(), 400, "Invalid URL"),
        (format!("/n/{key}"), 404, "objects are at"),
        (format!("/n/{key}/"), 404, "objects are at"),
        (format!("/n//{key}/path"), 400, "a name is a node's key"),
        ("/n/".to_owned(), 404, "objects are at"),
        ("/n".to_owned(), 404, "objects are at"),
        (format!("{own}/"), 404, "objects are at"),
        (format!("/b//{hex}"), 400, "a hash is 64 digits"),
        (format!("/b//{hex}/name"), 400, "a hash is 64 digits"),
        ("/b//".to_owned(), 404, "objects are at"),
        ("/n//x".to_owned(), 400, "a name is a node's key"),
        ("/n//".to_owned(), 404, "objects are at"),
        (format!("/{own}"), 404, "objects are at"),
        (format!("/%62/{hex}"), 404, "objects are at"),
        (format!("/B/{hex}"), 404, "objects are at"),
        ("/b/".to_owned(), 404, "objects are at"),
        ("//b".to_owned(), 404, "objects are at"),
        ("/bb".to_owned(), 404, "objects are at"),
        ("/".to_owned(), 404, "objects are at"),
        ("//".to_owned(), 404, "objects are at"),
        ("/?a".to_owned(), 404, "objects are at"),
        ("http://localhost".to_owned(), 404, "objects are at"),
        ("/b".to_owned(), 405, "objects are read by GET"),
    ] {
        let before = node.counters.responses().get(&code).copied().unwrap_or_default();
        let answer = ask(&node, "GET", &target);
        assert_eq!(answer.code, code, "{target}: {}", answer.text());
        assert!(answer.text().starts_with(text), "{target}: {}", answer.text());
        is_kept_apart(&answer);
        let head = ask(&node, "HEAD", &target);
        assert_eq!((head.code, head.body.len()), (code, 0), "{target}");
        for name in ["content-length", "content-type", "etag", "cache-control", "allow"] {
            assert_eq!(head.header(name), answer.header(name), "{target}: {name}");
        }
        assert_eq!(answer.header("content-length"), answer.body.len().to_string(), "{target}");
        assert_eq!(answer.header("transfer-encoding"), "", "{target}");
        assert_eq!(node.counters.responses()[&code], before + 2, "{target}");
    }
    let kind = |target: &str| ask(&node, "GET", target).header("content-type").to_owned();
    assert_eq!(kind(&format!("{own}/a.mp4/b.png")), "image/png");
    assert_eq!(kind(&format!("{own}/a.mp4/b")), UNKNOWN);
    assert_eq!(kind(&format!("{own}/a?b.png")), UNKNOWN);
}

#[test]
fn other_methods_are_refused_with_those_that_are_not() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let own = path(runtime.block_on(node.add(b"something")).hash);
    let named = format!("{own}/name");
    let name = "/n/did:key:x/path";
    for (method, target, code, allow) in [
        ("PUT", "/b", 401, ""),
        ("POST", "/b", 405, "PUT"),
        ("GET", "/b", 405, "PUT"),
        ("OPTIONS", "/b", 405, "PUT"),
        ("put", "/b", 405, "PUT"),
        ("PUT", own.as_str(), 405, "GET,HEAD"),
        ("OPTIONS", &own, 405, "GET,HEAD"),
        ("TRACE", &own, 405, "GET,HEAD"),
        ("get", &own, 405, "GET,HEAD"),
        ("DELETE", "/b/12", 405, "GET,HEAD"),
        ("POST", "/b/%ff", 405, "GET,HEAD"),
        ("PATCH", &named, 405, "GET,HEAD"),
        ("PUT", name, 405, "GET,HEAD"),
        ("PUT", "/b/", 404, ""),
        ("PUT", "/", 404, ""),
        ("POST", "/n", 404, ""),
        ("OPTIONS", "*", 404, ""),
    ] {
        let answer = ask(&node, method, target);
        assert_eq!((answer.code, answer.header("allow")), (code, allow), "{method} {target}");
        assert_eq!(answer.header("cache-control"), "no-store", "{method} {target}");
        is_kept_apart(&answer);
    }
    // A wrong host is the better reason.
    let foreign =
        format!("DELETE {own} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(say(node.http, &foreign).code, 421);
}
