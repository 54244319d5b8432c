//! A network of some hundred nodes, in virtual time: what the example `simulation` does with thousands
//! (docs/forwarding.md, "How it grows").

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

/// Everybody knows everybody, each finds a path to each, and each path stands after as long as there and back
/// over it takes.
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
    // No link is told anything more than once in each direction.
    let most = told["link_bytes"]["most"].as_f64().unwrap();
    let all = told["announcement_bytes"].as_f64().unwrap() * NODES as f64;
    assert!(most <= 2.0 * all, "{most} of {all}");
}

/// Without room for all each knows as many as there is room for; what is lost is unknown, and the rest is not.
#[test]
fn without_room_or_with_losses_there_is_less() {
    let of = |graph| Asked { nodes: 120, announce: 120, room: 120, ..whole(graph) };
    let less = run(&Asked { room: 40, ..of(Graph::Boxes) }).unwrap();
    assert_eq!((number(&less["fewest_known"]), number(&less["unknown"])), (40, 120 * 80));
    let lossy = run(&Asked { lost: 300, ..of(Graph::Plane) }).unwrap();
    let unknown = number(&lossy["unknown"]);
    assert!(unknown > 0 && unknown < 120 * 120 / 2, "{unknown}");
}
