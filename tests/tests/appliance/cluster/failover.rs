//! A path fails, and packets take another one: a connection continues without losing a byte.

use octet_machine::{FrameAction, Node, Socket};
use serde_json::{Value, json};

use crate::cluster::adopted::{drop_way, path_add};
use crate::cluster::site::Site;
use crate::cluster::wires::Wires;

/// The ends of the path.
const SOURCE: u8 = 1;
const END: u8 = 5;

/// The number of bytes that must be echoed before a connection counts as continuing.
const MORE: u64 = 3_000;

/// The fault of a relay on the active path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Wire,
    /// All frames that it sends are lost. It receives, and its link is up.
    Mute,
    Power,
}

/// The paths that begin at the source, the active ones first.
fn paths(site: &Site) -> Vec<Value> {
    let shown = site.ask(Node::Board(SOURCE), "forward", "paths", json!({}));
    let mut rows = shown.as_array().unwrap().clone();
    rows.sort_by_key(|row| row["active"] != true);
    rows
}

/// The relays of a path.
fn relays(row: &Value) -> Vec<String> {
    let via = row["via"].as_str().unwrap().split(", ").filter(|it| !it.is_empty());
    via.map(str::to_owned).collect()
}

/// Whether there are an active path and a backup path without a common relay.
fn has_two(rows: &[Value]) -> bool {
    let stand = rows.len() == 2 && rows.iter().all(|row| row["state"] == "up");
    stand
        && rows[0]["active"] == true
        && relays(&rows[0]).iter().all(|it| !relays(&rows[1]).contains(it))
}

/// Waits until there are two paths for which `is_right` is true.
fn wait_two(site: &Site, what: &str, is_right: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut found = vec![];
    site.wait(what, || {
        let before = std::mem::replace(&mut found, paths(site));
        if found != before {
            let told = found.iter().map(|row| format!("{} {}", row["via"], row["state"]));
            println!("{what}: {}", told.collect::<Vec<_>>().join(", "));
        }
        has_two(&found) && is_right(&found)
    });
    found
}

/// The bytes that the connection has carried so far.
fn talk(site: &Site, verb: &str, args: Value) -> Value {
    site.ask(Node::Board(SOURCE), "talker", verb, args)
}

/// Waits until [`MORE`] further bytes have been echoed.
fn goes_on(site: &Site) {
    let back = || talk(site, "so-far", json!({}))["back"].as_u64().unwrap();
    let before = back();
    site.wait("the connection goes on", || back() >= before + MORE);
}

/// The source has a route to the end, whose relay `gone` has failed: the error message says so, and
/// the route is replaced.
fn another_in_its_place(site: &Site, gone: u8, fault: Fault) {
    let add = |asked: Value| {
        let machine = site.machine(Node::Board(SOURCE));
        machine.call_unit("forward", "path-add", asked).unwrap_err().to_string()
    };
    let by = |relay: u8| json!({ "to": END.to_string(), "via": relay.to_string() });
    let refused = add(by(gone));
    println!("{refused}");
    assert!(refused.contains(&format!("board-{END} already has a route (")), "{refused}");
    let replacing = |relay: u8| {
        let mut asked = by(relay);
        asked["replace"] = json!(true);
        asked
    };
    if fault == Fault::Power {
        // The relay is off: the previous route stays in use.
        let refused = add(replacing(gone));
        println!("{refused}");
        assert!(
            refused.contains(&format!("the link to board-{gone} is down; the route")),
            "{refused}"
        );
        assert!(paths(site).iter().any(|row| row["active"] == true));
    }
    let other = (SOURCE + 1..END).find(|relay| *relay != gone).unwrap();
    let path = path_add(site, SOURCE, &replacing(other)).as_u64().unwrap();
    // Path numbers are not reused: the previous paths are gone.
    let is_later = |row: &Value| row["path"].as_u64().is_none_or(|it| it >= path);
    assert!(paths(site).iter().all(is_later), "{path}");
}

/// A route leads from the source to the end, where an echo service listens at `to`; then a relay of
/// the active path gets the first of `faults`, the next relay the next one, and so on.
pub fn passes(site: &Site, wires: &Wires, to: &str, faults: &[Fault]) {
    // A restarted daemon has to learn the others again.
    let nodes = site.cluster.nodes().len() - 1;
    site.wait("all are known", || {
        site.ask(Node::Board(SOURCE), "forward", "status", json!({}))["nodes"] == nodes
    });
    let asked = json!({ "to": END.to_string(), "via": "2" });
    path_add(site, SOURCE, &asked);
    let mut last = None;
    for fault in faults {
        talk(site, "begin", json!({ "to": to, "mark": "failover" }));
        goes_on(site);
        // On a busy host a path may time out, and packets may have left it before its relay has its
        // fault.
        let before = wait_two(site, "there is one to fall back on", |_| true);
        let relay = relays(&before[0])[0].clone();
        let board: u8 = relay.strip_prefix("board-").unwrap().parse().unwrap();
        last = Some((board, *fault));
        match fault {
            Fault::Wire => site.cluster.unplug(Socket::Board(board)).unwrap(),
            Fault::Mute => wires.disturb(move |from, _| match from == Socket::Board(board) {
                true => FrameAction::Drop,
                false => FrameAction::Forward,
            }),
            Fault::Power => site.cluster.cut_power(Node::Board(board)).unwrap(),
        }
        let after = wait_two(site, "packets take another one, and there is one more", |rows| {
            !rows.iter().any(|row| relays(row).contains(&relay))
        });
        goes_on(site);
        let all = talk(site, "end", json!({}));
        println!(
            "{fault:?} of {relay}: before: {} | {}, after: {} | {}; {all}",
            before[0]["via"], before[1]["via"], after[0]["via"], after[1]["via"]
        );
        assert_eq!((&all["said"], &all["same"]), (&all["back"], &json!(true)), "byte for byte");
        match fault {
            Fault::Wire => {
                site.cluster.plug(Socket::Router(board), Socket::Board(board)).unwrap();
            }
            Fault::Mute => wires.calm(),
            Fault::Power => {}
        }
    }
    if let Some((gone, fault)) = last {
        another_in_its_place(site, gone, fault);
    }
    drop_way(site, SOURCE);
    // Hops that missed the teardown because of their fault drop the path when it expires.
    site.wait("nothing of it is left", || paths(site).is_empty());
}
