//! Updates from the browser.

use octet_web::WebLimits;
use serde_json::json;

use crate::browser::{Browser, OWN_PAGE, Response, Site};
use crate::double::{Recorded, failure};
use crate::recorded::{double, site};

fn form(token: &str, file: &[u8]) -> Vec<u8> {
    let field = |name: &str, value: &str| {
        format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let head = "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"octet.update\"\r\n\
                Content-Type: application/octet-stream\r\n\r\n";
    let fields = field("token", token) + &field("node", "0") + head;
    [fields.as_bytes(), file, b"\r\n--xyz--\r\n"].concat()
}

fn upload(browser: &Browser<'_>, token: &str, file: &[u8]) -> Response {
    let kind = "multipart/form-data; boundary=xyz";
    browser.post_with("/update/install", OWN_PAGE, kind, &form(token, file))
}

/// Follows the installation to its end.
fn follow(browser: &Browser<'_>) -> String {
    let mut events = browser.events("/update/events");
    let mut last = String::new();
    while let Some(shown) = events.next("install") {
        last = shown;
    }
    last
}

#[test]
fn an_update_is_sent_and_installed() {
    let site = site();
    let browser = site.browser();
    let token = browser.token("/update");
    let done = json!({ "slot": "2-def", "sequence": 2, "next": "`reboot` tries it" });
    site.double.record(
        0,
        "update",
        "install",
        Recorded { items: vec![json!({ "step": "kernel" })], end: Ok(done) },
    );
    let file: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    site.double.set_uploads_wait(true);
    let response = upload(&browser, &token, &file);
    assert_eq!(
        (response.status, response.header("location")),
        (303, Some("/update")),
        "{}",
        response.body
    );
    site.double.wait_for_upload();
    // Without a script the page is loaded again while it runs, and there is one at a time.
    let page = browser.get("/update").body;
    assert!(
        page.contains("http-equiv=\"refresh\" content=\"2\"") && page.contains("<progress"),
        "{page}"
    );
    assert!(page.contains("data-live") && !page.contains("<button>install"), "{page}");
    assert_eq!(upload(&browser, &token, &file).status, 409);
    site.double.set_uploads_wait(false);
    let last = follow(&browser);
    assert!(last.contains("installed: 2-def") && last.contains("`reboot` tries it"), "{last}");
    assert_eq!(site.double.uploaded(), file);
    let page = browser.get("/update").body;
    assert!(
        page.contains("installed: 2-def") && !page.contains("http-equiv=\"refresh\""),
        "{page}"
    );
    assert!(page.contains("<button>install") && page.contains("1-abc"), "{page}");
}

#[test]
fn the_reason_of_a_failed_update_is_named() {
    let site = site();
    let browser = site.browser();
    let token = browser.token("/update");
    let failed = failure("no key of `[trust]` has signed <it>", "sign it");
    site.double.record(0, "update", "install", Recorded { items: vec![], end: Err(failed) });
    assert_eq!(upload(&browser, &token, &[7; 100]).status, 303);
    let last = follow(&browser);
    assert!(
        last.contains("failed: no key of `[trust]` has signed &lt;it&gt;")
            && last.contains("Help: sign it"),
        "{last}"
    );
    // Another one may follow.
    site.double.answer(0, "update", "install", json!({ "slot": "2-def" }));
    assert_eq!(upload(&browser, &token, &[7; 100]).status, 303);
    assert!(follow(&browser).contains("installed: 2-def"));
}

#[test]
fn an_upload_is_limited_and_belongs_to_a_session() {
    let site = Site::start(double(), WebLimits { update: 50_000, ..WebLimits::default() });
    let browser = site.browser();
    let token = browser.token("/update");
    site.double.answer(0, "update", "install", json!({ "slot": "2-def" }));
    let large = upload(&browser, &token, &[7; 50_001]);
    assert!(large.status == 413 && large.body.contains("at most 48.8 KiB"), "{large:?}");
    assert!(browser.get("/update").body.contains("failed: An update has at most"));
    assert_eq!(upload(&browser, "0", &[7; 100]).status, 403);
    assert_eq!(upload(&site.stranger(), &token, &[7; 100]).status, 403);
    assert_eq!(upload(&browser, &token, &[]).status, 400);
    let kind = "multipart/form-data; boundary=xyz";
    let foreign = browser.post_with(
        "/update/install",
        "Origin: http://evil.example\r\n",
        kind,
        &form(&token, &[7; 100]),
    );
    assert_eq!(foreign.status, 403);
    assert_eq!(browser.post("/update/install", "token=x").status, 400);
    assert_eq!(site.double.calls(0, "update", "install").len(), 0);
    assert_eq!(upload(&browser, &token, &[7; 50_000]).status, 303);
    assert!(follow(&browser).contains("installed: 2-def"));
}

#[test]
fn a_browser_that_leaves_does_not_block_the_next() {
    let site = site();
    let browser = site.browser();
    let token = browser.token("/update");
    let kind = "multipart/form-data; boundary=xyz";
    let body = form(&token, &[7; 1000]);
    let head = browser.head("POST", "/update/install");
    let head = format!("{head}{OWN_PAGE}Content-Type: {kind}\r\nContent-Length: 100000\r\n\r\n");
    {
        use std::io::Write;
        let mut stream = site.connect();
        stream.write_all(&[head.as_bytes(), &body[..body.len() - 20]].concat()).unwrap();
        let mut events = browser.events("/update/events");
        while events.next("install").unwrap().is_empty() {}
    }
    while !browser.get("/update").body.contains("failed: The browser did not send") {}
    site.double.answer(0, "update", "install", json!({ "slot": "2-def" }));
    assert_eq!(upload(&browser, &token, &[7; 100]).status, 303);
    assert!(follow(&browser).contains("installed: 2-def"));
}
