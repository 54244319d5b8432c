//! The responses to a browser, request by request.

use std::fs::{self, File};
use std::time::Duration;

use octet_cache::counters::PeerOutcomes;

use crate::host::{Node, bytes, limits, path, runtime};
use crate::request::{ask, exchange, get, say};

/// Larger than the objects in the memory cache and than the parts in which files are sent, and not a multiple of any
/// block size.
const LARGE: usize = 2_700_001;

#[test]
fn whole_objects_small_large_and_empty() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    for (length, from_memory) in [(0, 1), (1, 1), (16 << 10, 1), ((16 << 10) + 1, 0), (LARGE, 0)] {
        let all = bytes(length, 1);
        let listed = runtime.block_on(node.add(&all));
        let at = path(listed.hash);
        let before = node.counters.from_memory.get();
        for _ in 0..2 {
            let answer = get(node.http, &at, &[]);
            assert_eq!((answer.code, &answer.body), (200, &all), "{length}");
            assert_eq!(answer.header("content-length"), length.to_string());
            assert_eq!(answer.header("etag"), format!("\"{}\"", listed.hash.to_hex()));
            assert_eq!(answer.header("accept-ranges"), "bytes");
            assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
            assert_eq!(answer.header("content-type"), "application/octet-stream");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
        // The second time, a small object is not read from disk.
        assert_eq!(node.counters.from_memory.get() - before, from_memory, "{length}");
        let head = ask(node.http, "HEAD", &at, &[("Range", "bytes=0-0")]);
        assert_eq!((head.code, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), length.to_string());
        let named = get(node.http, &format!("{at}/film.mp4"), &[]);
        assert_eq!((named.header("content-type"), &named.body), ("video/mp4", &all));
    }
    assert!(node.counters.http_bytes.get() > 3 * LARGE as u64);
}

#[test]
fn parts_of_objects() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    for length in [1000, LARGE] {
        let all = bytes(length, 2);
        let at = path(runtime.block_on(node.add(&all)).hash);
        let part = |range: &str| get(node.http, &at, &[("Range", range)]);
        let last = length - 1;
        for (range, start, end) in [
            ("bytes=0-0".to_owned(), 0, 1),
            ("bytes=10-".to_owned(), 10, length),
            ("bytes=-10".to_owned(), length - 10, length),
            (format!("bytes=1-{last}"), 1, length),
            (format!("bytes={last}-99999999999"), last, length),
            // One of the two ranges is satisfiable.
            (format!("bytes=5-6,{length}-"), 5, 7),
        ] {
            let answer = part(&range);
            assert_eq!((answer.code, &answer.body[..]), (206, &all[start..end]), "{range}");
            let said = format!("bytes {start}-{}/{length}", end - 1);
            assert_eq!(answer.header("content-range"), said, "{range}");
            assert_eq!(answer.header("content-length"), (end - start).to_string(), "{range}");
        }
        for range in ["bytes=2-1", "lines=1-2", "bytes=x", "bytes=0-,0-"] {
            let answer = part(range);
            assert_eq!((answer.code, &answer.body), (200, &all), "{range}");
        }
        for range in [format!("bytes={length}-"), "bytes=-0".to_owned()] {
            let answer = part(&range);
            assert_eq!(answer.code, 416, "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes */{length}"));
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }
}

#[test]
fn several_parts_of_one_object() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    for length in [1000, LARGE] {
        let all = bytes(length, 3);
        let at = path(runtime.block_on(node.add(&all)).hash);
        let wide = length - 300;
        let range = format!("bytes=0-9, 200-{}, -5", 200 + wide - 1);
        let answer = get(node.http, &format!("{at}/a.txt"), &[("Range", &range)]);
        assert_eq!((answer.code, answer.header("content-range")), (206, ""));
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        let kind = answer.header("content-type");
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut wanted = vec![];
        for (start, end) in [(0, 10), (200, 200 + wide), (length - 5, length)] {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Range: bytes {start}-{}/{length}\r\n\r\n",
                end - 1
            );
            wanted.extend_from_slice(head.as_bytes());
            wanted.extend_from_slice(&all[start..end]);
        }
        wanted.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(answer.body == wanted, "{length}");
    }
}

