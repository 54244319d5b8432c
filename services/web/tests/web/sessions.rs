//! Who gets in, and from where.

use std::time::Duration;

use crate::browser::{Browser, OWN_PAGE};
use crate::recorded::site;

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn a_link_begins_a_session_once() {
    let site = site();
    let link = site.link();
    let entered = site.stranger().get(&link);
    assert_eq!((entered.status, entered.header("location")), (303, Some("/")));
    let cookie = entered.header("set-cookie").unwrap();
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    assert_eq!(value.strip_prefix("octet=").unwrap().len(), 32);
    let browser = Browser { site: &site, cookie: Some(value.to_owned()) };
    assert_eq!(browser.get("/").status, 200);
    let again = site.stranger().get(&link);
    assert!(again.status == 403 && again.body.contains("press Enter"), "{again:?}");
    assert_eq!(again.header("set-cookie"), None);
}

#[test]
fn a_link_is_valid_for_five_minutes() {
    let site = site();
    for (minutes, status) in [(4, 303), (5, 403)] {
        let link = site.link();
        site.move_clock(Duration::from_secs(minutes * 60));
        assert_eq!(site.stranger().get(&link).status, status, "{minutes}");
    }
    let (old, new) = (site.link(), site.link());
    assert_eq!(site.stranger().get(&old).status, 403);
    assert_eq!(site.stranger().get(&new).status, 303);
    assert_eq!(site.stranger().get("/enter").status, 403);
}

#[test]
fn a_stranger_sees_nothing_of_the_box() {
    let site = site();
    let browser = site.browser();
    let wrong = Browser { site: &site, cookie: Some(format!("octet={}", "0".repeat(32))) };
    for path in [
        "/",
        "/node/1",
        "/node/1/unit/cache",
        "/segments",
        "/cache",
        "/update",
        "/events",
        "/update/events",
    ] {
        for stranger in [&site.stranger(), &wrong] {
            let refused = stranger.get(path);
            assert!(refused.status == 403 && refused.body.contains("octetctl web"), "{path}");
        }
        if !path.ends_with("events") {
            assert_eq!(browser.get(path).status, 200, "{path}");
        }
    }
    let token = browser.token("/node/1/unit/cache");
    let form = format!("token={token}&node=0&unit=cache&verb=stats");
    assert_eq!(site.stranger().post("/do", &form).status, 403);
    assert!(site.double.calls(0, "cache", "stats").len() == 1, "only `/cache` has called it");
    assert_eq!(browser.post("/do", &form).status, 200);
    // What everybody gets says nothing about the box.
    assert_eq!(
        (site.stranger().get("/style.css").status, site.stranger().get("/live.js").status),
        (200, 200)
    );
}

#[test]
fn a_session_ends_when_it_is_idle() {
    let site = site();
    let browser = site.browser();
    let almost = Duration::from_secs(29 * 60);
    for _ in 0..3 {
        site.move_clock(almost);
        assert_eq!(browser.get("/").status, 200);
    }
    site.move_clock(Duration::from_secs(30 * 60));
    assert_eq!(browser.get("/").status, 403);
    assert_eq!(site.browser().get("/").status, 200);
}

#[test]
fn a_page_of_another_name_is_refused() {
    let site = site();
    let browser = site.browser();
    let of = |host: &str| {
        let head = browser
            .head("GET", "/")
            .replace(&format!("Host: {}", site.host), &format!("Host: {host}"));
        site.raw(format!("{head}\r\n").as_bytes())
    };
    assert_eq!(of(&site.host).status, 200);
    let port = site.port;
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        &format!("127.0.0.1:{port}"),
        &format!("localhost:{port}"),
        "",
    ] {
        let refused = of(host);
        assert_eq!(refused.status, 421, "{host}");
        assert!(!refused.body.contains("board 1"), "{host}");
    }
}

#[test]
fn a_form_of_another_page_does_nothing() {
    let site = site();
    site.double.answer(1, "init", "restart", serde_json::json!({}));
    let browser = site.browser();
    let token = browser.token("/node/1/unit/cache");
    let body = |token: &str| format!("token={token}&node=1&unit=init&verb=restart&arg.unit=cache");
    let own = format!("Origin: http://{}\r\n", site.host);
    let calls = || site.double.calls(1, "init", "restart").len();
    for fields in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: null\r\nSec-Fetch-Site: cross-site\r\n",
        "",
        &format!("{own}Sec-Fetch-Site: cross-site\r\n"),
    ] {
        let refused = browser.post_with("/do", fields, FORM, body(&token).as_bytes());
        assert_eq!(refused.status, 403, "{fields}");
    }
    // Another session's token is none of this one.
    let other = site.browser().token("/node/1/unit/cache");
    for token in ["", "0", &other, &"0".repeat(32)] {
        assert_eq!(browser.post("/do", &body(token)).status, 403, "{token}");
    }
    assert_eq!(browser.post("/do", "node=1&unit=init&verb=restart&arg.unit=cache").status, 403);
    assert_eq!(calls(), 0);
    for fields in [&own, OWN_PAGE] {
        let done = browser.post_with("/do", fields, FORM, body(&token).as_bytes());
        assert_eq!(done.status, 200, "{fields}: {}", done.body);
    }
    assert_eq!(calls(), 2);
    // A request with GET changes nothing.
    assert_eq!(browser.get("/do").status, 405);
}

#[test]
fn every_response_forbids_frames_and_foreign_content() {
    let site = site();
    let browser = site.browser();
    for response in [
        browser.get("/"),
        browser.get("/nothing"),
        browser.get("/style.css"),
        browser.get("/live.js"),
        browser.get(&site.link()),
        site.stranger().get("/"),
        site.stranger().get("/enter?x"),
        browser.post("/do", ""),
    ] {
        let field = |name: &str| response.header(name).unwrap_or_default().to_owned();
        let policy = field("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(field(name), value, "{name}");
        }
    }
}
