//! A network of several hundred nodes in virtual time: the example `simulation` does the same with
//! thousands (docs/forwarding.md, "How it grows").

#![cfg(test)]

#[path = "../examples/simulation/flood.rs"]
mod flood;
#[path = "../examples/simulation/nodes.rs"]
mod nodes;
#[path = "../examples/simulation/paths.rs"]
mod paths;
#[path = "../examples/simulation/run.rs"]
mod run;
#[path = "../examples/simulation/set_up.rs"]
mod set_up;
#[path = "../examples/simulation/world.rs"]
mod world;

use run::{Asked, run};
use serde_json::Value;
use world::Graph;

const NODES: usize = 300;

fn whole(graph: Graph) -> Asked {
    Asked { graph, nodes: NODES, announce: NODES, room: NODES, lost: 0 }
}

fn number(of: &Value) -> u64 {
    of.as_u64().unwrap()
}

/// Every node learns all nodes and finds a path to each of them, and each path comes up within one
/// round trip.
#[test]
fn all_know_all_and_find_each_other() {
    let told = run(&whole(Graph::Boxes)).unwrap();
    assert_eq!((number(&told["announced"]), number(&told["unknown"])), (300, 0));
    assert!(number(&told["sought"]) >= 190);
    assert_eq!(told["found"], told["sought"]);
    assert_eq!(told["found_two"], told["sought"]);
    let set_ups = told["set_ups"].as_array().unwrap();
    let sum = |what: &str| set_ups.iter().map(|it| number(&it[what])).sum::<u64>();
    assert_eq!((sum("asked"), sum("stand")), (number(&told["found"]), number(&told["found"])));
    for set_up in set_ups {
        assert_eq!(set_up["round_trips"]["most"], 1.0, "{set_up}");
    }
    // Each link carries an announcement at most once per direction.
    let most = told["link_bytes"]["most"].as_f64().unwrap();
    let all = told["announcement_bytes"].as_f64().unwrap() * NODES as f64;
    assert!(most <= 2.0 * all, "{most} of {all}");
}

/// With a limited table each node knows as many nodes as fit; with losses only the lost
/// announcements are unknown.
#[test]
fn without_room_or_with_losses_there_is_less() {
    let of = |graph| Asked { nodes: 120, announce: 120, room: 120, ..whole(graph) };
    let less = run(&Asked { room: 40, ..of(Graph::Boxes) }).unwrap();
    assert_eq!((number(&less["fewest_known"]), number(&less["unknown"])), (40, 120 * 80));
    let lossy = run(&Asked { lost: 300, ..of(Graph::Plane) }).unwrap();
    let unknown = number(&lossy["unknown"]);
    assert!(unknown > 0 && unknown < 120 * 120 / 2, "{unknown}");
}
