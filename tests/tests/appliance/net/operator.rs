//! The released gate with an operator: only the owner's program with the operator's key gets
//! access, and no other port is reachable.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::Instant;

use octet_appliance::SETTINGS;
use octet_machine::Machine;
use octet_machine::panel::{Host, Reply};
use octet_tests::{AARCH64, Image, Owner, READY, RETRY_DELAY, Remake, SOON, shipped, shipped_for};
use serde_json::json;

use crate::net::guest::{BOX_LINK, GATE, TEST, boot, gate};
use crate::net::scan::{ROUNDS, boxes, datagrams_are_answered, network, ports, station};

fn node(machine: &Machine) -> String {
    let shown = machine.call_unit("identity", "show", json!({})).unwrap();
    shown["node"].as_str().unwrap().to_owned()
}

/// Whether the gate has logged the words; a message takes a moment to arrive.
fn said(machine: &Machine, words: &[&str]) -> bool {
    let deadline = Instant::now() + SOON;
    loop {
        let lines = machine.logs("gate").unwrap();
        let found = lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
        if found || Instant::now() >= deadline {
            return found;
        }
        sleep(RETRY_DELAY);
    }
}

/// The released image with fixed addresses, and an operator with `read`.
fn with_anna(shipped: &Image, anna: &str) -> Remake {
    let operators = [json!({ "key": anna, "name": "anna", "may": ["read"] })];
    let settings = json!({
        "appliance": { "name": "octet" },
        "network": network(),
        "operator": { "keys": operators },
    });
    Remake::of(shipped).file(SETTINGS, 0o644, settings.to_string().into_bytes())
}

#[test]
fn an_operator_is_let_in_and_a_stranger_is_not() {
    let owner = Owner::new();
    let (anna, stranger) = (owner.keygen("anna"), owner.keygen("stranger"));
    let (machine, port) = boot(with_anna(&shipped(), &anna));
    let node = node(&machine);

    let mut station = station(port);
    for target in boxes() {
        let tcp: BTreeSet<_> =
            station.scan_tcp(target, ports(), GATE).unwrap().into_iter().collect();
        assert_eq!(tcp, [(GATE, Reply::Open)].into(), "{target}");
        // The same probes are answered without rules (`scan`).
        assert!(!datagrams_are_answered(&mut station, target, ROUNDS), "{target}");
    }

    let ours: [(&str, u8); 2] = [("192.0.2.1", 24), ("fe80::2", 64)];
    let ours = ours.map(|(address, prefix)| (address.parse::<IpAddr>().unwrap(), prefix));
    let host = Host::start(station.into_port(), TEST, &ours);
    for target in ["192.0.2.7", BOX_LINK] {
        let address = host.forward_tcp(gate(target.parse().unwrap())).unwrap();
        let named = format!("{node}@{address}");
        let status = owner.ask("anna", &["--box", &named, "status"]);
        assert_eq!(status.status, Some(0), "{target}: {}", status.stderr);
        assert!(status.stdout.contains("identity"), "{}", status.stdout);
        // From now on the box is known by its address.
        let known = owner.ask("anna", &["--box", &address.to_string(), "identity", "show"]);
        assert!(known.status == Some(0) && known.stdout.contains(&node), "{}", known.stderr);

        let refused = owner.ask("anna", &["--box", &named, "reboot"]);
        assert_eq!(refused.status, Some(1), "{}", refused.stdout);
        assert!(refused.stderr.contains("operate"), "{}", refused.stderr);
        let refused = owner.ask("stranger", &["--box", &named, "status"]);
        assert_eq!(refused.status, Some(1), "{}", refused.stdout);
        // Another box than the expected one answers: no request is sent to it.
        let another = owner.ask("anna", &["--box", &format!("{stranger}@{address}"), "status"]);
        assert!(another.status == Some(1) && another.stderr.contains(&node), "{}", another.stderr);
    }
    // The box is blocked: it is not contacted any more, at any address and by any name.
    let address = host.forward_tcp(gate("192.0.2.7".parse().unwrap())).unwrap();
    let named = format!("{node}@{address}");
    assert_eq!(owner.ask("anna", &["--box", &named, "status"]).status, Some(0));
    assert_eq!(owner.ask("anna", &["revoke", &address.to_string()]).status, Some(0));
    for target in [named, address.to_string()] {
        let refused = owner.ask("anna", &["--box", &target, "status"]);
        assert_eq!(refused.status, Some(1), "{}", refused.stdout);
        assert!(refused.stderr.contains(&format!("{node} was revoked")), "{}", refused.stderr);
    }
    let listed = owner.ask("anna", &["boxes"]).stdout;
    assert!(listed.starts_with(&format!("{node} revoked ")), "{listed}");

    for words in [
        [anna.as_str(), "init status", "allowed"],
        [&anna, "init status", "done"],
        [&anna, "init reboot", "refused"],
        [&stranger, "192.0.2.1", "refused"],
        [&stranger, "fe80::2", "refused"],
    ] {
        assert!(said(&machine, &words), "{words:?}: {:#?}", machine.logs("gate").unwrap());
    }
    machine.wait_ready(READY).unwrap();
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn the_same_on_arm() {
    let owner = Owner::new();
    let (anna, stranger) = (owner.keygen("anna"), owner.keygen("stranger"));
    let (machine, port) = boot(with_anna(&shipped_for(AARCH64), &anna));
    let host = Host::start(port, TEST, &[("192.0.2.1".parse().unwrap(), 24)]);
    let address = host.forward_tcp(gate("192.0.2.7".parse().unwrap())).unwrap();
    let named = format!("{}@{address}", node(&machine));
    let status = owner.ask("anna", &["--box", &named, "status"]);
    assert!(status.status == Some(0) && status.stdout.contains("identity"), "{}", status.stderr);
    let refused = owner.ask("stranger", &["--box", &named, "status"]);
    assert_eq!(refused.status, Some(1), "{}", refused.stdout);
    assert!(refused.stderr.contains(&stranger), "{}", refused.stderr);
    assert!(said(&machine, &[&stranger, "192.0.2.1", "refused"]), "{:#?}", machine.logs("gate"));
}
