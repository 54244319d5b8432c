//! The status of the whole box.

use octet_as_pid_1::wait_until;
use serde_json::{Value, json};

use crate::Cluster;
use crate::host::Host;
use crate::stand_in::netd;

/// Waits until `wanted` holds for the status.
fn status_until(host: &Host, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut status = Value::Null;
    wait_until("the status is another", || {
        status = host.ask("status", json!({})).unwrap();
        wanted(&status)
    });
    status
}

#[test]
fn one_line_for_each_node() {
    let mut cluster = Cluster::new("first-use", 2);
    cluster.coordinator.start();
    cluster.coordinator.holds();
    netd(cluster.boards[0].sockets());
    cluster.boards.iter_mut().for_each(Host::start);
    cluster.map();
    let coordinator = &cluster.coordinator;

    // Without netd, the status says why the ports are unknown, and has all other data.
    let reported = |status: &Value, number: usize| status["nodes"][number]["box"] == "ready";
    let status = status_until(coordinator, |status| (0..=2).all(|number| reported(status, number)));
    assert!(status["trouble"].as_str().unwrap().contains("netd"), "{status:#}");
    assert_eq!(status["nodes"][1]["link"], Value::Null);

    netd(coordinator.sockets());
    let status = coordinator.ask("status", json!({})).unwrap();
    assert_eq!(status["trouble"], Value::Null);
    let nodes = status["nodes"].as_array().unwrap();
    let numbers: Vec<u64> = nodes.iter().map(|node| node["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    let column = |name: &str| nodes.iter().map(|node| node[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("state"), ["coordinator", "enrolled", "enrolled", "none", "none"]);
    assert_eq!(column("connected"), [true, true, true, false, false]);
    assert_eq!(column("link"), [Value::Null, json!("up"), json!("up"), json!("up"), json!("down")]);
    // What the router has sent to a board, the board has received.
    assert_eq!(column("received")[1..], [200, 400, 600, 800]);
    assert_eq!(column("sent")[1..], [100, 200, 300, 400]);
    assert_eq!(column("heard_seconds")[0], 0);
    assert!(nodes[1]["heard_seconds"].is_u64() && nodes[4]["heard_seconds"].is_null());
    assert_eq!(column("has_map")[1], status["sequence"]);
    for node in &nodes[..3] {
        let wanted = (json!(70), json!(1), json!(["cache"]), json!(5), json!(9));
        let [uptime, ready, failed, memory, total] =
            ["uptime", "ready", "failed", "memory", "total"].map(|name| node[name].clone());
        assert_eq!((uptime, ready, failed, memory, total), wanted, "{node:#}");
        assert_eq!(node["temperature_celsius"], 45, "{node:#}");
    }
    assert_eq!(nodes[3]["uptime"], Value::Null);
    // What is drawn is the same.
    let drawn = coordinator.ask("status", json!({ "plot": true })).unwrap();
    assert_eq!(drawn["drawing"]["nodes"][3]["state"], "none");
    assert_eq!(drawn["drawing"].as_object().unwrap().len(), status.as_object().unwrap().len());
    assert!(nodes[1]["last_seen"].is_string());

    // Another node at board 2's port is refused, and the row of board 2 says so.
    cluster.boards[1].kill();
    let mut other =
        Host::new(&cluster.port, 2, &crate::settings("first-use", json!([]), &cluster.owner));
    other.start();
    let status =
        status_until(&cluster.coordinator, |status| status["nodes"][2]["refused"].is_string());
    assert_eq!(
        (&status["nodes"][2]["state"], &status["nodes"][2]["connected"]),
        (&json!("enrolled"), &json!(false))
    );

    // A board lists the members of the box, and names the command for the rest.
    let shown = boards_status(&cluster.boards[0]);
    assert!(shown["more"].as_str().unwrap().contains("status --box"));
    let members: Vec<_> =
        shown["nodes"].as_array().unwrap().iter().map(|node| node["number"].clone()).collect();
    assert_eq!(members, [0, 1, 2]);
    // It has figures of itself alone.
    let shown = status_until(&cluster.boards[0], |status| status["nodes"][1]["received"] == 900);
    assert_eq!(
        (&shown["nodes"][1]["sent"], &shown["nodes"][1]["box"]),
        (&json!(1800), &json!("ready"))
    );
    assert_eq!(shown["nodes"][2]["box"], Value::Null);
}

fn boards_status(board: &Host) -> Value {
    board.ask("status", json!({})).unwrap()
}
