//! How long a connection waits for the head of a request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use octet_cache::limits::CacheLimits;
use octet_cache::names::now;

use crate::host::{Node, limits, path, runtime};
use crate::request::TIMEOUT;

/// The timeout of a head here. Nothing is measured by it: a slow machine waits longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// A head that does not come to its end, the next one that does not come, and one after an answer: the connection ends.
/// A request that takes longer than a head may is answered.
#[test]
fn a_head_is_waited_for_and_a_request_takes_its_time() {
    let runtime = runtime();
    let limits = CacheLimits { header_timeout: HEAD_TIMEOUT, ..limits() };
    let node = runtime.block_on(Node::start(limits));
    let at = path(runtime.block_on(node.add(b"something")).hash);
    let connect = || {
        let stream = TcpStream::connect(node.http).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    };
    let whole = format!("GET {at} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let start = "GET / HTTP/1.1\r\nHost: loc";
    for (sent, answers) in [
        (String::new(), 0),
        (start.to_owned(), 0),
        (whole.clone(), 1),
        (whole.repeat(3), 3),
        (format!("{whole}{start}"), 1),
    ] {
        let mut stream = connect();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut came = String::new();
        stream.read_to_string(&mut came).expect("late: the connection does not end");
        assert_eq!(came.matches("HTTP/1.1 200 OK").count(), answers, "{sent:?}: {came}");
        assert_eq!(came.matches("HTTP/1.1").count(), answers, "{sent:?}: {came}");
    }

    let token = node.tokens.make(100, now() + 1000);
    let mut stream = connect();
    let head = "PUT /b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5\r\n";
    stream.write_all(format!("{head}Authorization: Bearer {token}\r\n\r\nab").as_bytes()).unwrap();
    sleep(3 * HEAD_TIMEOUT);
    stream.write_all(b"cde").unwrap();
    let mut came = String::new();
    stream.read_to_string(&mut came).expect("late: no answer");
    assert!(came.starts_with("HTTP/1.1 201 "), "{came}");
}
