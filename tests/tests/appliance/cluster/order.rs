//! Blank boards in any order become one box, and each has the number of its port.

use std::time::{Duration, Instant};

use octet_machine::panel::Mac;
use octet_machine::{Node, Socket};
use octet_tests::{Image, seed};
use serde_json::json;

use crate::cluster::site::{Site, address, image, text};

/// The box has more ports than boards: the others are for attackers.
const fn ports(boards: u8) -> u8 {
    if boards <= 4 { 8 } else { 16 }
}

/// Blank boards in a random order: one is late, one loses its power during the boot and returns,
/// one has the MAC address of another, and one claims another's number.
fn any_order(boards: u8, image: Image, seed: u64) -> Site {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut order: Vec<u8> = (1..=boards).collect();
    chance.shuffle(&mut order);
    let (late, crashing, copied) = (order[0], order[1], order[2]);
    let first = chance.usize(..order.len());
    println!(
        "seed {seed}: {order:?}, the router at {first}, {late} is late, {crashing} crashes, {copied} is there twice"
    );
    let site = Site::of(ports(boards), image);
    let mut began = None;
    for (at, number) in order.iter().enumerate() {
        if at == first {
            site.power_on(Node::Router);
        }
        if *number == late {
            began = Some(Instant::now() + Duration::from_millis(chance.u64(5_000..20_000)));
            continue;
        }
        site.power_on(Node::Board(*number));
        if *number == crashing {
            std::thread::sleep(Duration::from_millis(chance.u64(100..4_000)));
            site.cluster.cut_power(Node::Board(*number)).unwrap();
            site.power_on(Node::Board(*number));
        }
    }
    std::thread::sleep(began.unwrap().saturating_duration_since(Instant::now()));
    site.power_on(Node::Board(late));
    for node in [Node::Router].into_iter().chain(order.iter().copied().map(Node::Board)) {
        site.wait_ready(node);
    }
    let all: Vec<_> = (1..=boards).map(|number| (Node::Board(number), number)).collect();
    let before = site.wait_whole(&all);

    // The copy of a board's MAC address at another port gets no address, and the conflict is
    // reported. The liar gets an address, and is refused.
    let (copy, liar) = (Node::Board(boards + 1), Node::Board(boards + 2));
    site.cluster.power_on_as(copy, Mac::number(copied), site.machine_of(copy)).unwrap();
    let lies = site.machine_of(liar).kernel_argument(&format!("octet.board={copied}"));
    site.cluster.power_on(liar, lies).unwrap();
    let told = format!("is at eth{copied}");
    site.wait("the copy is told of", || {
        let shown = site.ask(Node::Router, "lan", "show", json!({}));
        let refused = shown["refused"].as_array().unwrap();
        refused.iter().any(|it| it.as_str().unwrap().contains(&told))
    });
    let claims = format!("{copied}");
    site.wait("the liar is told of", || {
        site.refusal(boards + 2).is_some_and(|why| why.contains(&claims))
    });
    println!("{liar}: {:?}", site.refusal(boards + 2));
    assert_eq!(site.wait_whole(&all), before, "the others are not touched");
    assert_eq!(site.number(copy), None);
    // The first owner of a MAC address keeps it: the copy would get it once its owner moves.
    for node in [copy, liar] {
        site.cluster.cut_power(node).unwrap();
    }
    site
}

/// Checks that a board has the number and addresses of its port.
fn has_its_place(site: &Site, node: Node, number: u8) {
    site.wait(&format!("{node} is board {number}"), || site.number(node) == Some(number.into()));
    let wanted = [format!("{}/24", address(number)), format!("fd6f:6374:6574:{number:x}::2/64")];
    site.wait(&format!("{node} has {wanted:?}"), || {
        let addresses = site.addresses(node, "eth0");
        wanted.iter().all(|it| addresses.contains(it))
    });
}

/// A board gets the number of its port, also if it is moved to another port while it runs.
fn is_moved(site: &Site, boards: u8) {
    let all: Vec<_> = (1..=boards).map(|number| (Node::Board(number), number)).collect();
    let keys = site.wait_whole(&all);
    for (node, number) in &all {
        has_its_place(site, *node, *number);
    }
    site.cluster.plug(Socket::Router(1), Socket::Board(2)).unwrap();
    site.cluster.plug(Socket::Router(2), Socket::Board(1)).unwrap();
    for (board, number) in [(2, 1), (1, 2)] {
        has_its_place(site, Node::Board(board), number);
        // It has that address, but it is not the enrolled node.
        site.wait("it is told of", || site.refusal(number).is_some());
        assert_eq!(site.row(number)["node"], keys[&number]);
    }
    // The boards are moved back, and one is without a cable for a while.
    site.cluster.plug(Socket::Router(1), Socket::Board(1)).unwrap();
    site.cluster.plug(Socket::Router(2), Socket::Board(2)).unwrap();
    site.cluster.unplug(Socket::Board(3)).unwrap();
    site.wait("without a cable there is no address", || {
        !site.addresses(Node::Board(3), "eth0").contains(&format!("{}/24", address(3)))
    });
    site.cluster.plug(Socket::Router(3), Socket::Board(3)).unwrap();
    for (node, number) in &all {
        has_its_place(site, *node, *number);
    }
    assert_eq!(site.wait_whole(&all), keys);
}

/// In the short tier all other tests here have boxes of blank boards, `refused.rs` has swapped
/// cables, and an in-process test has false claims (`services/cluster/tests/daemon/attacks.rs`).
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn blank_boards_in_any_order_become_one_box() {
    let (rounds, boards) = (5, 8);
    let (seed, image) = (seed(), image(&text(ports(boards), "")));
    for round in 0..rounds {
        let site = any_order(boards, image.clone(), seed.wrapping_add(round));
        if round == 0 {
            is_moved(&site, boards);
        }
    }
}
