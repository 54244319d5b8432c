//! The keys of the node and of its services on the box: who can read which, and who may impersonate
//! whom.

use std::thread::sleep;
use std::time::Instant;

use octet_machine::{Machine, Status, UnitState};
use octet_tests::{DiskFile, Image, READY, RETRY_DELAY, Remake, SOON, guest, shipped};
use serde_json::{Value, json};

/// The size of the medium, in MiB.
const MEDIUM: u64 = 320;

/// A unit that runs `keys` as user `user`, after the gate has started.
fn keys(name: &str, user: &str) -> String {
    format!(
        "name = \"{name}\"\ntype = \"one-shot\"\nexec = \"/usr/lib/octet/keys\"\nuser = \"{user}\"\n\
         needs = [\"gate\", \"identity\"]\n"
    )
}

fn start(image: &Image, disk: &DiskFile) -> Machine {
    let machine = image.machine().disk(disk.disk()).cpus(1).start().unwrap();
    machine.wait_ready(READY).unwrap();
    machine
}

fn show(machine: &Machine, unit: &str) -> Value {
    machine.call_unit(unit, "show", json!({})).unwrap()
}

/// The gate's key and its epoch, once `identity` has certified it.
fn gate_key(machine: &Machine) -> (Value, Value) {
    let shown = show(machine, "identity");
    let gate = shown["certified"].as_array().unwrap().iter().find(|key| key["unit"] == "gate");
    gate.map_or((Value::Null, Value::Null), |gate| (gate["key"].clone(), gate["epoch"].clone()))
}

/// In the short tier `services/identity/tests/daemon` has keys, certificates and revocations, and
/// `supervisor::sandbox` a folder and verbs that are another unit's.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn keys_are_each_ones_own_and_stay() {
    let shipped = shipped();
    let users = [("as-identity", "identity"), ("as-gate", "gate"), ("as-another", "extra-1")];
    let remake = Remake::of(&shipped).program("keys", &guest("keys"));
    let image =
        users.iter().fold(remake, |remake, (name, user)| remake.unit(&keys(name, user))).image();
    let disk = DiskFile::flashed(&shipped, MEDIUM);
    let machine = start(&image, &disk);
    let done = |status: &Status| {
        users.iter().all(|(name, _)| status.unit(name).unwrap().state == UnitState::Exited)
    };
    machine.wait_status("all have tried", SOON, done).unwrap();
    for (name, wanted) in [
        (
            "as-identity",
            ["read", "PermissionDenied", "turned away", "turned away", "denied", "turned away"],
        ),
        ("as-gate", ["PermissionDenied", "read", "denied", "denied", "answered", "answered"]),
        (
            "as-another",
            [
                "PermissionDenied",
                "PermissionDenied",
                "turned away",
                "turned away",
                "denied",
                "turned away",
            ],
        ),
    ] {
        let tried = machine.logs(name).unwrap();
        let came: Vec<&str> =
            tried.iter().filter_map(|line| Some(line.split_once(": ")?.1)).collect();
        assert_eq!(came, wanted, "{name}: {tried:#?}");
    }

    // An operator calls both.
    let (identity, gate) = (show(&machine, "identity"), show(&machine, "gate"));
    assert_eq!(
        (&identity["kept"], &identity["node"]),
        (&json!("on the data partition"), &gate["node"])
    );
    let node = identity["node"].as_str().unwrap().to_owned();
    assert!(node.starts_with("did:key:z6Mk"), "{node}");
    let (first, number) = gate_key(&machine);
    assert_eq!(number, 1);
    machine.call_unit("identity", "revoke", json!({"unit": "gate"})).unwrap();
    // The gate is notified, generates another key, and has it certified.
    let deadline = Instant::now() + SOON;
    while !matches!(gate_key(&machine), (Value::String(_), number) if number == 2) {
        assert!(Instant::now() < deadline, "late: {}", show(&machine, "identity"));
        sleep(RETRY_DELAY);
    }
    assert_ne!(gate_key(&machine).0, first);
    assert!(machine.power_off(SOON).unwrap().is_power_off());
    drop(machine);

    // The box keeps its key over a reboot; another box has another one, and so has one without a
    // disk.
    let again = start(&shipped, &disk);
    assert_eq!(
        (show(&again, "identity")["node"].as_str(), gate_key(&again).1),
        (Some(&*node), json!(2))
    );
    drop(again);
    let without = shipped.machine().cpus(1).start().unwrap();
    without.wait_ready(READY).unwrap();
    let shown = show(&without, "identity");
    assert!(shown["kept"].as_str().unwrap().starts_with("in memory"), "{shown}");
    assert_ne!(shown["node"], node);
}
