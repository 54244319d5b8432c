//! RFC 9111 by a table: a response is stored, and asked for again.

use std::time::{Duration, SystemTime};

use super::stand::{ok, stand, status};

fn date(ago: u64) -> String {
    let time = SystemTime::now() - Duration::from_secs(ago);
    httpdate::fmt_http_date(time)
}

#[test]
fn a_table() {
    let ago = |seconds: u64| format!("Date: {}\r\n", date(seconds));
    // The response's fields, those of the second request, and whether the origin is not asked again.
    let table: Vec<(String, &str, bool)> = vec![
        ("Cache-Control: max-age=60\r\n".into(), "", true),
        ("Cache-Control: max-age=0\r\nETag: \"a\"\r\n".into(), "", false),
        ("Cache-Control: max-age=0, s-maxage=60\r\n".into(), "", true),
        ("Cache-Control: max-age=60, s-maxage=0\r\nETag: \"a\"\r\n".into(), "", false),
        ("Cache-Control: no-cache, max-age=60\r\nETag: \"a\"\r\n".into(), "", false),
        (
            "Cache-Control: no-cache, max-age=60\r\nETag: \"a\"\r\n".into(),
            "Cache-Control: max-stale\r\n",
            false,
        ),
        ("Cache-Control: no-store, max-age=60\r\n".into(), "", false),
        ("Cache-Control: private, max-age=60\r\n".into(), "", false),
        ("Cache-Control: public, max-age=60\r\n".into(), "", true),
        ("Cache-Control: max-age=60, must-revalidate\r\n".into(), "", true),
        (format!("{}Expires: {}\r\n", ago(0), date(0)), "", false),
        (format!("{}Expires: Thu, 01 Jan 2099 00:00:00 GMT\r\n", ago(0)), "", true),
        ("Expires: 0\r\nETag: \"a\"\r\n".into(), "", false),
        ("Cache-Control: max-age=60\r\nExpires: 0\r\n".into(), "", true),
        ("Cache-Control: max-age=60\r\nAge: 59\r\n".into(), "", true),
        ("Cache-Control: max-age=60\r\nAge: 60\r\nETag: \"a\"\r\n".into(), "", false),
        // The age by its date.
        (format!("Cache-Control: max-age=60\r\n{}ETag: \"a\"\r\n", ago(100)), "", false),
        (format!("Cache-Control: max-age=200\r\n{}", ago(100)), "", true),
        // A tenth of the time since it was changed.
        (format!("{}Last-Modified: {}\r\n", ago(0), date(100_000)), "", true),
        (format!("{}Last-Modified: {}\r\n", ago(0), date(0)), "", false),
        (String::new(), "", false),
        // What the client wants.
        ("Cache-Control: max-age=60\r\n".into(), "Cache-Control: no-cache\r\n", false),
        ("Cache-Control: max-age=60\r\n".into(), "Pragma: no-cache\r\n", false),
        ("Cache-Control: max-age=60\r\nAge: 30\r\n".into(), "Cache-Control: max-age=10\r\n", false),
        ("Cache-Control: max-age=60\r\nAge: 30\r\n".into(), "Cache-Control: max-age=50\r\n", true),
        (
            "Cache-Control: max-age=60\r\nAge: 30\r\n".into(),
            "Cache-Control: min-fresh=50\r\n",
            false,
        ),
        (
            "Cache-Control: max-age=60\r\nAge: 30\r\n".into(),
            "Cache-Control: min-fresh=10\r\n",
            true,
        ),
        (
            "Cache-Control: max-age=0\r\nETag: \"a\"\r\n".into(),
            "Cache-Control: max-stale=1000\r\n",
            true,
        ),
        (
            "Cache-Control: max-age=0, must-revalidate\r\nETag: \"a\"\r\n".into(),
            "Cache-Control: max-stale=1000\r\n",
            false,
        ),
        ("Cache-Control: max-age=60\r\n".into(), "Cache-Control: no-store\r\n", false),
        // Vary.
        ("Cache-Control: max-age=60\r\nVary: Accept\r\n".into(), "", true),
        ("Cache-Control: max-age=60\r\nVary: Accept\r\n".into(), "Accept: text/html\r\n", false),
        ("Cache-Control: max-age=60\r\n".into(), "Accept: text/html\r\n", true),
        ("Cache-Control: max-age=60\r\nVary: User-Agent\r\n".into(), "User-Agent: x\r\n", true),
        ("Cache-Control: max-age=60\r\nVary: *\r\n".into(), "", false),
    ];
    let stand = stand("");
    for (number, (fields, second, is_hit)) in table.into_iter().enumerate() {
        let (path, body) = (format!("/{number}"), format!("body {number}"));
        stand.web.answers(ok(&fields, body.as_bytes()));
        let first = stand.get(&path, "");
        assert_eq!((first.code, first.text()), (200, body.clone()), "{fields}");
        assert!(status(&first).starts_with("octet; fwd=uri-miss"), "{first:?}");
        stand.settled();
        let before = stand.web.count();
        let again = stand.get(&path, second);
        assert_eq!((again.code, again.text()), (200, body), "{fields} {second}");
        assert_eq!(stand.web.count() == before, is_hit, "{fields} {second} {again:?}");
        assert_eq!(status(&again).starts_with("octet; hit"), is_hit, "{again:?}");
        assert!(!is_hit || !again.header("age").is_empty(), "{again:?}");
        // What is in memory now is answered as what was not.
        if is_hit {
            let third = stand.get(&path, second);
            assert_eq!((third.code, third.text()), (200, format!("body {number}")), "{fields}");
            assert_eq!(stand.web.count(), before, "{fields} {second} {third:?}");
            assert!(status(&third).starts_with("octet; hit"), "{third:?}");
        }
    }
}

