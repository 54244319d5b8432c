//! A path satisfies the constraints of its source, or is refused; and the source sees the hops.

use octet_machine::Node;
use serde_json::{Value, json};

use crate::cluster::metering::counted;
use crate::cluster::site::Site;

/// The ends of the paths, among boards that all are neighbours.
const SOURCE: u8 = 1;
const END: u8 = 5;

/// The condition for the relays.
type IsRight = fn(&[&str]) -> bool;

/// The constraints, alone and combined. In-process tests check all limits against all possible paths (`services/forward/src/graph/tests.rs`).
const GIVEN: [(&str, IsRight); 5] = [
    (r#"{ "hops": 2, "avoid": "3" }"#, |relays| relays.len() >= 2 && !relays.contains(&"board-3")),
    (r#"{ "hops": 1, "avoid": "2,4" }"#, |relays| relays == ["board-3"]),
    (r#"{ "hops": 3, "max-latency-ms": 60000 }"#, |relays| relays.len() == 3),
    // Any path satisfies these: the shortest one usually is the direct link, but not on every host.
    (r#"{ "min-bandwidth-kbps": 1 }"#, |_| true),
    (r#"{ "max-price": 0 }"#, |_| true),
];

/// Impossible constraints: there are three relays, four links take longer than a millisecond, and
/// none carries 4 Tbit/s.
const REFUSED: [&str; 3] = [
    r#"{ "hops": 1, "avoid": "2,3,4" }"#,
    r#"{ "hops": 3, "max-latency-ms": 1 }"#,
    r#"{ "min-bandwidth-kbps": 4000000000 }"#,
];

fn ask(site: &Site, verb: &str, args: Value) -> Value {
    site.ask(Node::Board(SOURCE), "forward", verb, args)
}

/// The arguments of `path-add`: the end, and that there is no backup path.
fn wanted(what: &str) -> Value {
    let mut args: Value = serde_json::from_str(what).unwrap();
    args["to"] = json!(END.to_string());
    args["alone"] = json!(true);
    args
}

/// All boards are on, and other paths of forward do not change meanwhile.
pub fn passes(site: &Site) {
    let boards = site.cluster.nodes().len() - 1;
    site.wait("all are known, and what their links carry", || {
        let links = ask(site, "links", json!({}));
        links
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["kilobits"].as_u64().is_some_and(|it| it > 0))
            && ask(site, "status", json!({}))["nodes"] == boards
    });
    println!("{}", ask(site, "links", json!({})));
    for (what, is_right) in &GIVEN {
        // Both ends announce the bandwidth of a link a little later than it is measured.
        let machine = site.machine(Node::Board(SOURCE));
        let mut made = Value::Null;
        site.wait(what, || {
            let answer = machine.call_unit("forward", "path-add", wanted(what));
            answer.is_ok_and(|answer| {
                made = answer;
                true
            })
        });
        let rows = ask(site, "paths", json!({}));
        let row = rows.as_array().unwrap().iter().find(|row| row["path"] == made["path"]).unwrap();
        let via = row["via"].as_str().unwrap();
        println!("{what}: {via}");
        let relays: Vec<_> = via.split(", ").filter(|it| !it.is_empty()).collect();
        assert!(row["to"] == "board-5" && is_right(&relays), "{what}: {row}");
        traced(site, &made["path"], &[&relays[..], &["board-5"][..]].concat());
        ask(site, "drop", json!({ "path": made["path"] }));
    }
    for what in &REFUSED {
        let refused =
            site.machine(Node::Board(SOURCE)).call_unit("forward", "path-add", wanted(what));
        let why = refused.unwrap_err().to_string();
        println!("{what}: {why}");
        assert!(why.contains("is as it was asked for"), "{what}: {why}");
    }
}

/// `trace` shows this path hop by hop: its first label is the one that the first hop has assigned
/// to the source.
fn traced(site: &Site, path: &Value, hops: &[&str]) {
    let mut rows = vec![];
    // The latency of a link is announced repeatedly, and on a busy host it may be unknown for a
    // moment.
    site.wait("each hop and the end answer in time", || {
        let answer = ask(site, "trace", json!({ "path": path }));
        rows = answer.as_array().unwrap().clone();
        rows.iter().all(|row| row["milliseconds"].as_f64().is_some())
    });
    let (last, rows) = rows.split_last().unwrap();
    let nodes: Vec<_> = rows.iter().map(|row| row["node"].as_str().unwrap()).collect();
    assert_eq!(nodes, hops);
    assert_eq!((&last["hop"], &last["by"]), (&json!("all"), &json!("ping")));
    let label = rows[0]["label"].as_u64().unwrap();
    let first: u8 = hops[0].strip_prefix("board-").unwrap().parse().unwrap();
    assert!(counted(site, first).contains_key(&(first, "in", SOURCE, label)), "{rows:?}");
    // The other labels are not known to the source.
    assert!(rows[1..].iter().all(|row| row["label"].is_null()), "{rows:?}");
}
