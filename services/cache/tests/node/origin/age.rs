//! An origin that is dead: RFC 5861.

use super::stand::{ok, stand, status};

#[test]
fn a_dead_origin_is_served_for_a_while() {
    // The age that the origin says stands for the time that passes.
    let stand = stand("stale_if_error_seconds = 100\n");
    let response = |age: u64, more: &str| {
        ok(&format!("Cache-Control: max-age=10{more}\r\nETag: \"a\"\r\nAge: {age}\r\n"), b"body")
    };
    for (path, age, more, code) in [
        ("/1", 10, "", 200),
        ("/2", 50, ", stale-if-error=1000", 200),
        ("/3", 10, ", stale-if-error=0", 502),
        ("/4", 10, ", must-revalidate", 502),
        ("/5", 10, ", proxy-revalidate", 502),
        ("/6", 500, "", 502),
    ] {
        stand.web.answers(response(age, more));
        assert_eq!(stand.get(path, "").code, 200);
        stand.settled();
        stand.web.dies();
        let answer = stand.get(path, "");
        assert_eq!(answer.code, code, "{path} {answer:?}");
        if code == 200 {
            assert_eq!(answer.text(), "body");
            assert_eq!(status(&answer), "octet; fwd=stale; fwd-status=502; detail=stale-if-error");
        }
        // An error of the origin itself is the same.
        stand.web.answers("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
        let answer = stand.get(path, "");
        assert_eq!(answer.code, if code == 200 { 200 } else { 503 }, "{path}");
        // It is back.
        stand.web.answers(response(0, ""));
        assert_eq!(stand.get(path, "").code, 200);
    }
    // What was never stored is an error.
    stand.web.dies();
    assert_eq!(stand.get("/7", "").code, 502);
}

#[test]
fn what_is_stale_is_served_and_validated_meanwhile() {
    let stand = stand("");
    let response = |value: &str, more: &str| {
        ok(
            &format!("Cache-Control: max-age=10{more}\r\nAge: 10\r\nETag: \"{value}\"\r\n"),
            value.as_bytes(),
        )
    };
    stand.web.answers(response("a", ", stale-while-revalidate=100"));
    stand.get("/", "");
    stand.settled();
    stand.web.answers(ok("Cache-Control: max-age=60\r\n", b"b"));
    let stale = stand.get("/", "");
    assert!(stale.text() == "a" && status(&stale).starts_with("octet; hit; ttl="), "{stale:?}");
    let counted = || stand.web.count() == 2;
    stand.runtime.block_on(crate::host::until("it is validated", counted));
    stand.settled();
    assert_eq!((stand.get("/", "").text().as_str(), stand.web.count()), ("b", 2));
    // Without the directive the origin is asked first.
    stand.web.answers(response("a", ""));
    stand.get("/other", "");
    stand.settled();
    stand.web.answers(ok("Cache-Control: max-age=60\r\n", b"b"));
    assert_eq!(stand.get("/other", "").text(), "b");
}

#[test]
fn a_silent_origin_is_a_dead_one() {
    let stand = stand("max_seconds = 1\nstale_if_error_seconds = 100\n");
    stand.web.answers(ok("Cache-Control: max-age=10\r\nETag: \"a\"\r\nAge: 10\r\n", b"body"));
    assert_eq!(stand.get("/", "").code, 200);
    stand.settled();
    // The connections stay open.
    let mut kept = vec![];
    stand.web.does(move |stream| kept.push(stream.try_clone().unwrap()));
    let stale = stand.get("/", "");
    assert_eq!((stale.code, stale.text().as_str()), (200, "body"));
    assert_eq!(status(&stale), "octet; fwd=stale; fwd-status=504; detail=stale-if-error");
    let late = stand.get("/other", "");
    assert!(late.code == 504 && late.text().contains("http_response_timeout"), "{late:?}");
}