#[test]
fn only_if_cached_asks_nobody() {
    let stand = stand("");
    stand.web.answers(ok("Cache-Control: max-age=60\r\n", b"hi"));
    let asked = "Cache-Control: only-if-cached\r\n";
    assert_eq!((stand.get("/", asked).code, stand.web.count()), (504, 0));
    stand.get("/", "");
    stand.settled();
    assert_eq!((stand.get("/", asked).code, stand.web.count()), (200, 1));
}

#[test]
fn a_304_updates_what_is_stored() {
    let stand = stand("");
    stand.web.answers(ok(
        "Cache-Control: max-age=0\r\nETag: \"a\"\r\nX-Version: 1\r\nContent-Type: text/css\r\n",
        b"body",
    ));
    stand.get("/", "");
    stand.settled();
    stand.web.answers("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\nX-Version: 2\r\n\r\n");
    let validated = stand.get("/", "");
    assert_eq!((validated.code, validated.text().as_str()), (200, "body"));
    assert_eq!(status(&validated), "octet; fwd=stale; fwd-status=304");
    assert!(stand.web.last().contains("if-none-match: \"a\""), "{}", stand.web.last());
    assert_eq!(
        (validated.header("x-version"), validated.header("content-type")),
        ("2", "text/css")
    );
    // It is fresh now.
    stand.settled();
    assert!(status(&stand.get("/", "")).starts_with("octet; hit"));
    assert_eq!(stand.web.count(), 2);
    // Another version replaces it.
    stand.web.answers(ok("Cache-Control: max-age=60\r\nETag: \"b\"\r\n", b"other"));
    assert_eq!(stand.get("/", "Cache-Control: no-cache\r\n").text(), "other");
    stand.settled();
    let hit = stand.get("/", "");
    assert!(hit.text() == "other" && status(&hit).contains("hit"), "{hit:?}");
}

#[test]
fn conditions_ranges_and_heads_of_what_is_stored() {
    let stand = stand("");
    let body: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let modified = "Last-Modified: Sat, 29 Oct 1994 19:43:31 GMT\r\n";
    stand
        .web
        .answers(ok(&format!("Cache-Control: max-age=60\r\nETag: \"a\"\r\n{modified}"), &body));
    // A range of what is not stored: all of it is fetched.
    let part = stand.get("/", "Range: bytes=5-9\r\n");
    assert_eq!((part.code, &part.body[..]), (206, &body[5..10]));
    assert!(!stand.web.last().contains("range"), "{}", stand.web.last());
    stand.settled();
    for (fields, code, expected) in [
        ("", 200, &body[..]),
        ("Range: bytes=70000-399999\r\n", 206, &body[70_000..]),
        ("Range: bytes=-3\r\n", 206, &body[399_997..]),
        ("Range: bytes=0-1\r\nIf-Range: \"a\"\r\n", 206, &body[..2]),
        ("Range: bytes=0-1\r\nIf-Range: \"b\"\r\n", 200, &body[..]),
        ("If-None-Match: \"a\"\r\n", 304, &[]),
        ("If-None-Match: W/\"a\"\r\n", 304, &[]),
        ("If-None-Match: \"b\"\r\n", 200, &body[..]),
        ("If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT\r\n", 304, &[]),
        ("If-Modified-Since: Sat, 29 Oct 1994 19:43:30 GMT\r\n", 200, &body[..]),
    ] {
        let answer = stand.get("/", fields);
        assert_eq!(answer.code, code, "{fields}");
        assert!(answer.body == expected, "{fields}");
        assert!(status(&answer).starts_with("octet; hit"), "{fields}");
    }
    let none = stand.get("/", "Range: bytes=400000-\r\n");
    assert_eq!((none.code, none.header("content-range")), (416, "bytes */400000"));
    let several = stand.get("/", "Range: bytes=0-0,9-9\r\n");
    assert!(
        several.code == 206 && several.header("content-type").starts_with("multipart/byteranges")
    );
    let head = stand.ask("HEAD", "/", "");
    assert_eq!((head.code, head.header("content-length"), head.body.len()), (200, "400000", 0));
    assert!(status(&head).starts_with("octet; hit"));
    assert_eq!(stand.web.count(), 1);
}
