//! A box whose router does not run Octet: a board is the coordinator. The router is simulated by
//! one with Octet, which has the same rules, and which is not the coordinator.

use octet_machine::Node;
use serde_json::{Value, json};

use crate::cluster::site::{Site, text};
use crate::cluster::uplink::kill;

const LINES: &str = r#"
router = "openwrt"
[[board]]
number = 2
role = "manager"
"#;

const MANAGER: Node = Node::Board(2);
const OTHERS: [u8; 2] = [1, 3];

fn shown(site: &Site, node: Node) -> Value {
    site.ask(node, "cluster", "show", json!({}))
}

/// Waits until all nodes have the manager's map. Returns the keys, the manager's first.
fn wait_whole(site: &Site) -> Vec<Value> {
    let row = |of: &Value, number: u8| {
        let mut rows = of["boards"].as_array().into_iter().flatten();
        rows.find(|row| row["board"] == number).cloned().unwrap_or_default()
    };
    site.wait("all have the manager's map", || {
        let own = shown(site, MANAGER);
        OTHERS.iter().all(|number| {
            let (row, board) = (row(&own, *number), shown(site, Node::Board(*number)));
            row["state"] == "enrolled"
                && row["connected"] == true
                && row["has_map"] == own["sequence"]
                && (&board["state"], &board["coordinator"], &board["sequence"])
                    == (&json!("enrolled"), &own["node"], &own["sequence"])
        })
    });
    let own = shown(site, MANAGER);
    [2, 1, 3].iter().map(|number| row(&own, *number)["node"].clone()).collect()
}

/// The daemon's own tests cover the same in process, except the view of the whole box and killed
/// units.
#[test]
#[ignore = "long: `services/cluster/tests/daemon/manager.rs` shows it"]
fn a_board_holds_the_map_where_the_router_is_none_of_ours() {
    let nodes = [1, 2, 3].map(Node::Board).into_iter().chain([Node::Router]).collect::<Vec<_>>();
    let site = Site::start(4, &text(4, LINES), &nodes);
    let keys = wait_whole(&site);
    assert_eq!(keys[0], shown(&site, MANAGER)["node"]);
    assert!(shown(&site, Node::Router)["boards"].is_null(), "the router holds nothing");

    // The status of the whole box, from there.
    let rows = |site: &Site| -> Vec<Value> {
        let shown = site.machine(MANAGER).call("status", json!({ "box": true })).unwrap();
        shown["nodes"].as_array().unwrap().clone()
    };
    site.wait("each says how it is", || {
        let rows = rows(&site);
        let ready = rows.iter().filter(|row| row["box"] == "ready");
        ready.map(|row| row["number"].as_u64().unwrap()).collect::<Vec<_>>() == [1, 2, 3]
    });

    // Another board is drained, and the manager is killed: the state persists.
    site.ask(MANAGER, "cluster", "drain", json!({ "number": "3" }));
    site.wait("it is in the map", || {
        let map = shown(&site, MANAGER);
        map["boards"].as_array().unwrap().iter().any(|row| row["state"] == "drained")
    });
    site.ask(MANAGER, "cluster", "undrain", json!({ "number": "3" }));
    kill(&site, MANAGER, "cluster");
    kill(&site, MANAGER, "netd");
    assert_eq!(wait_whole(&site), keys);
}