/// Requests that come at once on one connection are answered in order, from memory and from files.
#[test]
fn answers_of_one_connection_are_in_order() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let [large, other, small] =
        [(LARGE, 5), (LARGE / 2, 6), (1000, 7)].map(|(length, seed)| bytes(length, seed));
    let [at_large, at_other, at_small] =
        [&large, &other, &small].map(|it| path(runtime.block_on(node.add(it)).hash));
    let whole = 0..LARGE;
    let asked = [
        (&at_large, whole.clone(), &large),
        (&at_small, 0..1000, &small),
        (&at_other, 3..LARGE / 2 - 3, &other),
        (&at_large, LARGE - 1..LARGE, &large),
        (&at_other, 0..LARGE / 2, &other),
        (&at_large, whole, &large),
    ];
    let mut head = String::new();
    for (number, (at, range, _)) in asked.iter().enumerate() {
        let close = if number + 1 == asked.len() { "Connection: close\r\n" } else { "" };
        let range = format!("Range: bytes={}-{}\r\n", range.start, range.end - 1);
        head += &format!("GET {at} HTTP/1.1\r\nHost: localhost\r\n{range}{close}\r\n");
    }
    let mut rest = &exchange(node.http, &head)[..];
    for (number, (_, range, all)) in asked.into_iter().enumerate() {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert!(rest.starts_with(b"HTTP/1.1 206 "), "{number}");
        let body = &rest[end..end + range.len()];
        assert!(body == &all[range.clone()], "{number}");
        rest = &rest[end + range.len()..];
    }
    assert!(rest.is_empty());
}

/// An object whose file has become shorter than it was: the client sees that something is missing, and gets no other
/// bytes in its place.
#[test]
fn what_is_missing_of_a_file_is_not_made_up() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let all = bytes(LARGE, 8);
    let at = path(runtime.block_on(node.add(&all)).hash);
    assert!(get(node.http, &at, &[]).body == all);
    let data = fs::read_dir(node.folder.path().join("store/data")).unwrap().map(Result::unwrap);
    let file = data.into_iter().find(|it| it.metadata().unwrap().len() == LARGE as u64).unwrap();
    File::options().write(true).open(file.path()).unwrap().set_len(1_500_000).unwrap();
    let answer = get(node.http, &at, &[]);
    assert_eq!(answer.header("content-length"), LARGE.to_string());
    assert!(answer.body.len() <= 1_500_000 && all.starts_with(&answer.body));
}

#[test]
fn conditions() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let all = bytes(1000, 4);
    let hash = runtime.block_on(node.add(&all)).hash;
    let (at, own) = (path(hash), format!("\"{}\"", hash.to_hex()));
    let weak = format!("W/{own}");
    let first = ("Range", "bytes=0-9");
    for (headers, code) in [
        (vec![("If-None-Match", own.as_str())], 304),
        (vec![("If-None-Match", "\"x\""), ("If-None-Match", &weak)], 304),
        (vec![("If-None-Match", "\"x\"")], 200),
        (vec![("If-Match", &own)], 200),
        (vec![("If-Match", "\"x\"")], 412),
        (vec![("If-Modified-Since", "Sat, 29 Oct 2050 19:43:31 GMT")], 200),
        (vec![first, ("If-Range", &own)], 206),
        (vec![first, ("If-Range", &weak)], 200),
        (vec![first, ("If-Range", "\"x\"")], 200),
        (vec![first, ("If-Range", "Sat, 29 Oct 2050 19:43:31 GMT")], 200),
        (vec![first, ("If-None-Match", &own)], 304),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = ask(node.http, method, &at, &headers);
            let code = if method == "HEAD" && code == 206 { 200 } else { code };
            assert_eq!(answer.code, code, "{method} {headers:?}");
            let length = match (method, code) {
                ("GET", 200) => 1000,
                ("GET", 206) => 10,
                ("GET", 412) => answer.header("content-length").parse().unwrap(),
                _ => 0,
            };
            assert_eq!(answer.body.len(), length, "{method} {headers:?}");
            if code == 304 {
                assert_eq!(answer.header("etag"), own);
                // The length would be that of the object (RFC 9110, section 8.6).
                assert_eq!(answer.header("content-length"), "", "{method}: {:?}", answer.headers);
            }
        }
    }
}

