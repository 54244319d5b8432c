//! What is never stored, each beside what is; and what the origin and the client see of each other.

use super::stand::{ok, stand, status};

/// Asks twice with `fields`. Returns how often the origin was asked, and how many objects there are.
fn twice(response: &str, fields: &str, lines: &str) -> (usize, usize) {
    let stand = stand(lines);
    stand.web.answers(ok(response, b"body"));
    for _ in 0..2 {
        let answer = stand.get("/", fields);
        assert_eq!((answer.code, answer.text().as_str()), (200, "body"));
        stand.settled();
    }
    (stand.web.count(), stand.objects())
}

#[test]
fn what_is_not_stored() {
    let cached = "Cache-Control: max-age=60\r\n";
    assert_eq!(twice(cached, "", ""), (1, 1));
    for refused in [
        "Cache-Control: max-age=60, private\r\n",
        "Cache-Control: max-age=60, no-store\r\n",
        "Cache-Control: max-age=60\r\nSet-Cookie: a=1\r\n",
        "Cache-Control: public, max-age=60\r\nSet-Cookie: a=1\r\n",
        "Cache-Control: max-age=60\r\nVary: Accept, *\r\n",
    ] {
        assert_eq!(twice(refused, "", ""), (2, 0), "{refused}");
    }
    assert_eq!(twice(cached, "Authorization: Basic eA==\r\n", ""), (2, 0));
    assert_eq!(
        twice("Cache-Control: public, max-age=60\r\n", "Authorization: Basic eA==\r\n", ""),
        (2, 0)
    );
    // A cookie that is not listed is dropped, and the cache is used.
    assert_eq!(twice(cached, "Cookie: a=1\r\n", ""), (1, 1));
    assert_eq!(twice(cached, "Cookie: a=1\r\n", "cookies = [\"a\"]"), (2, 0));
    assert_eq!(twice(cached, "Cookie: b=1\r\n", "cookies = [\"a\"]"), (1, 1));
}

#[test]
fn what_is_in_memory_is_not_for_who_asks_for_oneself() {
    let stand = stand("cookies = [\"a\"]\n");
    stand.web.answers(ok("Cache-Control: max-age=60\r\nETag: \"t\"\r\n", b"body"));
    let is_asked = |fields: &str| {
        let before = stand.web.count();
        let answer = stand.get("/", fields);
        assert_eq!((answer.code, answer.text().as_str()), (200, "body"), "{fields}");
        stand.settled();
        stand.web.count() > before
    };
    assert_eq!([is_asked(""), is_asked(""), is_asked("")], [true, false, false]);
    for fields in [
        "Authorization: Basic eA==\r\n",
        "Cookie: a=1\r\n",
        "If-Match: \"t\"\r\n",
        "Cache-Control: no-store\r\n",
        "Cache-Control: no-cache\r\n",
        "Pragma: no-cache\r\n",
        "Cache-Control: max-age=0\r\n",
    ] {
        assert!(is_asked(fields), "{fields}");
        assert!(!is_asked("") && !is_asked("Cookie: b=1\r\n"), "after {fields}");
    }
    assert_eq!(stand.ask("POST", "/", "").code, 405);
}

#[test]
fn what_goes_up_and_comes_back() {
    let stand = stand("cookies = [\"a\"]\n");
    stand.web.answers(ok("Set-Cookie: s=1; Domain=octet.internal; Path=/\r\nContent-Security-Policy: default-src 'self'\r\nContent-Type: text/html\r\n", b"page"));
    let answer = stand.get("/x/../a%7e?b=%c3", "Cookie: a=1; b=2\r\nAuthorization: Basic eA==\r\nX-Secret: 1\r\nAccept: text/html\r\nUser-Agent: me\r\n");
    let head = stand.web.last();
    assert!(head.starts_with("get /a~?b=%c3 http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: 127.0.0.1:{}\r\n", stand.web.port)), "{head}");
    assert!(head.contains("cookie: a=1\r\n") && head.contains("authorization: basic"), "{head}");
    assert!(!head.contains("x-secret") && !head.contains("user-agent"), "{head}");
    assert_eq!(answer.header("set-cookie"), "s=1; Path=/");
    assert_eq!(answer.header("content-security-policy"), "default-src 'self'");
    assert_eq!(status(&answer), "octet; fwd=bypass; fwd-status=200");
    // Without anything of its own.
    stand.get("/", "Cookie: b=2\r\n");
    assert!(!stand.web.last().contains("cookie"), "{}", stand.web.last());
}

#[test]
fn redirects_are_passed_on() {
    let stand = stand("");
    stand.web.answers(
        "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n",
    );
    let answer = stand.get("/", "");
    assert_eq!((answer.code, answer.header("location")), (302, "http://elsewhere.example/"));
    assert_eq!(stand.web.count(), 1);
}

#[test]
fn only_the_origins_host_is_the_origin() {
    let stand = stand("");
    stand.web.answers(ok("Cache-Control: max-age=60\r\n", b"page"));
    let ask = |host: &str, path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        crate::request::say(stand.node.http, &head)
    };
    for host in ["web.octet.internal", "WEB.octet.internal:8080", "web.octet.internal."] {
        assert_eq!(ask(host, "/").text(), "page", "{host}");
    }
    assert_eq!(ask("web.other.internal", "/").code, 404);
    assert_eq!(ask("web.example", "/").code, 421);
    assert_eq!(ask("10.20.1.2", "/").code, 404);
    // Objects are not there, and pages not at the node's own names.
    let object = stand.runtime.block_on(stand.node.add(b"object")).hash;
    assert_eq!(ask("10.20.1.2", &crate::host::path(object)).text(), "object");
    assert_eq!(ask("web.octet.internal", &crate::host::path(object)).text(), "page");
    assert_eq!(ask("web.octet.internal", "http://10.20.1.2/").code, 404);
    assert_eq!(stand.ask("POST", "/", "Content-Length: 0\r\n").code, 405);
    assert_eq!(stand.get("/%zz", "").code, 400);
}
