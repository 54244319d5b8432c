//! What is too large, too slow or too much.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use octet_web::WebLimits;

use crate::browser::{OWN_PAGE, Site};
use crate::recorded::{double, site};

#[test]
fn long_heads_and_bodies_are_refused() {
    let site = site();
    let browser = site.browser();
    let with_field = |length: usize| {
        let field = format!("X-Long: {}\r\n", "a".repeat(length));
        site.raw(format!("{}{field}\r\n", browser.head("GET", "/")).as_bytes()).status
    };
    assert_eq!((with_field(8 << 10), with_field(20 << 10)), (200, 431));
    let token = browser.token("/node/1/unit/cache");
    let form = |length: usize| {
        let form =
            format!("token={token}&node=0&unit=cache&verb=stats&more={}", "a".repeat(length));
        browser.post("/do", &form).status
    };
    assert_eq!((form(15 << 10), form(17 << 10), form(1 << 20)), (200, 413, 413));
    // A body whose length is not stated.
    let chunked = |length: usize| {
        let form =
            format!("token={token}&node=0&unit=cache&verb=stats&more={}", "a".repeat(length));
        let head = browser.head("POST", "/do");
        let length = form.len();
        let body = format!(
            "{head}{OWN_PAGE}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{form}\r\n0\r\n\r\n"
        );
        site.raw(body.as_bytes()).status
    };
    assert_eq!((chunked(15 << 10), chunked(17 << 10)), (200, 413));
}

#[test]
fn an_incomplete_head_ends_the_connection() {
    let limits = WebLimits { head_timeout: Duration::from_secs(3), ..WebLimits::default() };
    let site = Site::start(double(), limits);
    let browser = site.browser();
    let head = browser.head("GET", "/style.css");
    let mut slow = site.connect();
    slow.write_all(head.as_bytes()).unwrap();
    let mut silent = site.connect();
    // It ends without the answer that a whole head gets.
    let mut answer = String::new();
    let _ = slow.read_to_string(&mut answer);
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    // So does one without a request.
    answer.clear();
    let _ = silent.read_to_string(&mut answer);
    assert_eq!(answer, "");
    assert_eq!(site.raw(format!("{head}\r\n").as_bytes()).status, 200);
}

#[test]
fn connections_are_counted() {
    let site = Site::start(double(), WebLimits { connections: 2, ..WebLimits::default() });
    let browser = site.browser();
    let request = browser.head("GET", "/style.css").replace("Connection: close\r\n", "") + "\r\n";
    let open = || {
        let mut stream = site.connect();
        let _ = stream.write_all(request.as_bytes());
        let mut first = [0; 12];
        stream.read_exact(&mut first).is_ok().then_some(stream)
    };
    // The connection of the browser above may still be closing.
    let (mut first, mut second) = (None, None);
    while first.is_none() {
        first = open();
    }
    while second.is_none() {
        second = open();
    }
    assert!(open().is_none());
    drop(first);
    let mut third = None;
    while third.is_none() {
        third = open();
    }
}

#[test]
fn the_other_loopback_address_is_held() {
    let site = site();
    match TcpListener::bind(("::1", 0)) {
        Ok(_) => assert!(TcpListener::bind(("::1", site.port)).is_err()),
        Err(error) => println!("this machine has no IPv6: {error}"),
    }
    assert!(TcpListener::bind(("127.0.0.1", site.port)).is_err());
    assert_eq!(site.browser().get("/").status, 200);
}