/// A request has exactly one `Host`, unless the client speaks HTTP/1.0 (RFC 9112, section 3.2).
#[test]
fn a_request_names_its_host() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let path = path(runtime.block_on(node.add(b"something")).hash);
    for (version, fields, code) in [
        ("1.1", "Host: localhost\r\n", 200),
        ("1.1", "Host: 10.20.1.2:8080\r\n", 200),
        ("1.1", "Host: [fd00::1]:8080\r\n", 200),
        ("1.1", "Host: board-1.octet.internal:8080\r\n", 200),
        ("1.1", "", 400),
        ("1.1", "Host: localhost\r\nHost: localhost\r\n", 400),
        ("1.0", "", 200),
        ("1.0", "Host: localhost\r\nhost: other\r\n", 400),
        // A page of another host name that resolves to this node (DNS rebinding).
        ("1.1", "Host: evil.example:8080\r\n", 421),
        ("1.1", "Host:\r\n", 421),
        ("1.0", "Host: evil.example\r\n", 421),
    ] {
        let head = format!("GET {path} HTTP/{version}\r\nConnection: close\r\n{fields}\r\n");
        assert_eq!(say(node.http, &head).code, code, "{head}");
    }
    // The request line that clients of a proxy send (RFC 9112, section 3.2.2).
    let at = format!("GET http://localhost{path} HTTP/1.1");
    let answer = say(node.http, &format!("{at}\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    assert_eq!((answer.code, answer.text().as_str()), (200, "something"));
    let at = "GET http://evil.example/b/x HTTP/1.1";
    let answer = say(node.http, &format!("{at}\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    assert_eq!(answer.code, 421);
    assert!(answer.text().contains("none of the box's names"), "{}", answer.text());
    for path in ["/n/did:key:x/y", "/"] {
        let head = format!("GET {path} HTTP/1.0\r\nHost: evil.example\r\n\r\n");
        assert_eq!(say(node.http, &head).code, 421, "{path}");
    }
    // Latin-1, which old clients send.
    let answer = get(node.http, &format!("{path}/caf%E9.mp4"), &[]);
    assert_eq!((answer.code, answer.header("content-type")), (200, "video/mp4"));
}

/// A browser that displays an object, an error or a name runs no script and loads nothing from
/// elsewhere; it plays videos.
#[test]
fn a_browser_keeps_answers_apart() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let path = path(runtime.block_on(node.add(b"something")).hash);
    let range = [("Range", "bytes=0-1")];
    let sandbox = "sandbox; default-src 'none'; img-src 'self'; style-src 'unsafe-inline'";
    // Chromium plays no video in a sandbox (`cluster::browser` tests that).
    let player = "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'";
    let (film, sound, page) =
        (path.clone() + "/a.webm", path.clone() + "/a.mp3", path.clone() + "/a.html");
    for (path, fields, code, policy) in [
        (path.as_str(), &[][..], 200, sandbox),
        (&path, &range, 206, sandbox),
        // The policy that the browser has stored with the object stays in force.
        (&path, &[("If-None-Match", "*")], 304, ""),
        (&film, &[("If-None-Match", "*")], 304, ""),
        ("/b/12", &[], 400, sandbox),
        ("/n/did:key:x/y", &[], 400, sandbox),
        (&page, &[], 200, sandbox),
        (&film, &[], 200, player),
        (&film, &range, 206, player),
        (&sound, &[], 200, player),
    ] {
        let answer = get(node.http, path, fields);
        let said = answer.header("content-security-policy");
        assert_eq!((answer.code, said), (code, policy), "{path}");
    }
}

/// For a page of another site no other node is asked, and its scripts can read only the objects
/// that an operator has made public.
#[test]
fn other_sites_learn_what_is_public() {
    let runtime = runtime();
    let [origin, node] = [(); 2].map(|()| runtime.block_on(Node::start(limits())));
    node.peers.send_replace(vec![origin.as_peer(1)]);
    let elsewhere = path(runtime.block_on(origin.add(b"elsewhere")).hash);
    let name = || "site/index.html".parse().unwrap();
    let hash = runtime.block_on(origin.add(b"named")).hash;
    let published = origin.names.publish(name(), hash, Duration::from_secs(3600), false);
    runtime.block_on(published).unwrap();
    let named = format!("/n/{}/site/index.html", origin.node);
    let page = [("Origin", "http://evil.example")];
    for fields in [page, [("Origin", "null")], [("Sec-Fetch-Site", "cross-site")]] {
        for path in [&elsewhere, &named] {
            assert_eq!(get(node.http, path, &fields).code, 404, "{path} {fields:?}");
        }
    }
    assert_eq!(node.counters.outcomes(origin.as_peer(1).node), PeerOutcomes::default());
    runtime.block_on(node.names.known(origin.node, name())).expect_err("it was not asked for");
    for fields in [[("Origin", "http://localhost")], [("Sec-Fetch-Site", "same-origin")]] {
        for path in [&elsewhere, &named] {
            assert_eq!(get(node.http, path, &fields).code, 200, "{path} {fields:?}");
        }
    }

    // A local object is sent; the browser withholds it from the page's scripts unless it is public.
    let listed = runtime.block_on(node.add(b"something"));
    let here = path(listed.hash);
    let tag = format!("\"{}\"", listed.hash.to_hex());
    let allowed = |fields: &[(&str, &str)], code| {
        let answer = get(node.http, &here, &[&page, fields].concat());
        assert_eq!(answer.code, code, "{fields:?}");
        let allowed = answer.header("access-control-allow-origin").to_owned();
        let exposed = answer.header("access-control-expose-headers").to_owned();
        assert_eq!(exposed.is_empty(), allowed.is_empty(), "{exposed}");
        allowed
    };
    let all = |expected: &str| {
        for (fields, code) in [
            (&[][..], 200),
            (&[("Range", "bytes=0-1")], 206),
            (&[("Range", "bytes=100-")], 416),
            (&[("If-None-Match", &tag)], 304),
        ] {
            assert_eq!(allowed(fields, code), expected, "{code}");
        }
    };
    let set = |is_public| runtime.block_on(node.objects.set_public(listed.hash, is_public));
    all("");
    assert!(set(true).unwrap());
    all("*");
    assert!(set(false).unwrap());
    all("");
    assert!(set(true).unwrap());
    // An operator who removes the object and adds it again has to make it public again.
    runtime.block_on(node.objects.remove(listed.hash)).unwrap();
    assert_eq!(allowed(&[], 410), "");
    assert!(!set(true).unwrap(), "it is not here");
    runtime.block_on(node.add(b"something"));
    all("");
}

#[test]
fn what_is_refused() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let listed = runtime.block_on(node.add(b"something"));
    let known = path(listed.hash);
    assert_eq!(get(node.http, &known, &[]).body, b"something");
    let unknown = format!("/b/{}", "0".repeat(64));
    let capitals = known.to_ascii_uppercase().replace("/B/", "/b/");
    for (method, path, code) in [
        ("GET", unknown.as_str(), 404),
        ("HEAD", &unknown, 404),
        ("GET", "/b/12", 400),
        ("GET", &format!("{known}0"), 400),
        ("GET", &capitals, 400),
        ("GET", "/b/../../etc/passwd", 400),
        ("GET", "/", 404),
        ("GET", "/b/", 404),
        ("PUT", &known, 405),
        ("POST", &known, 405),
        ("DELETE", &known, 405),
    ] {
        let answer = ask(node.http, method, path, &[]);
        assert_eq!(answer.code, code, "{method} {path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{method} {path}");
        assert_eq!(answer.body.is_empty(), method == "HEAD", "{method} {path}: why is said");
        if code == 405 {
            assert_eq!(answer.header("allow"), "GET,HEAD");
        }
    }
    assert_eq!(get(node.http, &known, &[]).body, b"something");
}
