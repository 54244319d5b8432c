//! A path dies, and packets take another one: a connection goes on and loses no byte.

use octet_machine::{FrameAction, Node, Socket};
use serde_json::{Value, json};

use crate::cluster::adopted::{drop_way, path_add};
use crate::cluster::site::Site;
use crate::cluster::wires::Wires;

/// Where the path begins and ends.
const SOURCE: u8 = 1;
const END: u8 = 5;

/// How much has to come back by a connection, in bytes, before it is said to go on.
const MORE: u64 = 3_000;

/// What becomes of a relay that packets go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Wire,
    /// Whatever it says is lost on its wire. It hears, and its link is up.
    Mute,
    Power,
}

/// The rows of the paths that begin at the source, those in use first.
fn paths(site: &Site) -> Vec<Value> {
    let shown = site.ask(Node::Board(SOURCE), "forward", "paths", json!({}));
    let mut rows = shown.as_array().unwrap().clone();
    rows.sort_by_key(|row| row["active"] != true);
    rows
}

/// Who is on the way before the end.
fn relays(row: &Value) -> Vec<String> {
    let via = row["via"].as_str().unwrap().split(", ").filter(|it| !it.is_empty());
    via.map(str::to_owned).collect()
}

/// Whether there is a path in use and one to fall back on, with no relay in common.
fn has_two(rows: &[Value]) -> bool {
    let stand = rows.len() == 2 && rows.iter().all(|row| row["state"] == "up");
    stand
        && rows[0]["active"] == true
        && relays(&rows[0]).iter().all(|it| !relays(&rows[1]).contains(it))
}

/// Waits until there are two paths that `is_right` is true of.
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

/// What the connection has carried so far.
fn talk(site: &Site, verb: &str, args: Value) -> Value {
    site.ask(Node::Board(SOURCE), "talker", verb, args)
}

/// Waits until [`MORE`] has come back than now.
fn goes_on(site: &Site) {
    let back = || talk(site, "so-far", json!({}))["back"].as_u64().unwrap();
    let before = back();
    site.wait("the connection goes on", || back() >= before + MORE);
}

/// The source has a route to the end, of which the relay `gone` has failed: that can be seen, and another route is asked for
/// in its place.
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
        // It is off: packets go on by the route of before.
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
    // Numbers are not given again: those of before are gone.
    let is_later = |row: &Value| row["path"].as_u64().is_none_or(|it| it >= path);
    assert!(paths(site).iter().all(is_later), "{path}");
}

/// From the source to the end, where somebody listens at `to`; then a relay over which packets go has the first of
/// `faults`, the next one the next.
pub fn passes(site: &Site, wires: &Wires, to: &str, faults: &[Fault]) {
    // A daemon that was killed hears of the others anew.
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
        // On a busy host a path may seem silent, and packets have left it before its relay has its fault.
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
    // Hops that did not hear of an end, as their fault was just then, forget a path when its time is over.
    site.wait("nothing of it is left", || paths(site).is_empty());
}
