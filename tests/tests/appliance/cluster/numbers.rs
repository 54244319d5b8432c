//! A node's metrics, for the clients that a policy allows.

use octet_machine::Node;
use serde_json::{Value, json};

use crate::cluster::forward::BOARDS;
use crate::cluster::site::{Site, address};
use crate::cluster::uplink::kill;

/// Board 1 may collect them, from the router and from one board. Other clients may not.
pub const LINES: &str = r#"
[[policy]]
from = "board-1"
to = ["board-2", "router"]
service = "forward.metrics"
"#;

const COLLECTS: u8 = 1;
const SHOWS: u8 = 2;
const STRANGER: u8 = 3;

/// The response to `from` at a path, if it is allowed.
fn get(site: &Site, from: u8, path: &str) -> Option<String> {
    let to = format!("{}:4044", address(SHOWS));
    let machine = site.machine(Node::Board(from));
    let page = machine.call_unit("talker", "get", json!({ "to": to, "path": path })).ok()?;
    page.as_str().map(str::to_owned)
}

/// A sample, by its name and labels.
fn number(page: &str, series: &str) -> f64 {
    let mut lines = page.lines().filter_map(|line| line.strip_prefix(series));
    let value = lines.next().unwrap_or_else(|| panic!("{series} in {page}"));
    value.trim().parse().unwrap()
}

pub fn passes(site: &Site) {
    let up = r#"octet_forward_link_up{link="fl1",by="wireguard"}"#;
    let mut page = String::new();
    // A busy daemon may miss a probe: the link then seems to be down.
    site.wait("the numbers are there, and the link is up", || {
        page = get(site, COLLECTS, "/metrics").unwrap_or_default();
        page.starts_with("HTTP/1.1 200 OK\r\n") && number(&page, up) == 1.0
    });
    println!("{page}");
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(page.contains(&format!("\r\nContent-Type: {format}\r\n")));
    let status = site.ask(Node::Board(SHOWS), "forward", "status", json!({}));
    assert_eq!(number(&page, "octet_forward_nodes "), status["nodes"].as_f64().unwrap());
    // An operator gets the same values.
    site.wait("an operator is shown the same", || {
        let shown = site.ask(Node::Board(SHOWS), "forward", "metrics", json!({}));
        number(shown["text"].as_str().unwrap(), up) == 1.0
    });
    // Earlier paths through this node are gone, but their traffic is still counted.
    let carried = r#"octet_forward_link_bytes_total{link="fl1",way="in"}"#;
    let before = number(&page, carried);
    let labels = site.ask(Node::Board(SHOWS), "forward", "labels", json!({}));
    assert_eq!(labels, json!([]), "none is there now");
    assert!(before > 0.0);
    kill(site, Node::Board(SHOWS), "forward");
    site.wait("it goes on from there", || {
        let page = get(site, COLLECTS, "/metrics").unwrap_or_default();
        page.contains(carried) && number(&page, carried) == before
    });
    // The metrics contain no key and no address of a node.
    let address = |value: &Value| value.as_str().unwrap().to_owned();
    for board in 1..=BOARDS {
        let status = site.ask(Node::Board(board), "forward", "status", json!({}));
        assert!(!page.contains(&address(&status["address"])), "{board}");
    }
    site.wait("nothing else is shown", || {
        get(site, COLLECTS, "/").is_some_and(|it| it.starts_with("HTTP/1.1 404 "))
    });
    assert_eq!(get(site, STRANGER, "/metrics"), None);
    site.wait("they are shown", || get(site, COLLECTS, "/metrics").is_some());
}
