//! Limits, each beside what is accepted on the same set-up.

use std::io::Write;

use crate::host::{ALLOW, TestUpstream, serving, unit, unit_with, upstream};

fn http(upstream: &TestUpstream) -> String {
    format!("http://{}", upstream.address)
}

fn answer(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")
}

#[test]
fn a_body_has_a_limit() {
    let lines = format!("{ALLOW}max_bytes = \"10\"\n");
    for (fields, body, is_accepted) in [
        ("Content-Length: 10\r\n", "0123456789", true),
        ("Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n0\r\n\r\n", true),
    ] {
        let web = upstream(answer(fields, body));
        let whole = unit(&http(&web), &lines).get("/", "");
        assert!(whole.code() == 200 && whole.is_whole == is_accepted, "{whole:?}");
    }
    let web = upstream(answer("Content-Length: 11\r\n", "0123456789a"));
    let known = unit(&http(&web), &lines).get("/", "");
    assert_eq!((known.code(), known.error()), (502, "http_response_body_size"));
    let web = upstream(answer("Transfer-Encoding: chunked\r\n", "b\r\n0123456789a\r\n0\r\n\r\n"));
    let unit = unit(&http(&web), &lines);
    let cut = unit.exchange("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
    assert!(!cut.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&cut));
}

#[test]
fn a_head_has_a_limit() {
    let head =
        |length: usize| answer(&format!("Content-Length: 0\r\nX: {}\r\n", "x".repeat(length)), "");
    let lines = format!("{ALLOW}max_header_bytes = 8192\n");
    let small = upstream(head(7000));
    assert_eq!(unit(&http(&small), &lines).get("/", "").code(), 200);
    let large = upstream(head(9000));
    let refused = unit(&http(&large), &lines).get("/", "");
    assert_eq!((refused.code(), refused.error()), (502, "http_response_header_section_size"));
    assert_eq!(unit(&http(&large), ALLOW).get("/", "").code(), 200);
}

#[test]
fn silence_has_a_limit() {
    let lines = format!("{ALLOW}max_seconds = 1\n");
    let quick = upstream(answer("Content-Length: 2\r\n", "hi"));
    assert_eq!(unit(&http(&quick), &lines).get("/", "").code(), 200);
    // The connections stay open.
    let mut kept = vec![];
    let silent = serving(move |stream| kept.push(stream.try_clone().unwrap()));
    let late = unit(&http(&silent), &lines).get("/", "");
    assert_eq!((late.code(), late.error()), (504, "http_response_timeout"));
    let mut kept = vec![];
    let stuck = serving(move |stream| {
        stream.write_all(answer("Content-Length: 9\r\n", "hi").as_bytes()).unwrap();
        kept.push(stream.try_clone().unwrap());
    });
    let late = unit(&http(&stuck), &lines).get("/", "");
    assert!(late.code() == 200 && !late.is_whole && late.body == b"hi", "{late:?}");
}

#[test]
fn what_is_cut_off_is_told() {
    let cut = upstream(answer("Content-Length: 9\r\n", "hi"));
    let got = unit(&http(&cut), ALLOW).get("/", "");
    assert!(got.code() == 200 && !got.is_whole, "{got:?}");
    // A body that ends with the connection may be cut off or not.
    let open = upstream(answer("", "hi"));
    let got = unit(&http(&open), ALLOW).get("/", "");
    assert!(got.head.contains("octet-unverified-end"), "{got:?}");
    let framed = upstream(answer("Content-Length: 2\r\nOctet-Unverified-End: ?1\r\n", "hi"));
    let got = unit(&http(&framed), ALLOW).get("/", "");
    assert!(!got.head.contains("octet-unverified-end") && got.is_whole, "{got:?}");
}

#[test]
fn nobody_else_fetches() {
    let web = upstream(answer("Content-Length: 2\r\n", "hi"));
    let own = rustix::process::geteuid().as_raw();
    let request = "GET / HTTP/1.1\r\nHost: web\r\n\r\n";
    assert!(!unit_with(&http(&web), ALLOW, true, own).exchange(request).is_empty());
    assert!(unit_with(&http(&web), ALLOW, true, own + 1).exchange(request).is_empty());
    let unit = unit(&http(&web), ALLOW);
    assert_eq!(unit.ask("POST", "/", "Content-Length: 0\r\n").code(), 405);
    let other = unit.exchange("GET / HTTP/1.1\r\nHost: other\r\n\r\n");
    assert!(other.starts_with(b"HTTP/1.1 421"), "{}", String::from_utf8_lossy(&other));
}

#[test]
fn without_the_time_https_fails() {
    let web = upstream("");
    let own = rustix::process::geteuid().as_raw();
    let https = format!("https://{}", web.address);
    let untimed = unit_with(&https, ALLOW, false, own).get("/", "");
    assert_eq!((untimed.code(), untimed.error()), (502, "tls_certificate_error"));
    assert!(String::from_utf8_lossy(&untimed.body).contains("clock"), "{untimed:?}");
    assert!(web.heads.try_recv().is_err());
    // Plain HTTP needs no time.
    let plain = upstream(answer("Content-Length: 2\r\n", "hi"));
    assert_eq!(unit_with(&http(&plain), ALLOW, false, own).get("/", "").code(), 200);
}

#[test]
fn no_connection_is_an_error() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = unit(&format!("http://{gone}"), ALLOW).get("/", "");
    assert_eq!((refused.code(), refused.error()), (502, "connection_refused"));
}
