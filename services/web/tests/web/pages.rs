//! What the pages show.

use octet_web::ConnectionUse;
use serde_json::{Value, json};

use crate::double::{Recorded, failure};
use crate::recorded::{double, figures, site};

/// Every page with something of the box on it.
const PAGES: [&str; 12] = [
    "/",
    "/node/0",
    "/node/2",
    "/node/2/unit/cache",
    "/node/2/unit/lan",
    "/segments",
    "/segments?from=board-1&to=lan&what=tcp/80",
    "/cache",
    "/paths",
    "/accounts",
    "/messages",
    "/update",
];

#[test]
fn the_figures_are_in_the_page_itself() {
    let site = site();
    let page = site.browser().get("/").body;
    for part in [
        "<td>ready</td><td>17 %</td><td>41 °C</td><td>476.8 MiB (25 %)</td><td>120.6 KiB/s</td><td>639.0 KiB/s</td><td>lan</td><td>4 s ago</td>",
        "<a href=\"/node/7\">board 7</a>",
        "CPU 17 %, 41 °C",
        "<polyline points=",
        "The last 24 hours",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert_eq!(page.matches("<th scope=\"row\"><a href=\"/node/").count(), 33);
}

#[test]
fn a_box_without_figures_shows_its_units() {
    let double = double();
    double.describe("face", vec![]);
    let site = crate::browser::Site::start(double, octet_web::WebLimits::default());
    // A unit that is there and fails is an error.
    site.double.record(
        0,
        "face",
        "show",
        Recorded { items: vec![], end: Err(failure("no map yet", "wait")) },
    );
    let page = site.browser().get("/").body;
    assert!(page.contains("no map yet") && page.contains("Help: wait"), "{page}");
    assert!(!page.contains("0 %"), "{page}");
    let missing = octet_control::Failure::new(
        octet_control::FailureCode::NotFound,
        "there is no unit `face`",
        "",
    );
    site.double.record(0, "face", "show", Recorded { items: vec![], end: Err(missing) });
    let page = site.browser().get("/").body;
    assert!(
        page.contains("no unit <code>face</code>") && page.contains("/node/0/unit/cache"),
        "{page}"
    );
}

#[test]
fn a_node_and_its_units() {
    let site = site();
    let browser = site.browser();
    let page = browser.get("/node/2").body;
    for part in [
        "<dt>state</dt><dd>degraded</dd>",
        "<dt>total</dt><dd>2.0 GiB</dd>",
        "<a href=\"/node/2/unit/cache\">cache</a>",
        "<td>failed</td>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let page = browser.get("/node/2/unit/cache").body;
    for part in [
        "<dd>1.0 MiB</dd>",
        "2026 cache: started",
        "octet_cache_objects 3",
        "<td>read</td>",
        "restart cache</button>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let without = browser.get("/node/2/unit/lan").body;
    assert!(without.contains("This unit has no verbs.") && !without.contains("alarm"), "{without}");
    assert!(!page.contains("hidden\n") && !page.contains(">hidden<"), "{page}");
    let asked = json!({ "unit": "cache", "lines": 100 });
    assert_eq!(site.double.calls(2, "logd", "logs")[0], asked);
    for wrong in ["/node/33", "/node/x", "/node/02", "/node/1/unit/A%3Cb", "/nothing"] {
        assert_eq!(browser.get(wrong).status, 404, "{wrong}");
    }
}

#[test]
fn no_answer_is_said_and_not_shown_as_zero() {
    let site = site();
    site.double.set_unreachable(3);
    let browser = site.browser();
    let page = browser.get("/node/3");
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("no answer: board 3 cannot be reached")
            && page.body.contains("Help: is it on?"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("<dt>state</dt>"), "{}", page.body);
    assert!(browser.get("/node/2").body.contains("<dt>state</dt>"));
}

#[test]
fn one_connection_to_the_box_and_one_to_a_board() {
    let site = site();
    let browser = site.browser();
    for path in ["/", "/cache", "/node/1", "/node/1/unit/cache", "/node/0"] {
        browser.get(path);
    }
    let calls = |node| (node, ConnectionUse::Calls);
    assert_eq!(site.double.connected(), [calls(0), calls(1)]);
    browser.get("/node/2");
    browser.get("/node/2");
    assert_eq!(site.double.connected(), [calls(0), calls(1), calls(2)]);
}

#[test]
fn segments_are_a_matrix_with_reasons() {
    let site = site();
    let browser = site.browser();
    let page = browser.get("/segments").body;
    // From board 1 to lan: policy 1. From lan to board 1: none.
    assert!(
        page.contains("<a href=\"?c=1.l\">1</a>") && page.contains("<a href=\"?c=l.1\">0</a>"),
        "{page}"
    );
    assert_eq!(page.matches("<a href=\"?c=").count(), 35 * 34);
    for path in ["/segments?c=1.l", "/segments?from=board-1&to=lan"] {
        let page = browser.get(path).body;
        for part in [
            "From board-1 to lan",
            "board-1, board-2 to lan: tcp 80",
            "<dt>answer</dt><dd>allowed</dd>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
    let asked = json!({ "from": "board-1", "to": "lan", "what": "tcp/443" });
    assert_eq!(site.double.calls(0, "netd", "explain"), [asked.clone(), asked]);
}

/// Amounts are shown in units of account, exactly.
#[test]
fn who_owes_whom() {
    let page = site().browser().get("/accounts").body;
    for part in [
        "<th scope=\"row\">hill</th>",
        "<td>6.734307</td>",
        "<td>-0.250000</td>",
        "<td>6.9 MiB</td>",
        "<td>stopped</td>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn a_unit_that_the_image_lacks_is_no_error() {
    let browser = site();
    let browser = browser.browser();
    let cache = browser.get("/cache").body;
    assert!(
        cache.contains("<dt>free</dt><dd>3.0 MiB</dd>") && cache.contains("<td>7</td>"),
        "{cache}"
    );
    for (path, unit) in [("/paths", "forward"), ("/messages", "messenger")] {
        let page = browser.get(path);
        assert!(
            page.body.contains(&format!("This box has no unit <code>{unit}</code>")),
            "{}",
            page.body
        );
        assert!(page.status == 200 && !page.body.contains("alarm"), "{}", page.body);
    }
}

#[test]
fn pages_are_small_and_have_no_text_of_others_as_markup() {
    let site = site();
    let browser = site.browser();
    let fixed = browser.get("/style.css").body.len() + browser.get("/live.js").body.len();
    for path in PAGES {
        let response = browser.get(path);
        let page = &response.body;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
        println!("{path}: {} bytes and {fixed} of style and script", page.len());
        assert!(page.len() + fixed <= 64 << 10, "{path}: {} + {fixed}", page.len());
        // The one script is a file, and all styles are in another one.
        assert_eq!(page.matches("<script").count(), 1, "{path}");
        assert!(page.contains("<script src=\"/live.js\" defer></script>"), "{path}");
        // In text `<` is escaped, so each one begins a tag.
        let tags: Vec<&str> =
            page.split('<').skip(1).map(|tag| tag.split('>').next().unwrap()).collect();
        for part in [" style=", " on", "http:", "https:", "//", "javascript:"] {
            assert_eq!(tags.iter().find(|tag| tag.contains(part)), None, "{path}: {part}");
        }
        assert!(!tags.contains(&"style") && !page.contains('\u{202e}'), "{path}");
        for part in ["<h1>", "<nav aria-label", "<main", "lang=\"en\"", " - Octet</title>"] {
            assert_eq!(page.matches(part).count(), 1, "{path}: {part}");
        }
        assert_eq!(
            page.matches("<th").count(),
            page.matches("<th scope=").count() + page.matches("<thead").count(),
            "{path}"
        );
    }
    assert!(browser.get("/node/2").body.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(browser.get("/node/2/unit/cache").body.contains("2026 cache: &lt;script&gt;"));
}

#[test]
fn figures_of_hostile_nodes_are_text() {
    let site = site();
    let mut shown = figures(1, 1);
    shown["role"] = json!("<script>a</script>");
    shown["trouble"] = json!("<b>");
    for field in ["condition", "refused", "last_seen", "box", "link", "state"] {
        shown["nodes"][1][field] = json!("<script>a</script>");
    }
    shown["nodes"][0]["failed"] = json!(["<script>"]);
    shown["nodes"][0]["connected"] = Value::Bool(false);
    site.double.answer(0, "face", "show", shown);
    let page = site.browser().get("/").body;
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    assert!(!page.contains("<b>") && page.contains("&lt;b&gt;"), "{page}");
}
