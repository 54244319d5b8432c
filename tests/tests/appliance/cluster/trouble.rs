//! Faults of a box: cables, power and daemons fail, and it recovers without an operator.

use std::thread::sleep;
use std::time::Duration;

use octet_machine::{Node, Socket, UnitState};
use octet_tests::{DiskFile, SOON, seed};
use serde_json::json;

use crate::cluster::kept::{Kept, PLACES};
use crate::cluster::site::address;

/// The units of the router without which there is no box.
const UNITS: [&str; 6] = ["netd", "lan", "cluster", "identity", "config", "gate"];

/// The name of a fault, and a function that causes it, for a board if it concerns one.
type Trouble = (&'static str, fn(&Kept, u8));

const TROUBLES: [Trouble; 4] = [
    ("a cable is cut", cable),
    ("the router's units are killed", units),
    ("a board is killed", board),
    ("the router loses its power", router),
];

const ROUNDS: u32 = 10;

/// All faults at random times.
pub fn passes(kept: &Kept) {
    let seed = seed();
    println!("troubles: seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let keys = kept.site.wait_whole(&PLACES);
    let mut sequence = 0;
    for round in 0..ROUNDS {
        let mut troubles = TROUBLES;
        chance.shuffle(&mut troubles);
        for (name, happens) in troubles {
            sleep(Duration::from_millis(chance.u64(..4_000)));
            let number = chance.u8(1..=3);
            println!("{round}: {name} (board {number})");
            happens(kept, number);
            assert_eq!(kept.site.wait_whole(&PLACES), keys, "after {name}");
            let map = kept.site.ask(Node::Router, "cluster", "show", json!({}));
            let now = map["sequence"].as_u64().unwrap();
            assert!(now >= sequence, "after {name}: map {now}, and {sequence} before");
            sequence = now;
        }
    }
}

/// The router's disk as a power cut would leave it now.
pub fn disk_of_now(kept: &Kept) -> DiskFile {
    let machine = kept.site.machine(Node::Router);
    // Its pending requests to the disk complete before the stop (QEMU's qapi/misc.json).
    machine.qmp("stop", json!({})).unwrap();
    let copy = DiskFile::copy(&kept.router.path());
    machine.qmp("cont", json!({})).unwrap();
    copy
}

fn cable(kept: &Kept, number: u8) {
    let own = format!("{}/24", address(number));
    kept.site.cluster.unplug(Socket::Router(number)).unwrap();
    kept.site.wait("without a cable there is no address", || {
        !kept.site.addresses(Node::Board(number), "eth0").contains(&own)
    });
    kept.site.cluster.plug(Socket::Router(number), Socket::Board(number)).unwrap();
    // The loss of the connection to the coordinator may not have been noticed yet.
    kept.site.wait("with a cable there is one again", || {
        kept.site.addresses(Node::Board(number), "eth0").contains(&own)
    });
}

fn board(kept: &Kept, number: u8) {
    kept.power_off(Node::Board(number));
    kept.power_on(Node::Board(number));
    kept.site.wait_ready(Node::Board(number));
}

fn units(kept: &Kept, _: u8) {
    let machine = kept.site.machine(Node::Router);
    let restarts = || {
        let status = machine.status().unwrap();
        UNITS.map(|name| status.unit(name).unwrap().restarts)
    };
    let before = restarts();
    for name in UNITS {
        machine.call("signal", json!({ "unit": name, "signal": "KILL" })).unwrap();
    }
    let back = |status: &octet_machine::Status| {
        UNITS.iter().zip(before).all(|(name, before)| {
            let unit = status.unit(name).unwrap();
            unit.restarts > before && unit.state == UnitState::Ready
        })
    };
    machine.wait_status("all are back", SOON, back).unwrap();
}

fn router(kept: &Kept, _: u8) {
    kept.power_off(Node::Router);
    kept.power_on(Node::Router);
    kept.site.wait_ready(Node::Router);
}
