//! What goes up, and what comes back.

use crate::host::{ALLOW, unit, upstream};

#[test]
fn listed_headers_go_up_and_no_others() {
    let web = upstream("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let url = format!("http://{}", web.address);
    let fields = "Accept: text/html\r\nAccept-Language: de\r\nX-Secret: 1\r\nCookie: a=1\r\nUser-Agent: x\r\nReferer: http://y\r\nConnection: close, X-Other\r\nX-Other: 1\r\nAuthorization: Basic eA==\r\nRange: bytes=0-1\r\nX-Forwarded-For: 192.0.2.1\r\n";
    unit(&url, ALLOW).get("/a%20b?c=d&e", fields);
    let head = web.heads.recv().unwrap();
    let mut lines: Vec<String> = head.trim_end().lines().map(str::to_ascii_lowercase).collect();
    lines.sort();
    let host = format!("host: {}", web.address);
    let mut expected = vec![
        "get /a%20b?c=d&e http/1.1",
        "accept-encoding: identity",
        "accept-language: de",
        "accept: text/html",
        "authorization: basic ea==",
        "range: bytes=0-1",
        &host,
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let lines = format!("{ALLOW}cookies = [\"a\"]\nheaders = [\"X-Secret\"]\n");
    unit(&url, &lines).get("/", fields);
    let head = web.heads.recv().unwrap().to_ascii_lowercase();
    assert!(head.contains("cookie: a=1") && head.contains("x-secret: 1"), "{head}");
    assert!(!head.contains("accept: ") && !head.contains("user-agent"), "{head}");
}

#[test]
fn redirects_are_passed_on() {
    let other = upstream("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let web = upstream(format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/x\r\nConnection: X-Gone\r\nX-Gone: 1\r\nKeep-Alive: timeout=1\r\nProxy-Status: me; error=dns_error\r\nX-Stays: 1\r\nContent-Length: 0\r\n\r\n",
        other.address
    ));
    let got = unit(&format!("http://{}", web.address), ALLOW).get("/", "");
    assert_eq!(got.code(), 302);
    assert!(got.head.contains(&format!("location: http://{}/x", other.address)), "{got:?}");
    assert!(got.head.contains("x-stays") && !got.head.contains("x-gone"), "{got:?}");
    assert!(!got.head.contains("keep-alive") && got.error().is_empty(), "{got:?}");
    assert!(other.heads.try_recv().is_err());
}

#[test]
fn a_head_has_no_body() {
    let web = upstream("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
    let lines = format!("{ALLOW}max_bytes = \"10\"\n");
    let got = unit(&format!("http://{}", web.address), &lines).ask("HEAD", "/", "");
    assert_eq!((got.code(), got.body.len()), (200, 0));
    assert!(got.head.contains("content-length: 5000"), "{got:?}");
}
