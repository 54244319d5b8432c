//! One request upstream, however many wait; and bodies that do not come to their end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::stand::{Stand, head, ok, stand};
use crate::host::{bytes, until};
use crate::request::TIMEOUT;

/// A client that has read the answer up to the first byte of the body.
fn begin(stand: &Stand, path: &str, fields: &str) -> (TcpStream, Vec<u8>) {
    begin_at(stand.node.http, path, fields)
}

pub fn begin_at(at: SocketAddr, path: &str, fields: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(head("GET", path, fields).as_bytes()).unwrap();
    (stream, vec![])
}

pub fn read_to_body((stream, read): &mut (TcpStream, Vec<u8>)) {
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(read));
        read.push(byte[0]);
    }
    assert_eq!(stream.read(&mut byte).unwrap(), 1);
    read.push(byte[0]);
}

pub fn body_of((mut stream, mut read): (TcpStream, Vec<u8>)) -> Vec<u8> {
    let _ = stream.read_to_end(&mut read);
    // A connection that is cut may end before the head is sent.
    let end = read.windows(4).position(|it| it == b"\r\n\r\n");
    end.map(|end| read.split_off(end + 4)).unwrap_or_default()
}

#[test]
fn fifty_clients_and_one_request() {
    // All clients have one address here.
    let stand = super::stand::stand_with(crate::host::limits_for_many(), "");
    let body = bytes(3_000_000, 5);
    let whole = ok("Cache-Control: max-age=60\r\n", &body);
    let (start, rest) = whole.split_at(whole.len() - 1_000_000);
    let go = stand.web.answers_in_two(start.to_vec(), rest.to_vec());
    let mut clients: Vec<_> = (0..50).map(|_| begin(&stand, "/", "")).collect();
    // Each has its first byte before the last one was sent.
    clients.iter_mut().for_each(read_to_body);
    let mut part = begin(&stand, "/", "Range: bytes=1000-1999\r\n");
    read_to_body(&mut part);
    assert!(body_of(part) == body[1000..2000]);
    assert_eq!(stand.web.count(), 1);
    drop(go);
    for client in clients {
        assert!(body_of(client) == body);
    }
    stand.settled();
    assert_eq!((stand.web.count(), stand.objects()), (1, 1));
    assert!(stand.get("/", "").body == body);
    assert_eq!(stand.web.count(), 1);
}

#[test]
fn what_is_cut_off_is_not_stored() {
    let stand = stand("max_bytes = \"100K\"\n");
    let body = bytes(50_000, 6);
    let fields = "Cache-Control: max-age=60\r\n";
    let length = ok(fields, &body);
    let chunk = |end: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            body.len()
        );
        [head.as_bytes(), &body, b"\r\n", end].concat()
    };
    let open = [format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(), &body].concat();
    let large = bytes(150_000, 7);
    let large_chunk = [
        format!(
            "HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            large.len()
        )
        .as_bytes(),
        &large,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    for (path, response, is_stored) in [
        ("/length", length.clone(), true),
        ("/length-cut", length[..length.len() - 1].to_vec(), false),
        ("/chunked", chunk(b"0\r\n\r\n"), true),
        ("/chunked-cut", chunk(b""), false),
        ("/open", open, false),
        ("/large", ok(fields, &large), false),
        ("/large-chunked", large_chunk, false),
    ] {
        stand.web.answers(response);
        let mut client = begin(&stand, path, "");
        let _ = client.0.read_to_end(&mut client.1);
        stand.settled();
        let before = stand.web.count();
        let again = begin(&stand, path, "");
        let got = body_of(again);
        assert_eq!(stand.web.count() == before, is_stored, "{path}");
        assert!(!is_stored || got == body, "{path}");
    }
    // Two responses with the same body are one object.
    assert_eq!(stand.objects(), 1);
    let used = stand.node.objects.policy().usage().used;
    assert_eq!(used, octet_cache::policy::cost(body.len() as u64));
}

#[test]
fn a_private_response_is_for_one_client() {
    let stand = stand("");
    stand.web.answers(ok("Cache-Control: max-age=60\r\nSet-Cookie: a=1\r\n", b"mine"));
    let clients: Vec<_> = (0..8).map(|_| begin(&stand, "/", "")).collect();
    for client in clients {
        assert_eq!(body_of(client), b"mine");
    }
    assert_eq!((stand.web.count(), stand.objects()), (8, 0));
}

#[test]
fn a_purge_forgets_also_what_arrives() {
    let stand = stand("");
    let front = stand.node.gateway.state.as_ref().unwrap().origins.clone();
    let purge = |what: &str| {
        let purged = stand.runtime.block_on(front.purge(what)).unwrap();
        purged.map(|it| it.keys)
    };
    stand.web.answers(ok("Cache-Control: max-age=60\r\n", b"body"));
    let url = "http://web.octet.internal:8080/a?b";
    for (what, path, purged) in
        [(url, "/a?b", 1), ("web", "/a?b", 1), ("http://web.octet.internal/x", "/a?b", 0)]
    {
        stand.get(path, "");
        stand.settled();
        let before = stand.web.count();
        stand.get(path, "");
        assert_eq!(stand.web.count(), before);
        assert_eq!(purge(what), Some(purged), "{what}");
        stand.get(path, "");
        assert_eq!(stand.web.count() - before, purged as usize, "{what}");
        stand.settled();
    }
    assert_eq!(purge("other"), None);
    let whole = ok("Cache-Control: max-age=60\r\n", &bytes(100_000, 8));
    let go = stand.web.answers_in_two(whole[..50_000].to_vec(), whole[50_000..].to_vec());
    let mut client = begin(&stand, "/c", "");
    read_to_body(&mut client);
    purge("web").unwrap();
    drop(go);
    assert_eq!(body_of(client).len(), 100_000);
    stand.settled();
    let before = stand.web.count();
    stand.web.answers(whole);
    stand.get("/c", "");
    stand.runtime.block_on(until("it is asked", || stand.web.count() == before + 1));
}
