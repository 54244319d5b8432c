//! Two hundred units in a random graph are started and stopped in order. The units append a line to
//! one file at each event, and the order of the lines is checked with the graph alone.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use octet_machine::UnitState;
use octet_tests::{DiskFile, READY, Remake, SOON, guest, seed, shipped};

const UNITS: usize = 200;
const MEDIUM: u64 = 320;

/// A unit of the graph. It depends only on units with lower numbers, so there is no cycle.
struct Node {
    name: String,
    once: bool,
    needs: BTreeSet<usize>,
    after: BTreeSet<usize>,
}

fn graph(seed: u64) -> Vec<Node> {
    let mut random = Rng::with_seed(seed);
    (0..UNITS)
        .map(|number| {
            let mut some = |most: usize| -> BTreeSet<usize> {
                let count = if number == 0 { 0 } else { random.usize(..=most) };
                (0..count).map(|_| random.usize(..number)).collect()
            };
            let needs = some(3);
            let after = some(1).difference(&needs).copied().collect();
            Node { name: format!("m-{number}"), once: random.u8(..5) == 0, needs, after }
        })
        .collect()
}

fn unit(node: &Node, graph: &[Node]) -> String {
    let names = |of: &BTreeSet<usize>| of.iter().map(|&it| &graph[it].name).collect::<Vec<_>>();
    let (mut needs, after) = (names(&node.needs), names(&node.after));
    let data = "data".to_owned();
    needs.push(&data);
    let (kind, arg) = if node.once { ("one-shot", "once") } else { ("daemon", "stays") };
    // All write to one file, so they run as its owner. Two hundred starts take time, as do the
    // stops: a unit that is killed writes no line about its end.
    format!(
        "name = \"{}\"\ntype = \"{kind}\"\nexec = \"/usr/lib/octet/member\"\n\
         args = [\"/data/order\", \"{arg}\"]\nuser = \"root\"\nneeds = {needs:?}\n\
         after = {after:?}\nstart.timeout = \"2m\"\nstop.timeout = \"2m\"\n\
         sandbox.write = [\"/data\"]\n",
        node.name
    )
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn two_hundred_units_come_up_and_go_down_in_order() {
    let graph = graph(seed());
    let image = Remake::of(&shipped()).program("member", &guest("member"));
    let image = graph.iter().fold(image, |image, node| image.unit(&unit(node, &graph))).image();

    let disk = DiskFile::flashed(&shipped(), MEDIUM);
    // Without a slot the unit `slot` would have nothing to do.
    let slot = format!("octet.slot={}", shipped().slot());
    let machine = image.machine().disk(disk.disk()).kernel_argument(&slot);
    let machine = machine.memory(512).cpus(1).start().unwrap();
    machine.wait_ready(READY).unwrap();
    let all_up = |status: &octet_machine::Status| {
        graph.iter().all(|node| {
            let state = status.unit(&node.name).unwrap().state;
            state == if node.once { UnitState::Exited } else { UnitState::Ready }
        })
    };
    machine.wait_status("all are up", READY, all_up).unwrap();
    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
    drop(machine);

    let order = disk.debugfs("cat order");
    let wrong = judge(&graph, &order);
    assert!(wrong.is_empty(), "{} are out of order: {wrong:#?}\n{order}", wrong.len());
}

/// The violations of `graph` in `order`.
fn judge(graph: &[Node], order: &str) -> Vec<String> {
    let mut wrong = vec![];
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, line) in order.lines().enumerate() {
        if places.insert(line, place).is_some() {
            wrong.push(format!("twice: {line}"));
        }
    }
    let place = |what: &str, node: &Node| places.get(format!("{what} {}", node.name).as_str());
    for node in graph {
        let all: &[&str] =
            if node.once { &["starts", "ready"] } else { &["starts", "ready", "stops", "ended"] };
        wrong.extend(
            all.iter()
                .filter(|what| place(what, node).is_none())
                .map(|what| format!("never: {what} {}", node.name)),
        );
        for &before in node.needs.union(&node.after) {
            let before = &graph[before];
            if place("ready", before) >= place("starts", node) {
                wrong.push(format!("{} starts before {} is ready", node.name, before.name));
            }
        }
        // This includes dependencies through one-shots that ended long ago: their daemons are still
        // needed.
        for before in daemons_below(graph, node) {
            if !node.once && place("ended", node) >= place("stops", before) {
                wrong.push(format!("{} stops before {} has ended", before.name, node.name));
            }
        }
    }
    wrong
}

/// The daemons that `node` needs, directly or through one-shots.
fn daemons_below<'a>(graph: &'a [Node], node: &'a Node) -> Vec<&'a Node> {
    let below = node.needs.iter().map(|&number| &graph[number]);
    below.flat_map(|it| if it.once { daemons_below(graph, it) } else { vec![it] }).collect()
}

#[test]
fn the_judge_finds_what_is_wrong() {
    let node = |name: &str, needs: &[usize]| Node {
        name: name.into(),
        once: false,
        needs: needs.iter().copied().collect(),
        after: BTreeSet::new(),
    };
    let graph = [node("a", &[]), node("b", &[0])];
    let good = "starts a\nready a\nstarts b\nready b\nstops b\nended b\nstops a\nended a\n";
    assert_eq!(judge(&graph, good), [""; 0]);
    for (from, to) in [
        ("ready a\nstarts b", "starts b\nready a"),
        ("ended b\nstops a", "stops a\nended b"),
        ("ready b\n", ""),
        ("starts b\n", "starts b\nstarts b\n"),
    ] {
        assert_ne!(judge(&graph, &good.replace(from, to)), [""; 0], "{to}");
    }
}
