//! Settings of a running box, changed over the control port: they are tried, confirmed, and undone
//! automatically; after a power cut the last confirmed ones are in force.

use std::time::{Duration, Instant};

use octet_control::file::LocalFile;
use octet_machine::{Machine, Status, UnitState};
use octet_tests::{DiskFile, Image, READY, Remake, SOON, guest, shipped, workspace};
use serde_json::{Value, json};

/// The size of the medium, in MiB.
const MEDIUM: u64 = 320;

const READER: &str = r#"
    name = "reader"
    exec = "/usr/lib/octet/reader"
    user = "extra-1"
    after = ["config"]
    config = ["appliance"]
    sockets.control = { path = "/run/octet/reader.sock", open = true }
"#;

/// The image's configuration with another name.
fn text(name: &str) -> String {
    let shipped = std::fs::read_to_string(workspace().join("appliance.toml")).unwrap();
    assert!(shipped.contains("name = \"octet\""));
    shipped.replace("name = \"octet\"", &format!("name = {name:?}"))
}

fn boot(image: &Image, disk: &DiskFile) -> Machine {
    let machine = image.machine().disk(disk.disk()).cpus(1).start().unwrap();
    machine.wait_ready(READY).unwrap();
    let runs =
        |status: &Status| status.unit("reader").is_some_and(|unit| unit.state == UnitState::Ready);
    machine.wait_status("the reader runs", SOON, runs).unwrap();
    machine
}

fn config(machine: &Machine, verb: &str) -> Value {
    machine.call_unit("config", verb, json!({})).unwrap()
}

/// After an automatic undo, further units may still be applying the settings: the next change is
/// then refused as busy, and retried here.
fn apply(machine: &Machine, text: &str, args: Value) -> Result<Value, String> {
    let deadline = Instant::now() + SOON;
    loop {
        let mut file = LocalFile::Memory(text.as_bytes().to_vec());
        let answer = machine.send_file_with("config", "apply", args.clone(), "file", &mut file);
        match answer.map_err(|error| error.to_string()) {
            Err(why)
                if why.contains("another change is being made") && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(200));
            }
            answer => return answer,
        }
    }
}

/// The name in force, and the one that the reader has applied.
fn names(machine: &Machine) -> (String, String) {
    let section = json!({ "section": "appliance" });
    let shown = machine.call_unit("config", "show", section).unwrap();
    let has = machine.call_unit("reader", "has", json!({})).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&shown["name"]), text(&has["name"]))
}

/// Kills config, and waits for its restart.
fn kill(machine: &Machine) {
    let restarts = |status: &Status| status.unit("config").unwrap().restarts;
    let before = restarts(&machine.status().unwrap());
    machine.call("signal", json!({ "unit": "config", "signal": "KILL" })).unwrap();
    let back = |status: &Status| {
        restarts(status) > before && status.unit("config").unwrap().state == UnitState::Ready
    };
    machine.wait_status("config is back", SOON, back).unwrap();
}

fn both(name: &str) -> (String, String) {
    (name.to_owned(), name.to_owned())
}

fn wait_for(machine: &Machine, name: &str) {
    let deadline = Instant::now() + SOON;
    while names(machine) != both(name) {
        assert!(Instant::now() < deadline, "late: {:?}\n{}", names(machine), machine.tail(30));
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn settings_are_tried_confirmed_and_survive_a_cut() {
    let image = Remake::of(&shipped()).program("reader", &guest("reader")).unit(READER).image();
    let disk = DiskFile::flashed(&shipped(), MEDIUM);
    let machine = boot(&image, &disk);
    assert_eq!(names(&machine), both("octet"));
    assert_eq!(config(&machine, "show")["from"], "the image");

    // Refused by a reader, and as a change that needs a build: nothing has changed anywhere.
    let refused = apply(&machine, &text("refused"), json!({})).unwrap_err();
    assert!(refused.contains("reader refuses: I do not like it: refused"), "{refused}");
    let busybox = text("other").replace("\"busybox\",", "\"bash\",");
    let line = busybox.lines().position(|line| line.starts_with("packages")).unwrap() + 1;
    let refused = apply(&machine, &busybox, json!({})).unwrap_err();
    assert!(refused.contains(&format!("appliance.toml:{line}:")), "{refused}");
    assert!(refused.contains("only a build can use `image.packages`"), "{refused}");
    assert_eq!(config(&machine, "history").as_array().unwrap().len(), 1);
    // Undone, because the unit cannot apply it.
    let broken = apply(&machine, &text("broken"), json!({})).unwrap_err();
    assert!(broken.contains("I cannot: broken"), "{broken}");
    let told = machine.call_unit("reader", "has", json!({})).unwrap()["told"].clone();
    let told: Vec<&str> = told.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(told[told.len() - 2..], ["broken", "octet"]);
    assert_eq!(names(&machine), both("octet"));

    // It is not confirmed.
    assert_eq!(apply(&machine, &text("one"), json!({ "confirm": 10 })).unwrap()["applied"], 2);
    wait_for(&machine, "octet");
    // It is confirmed, and config is killed.
    apply(&machine, &text("two"), json!({})).unwrap();
    assert_eq!(names(&machine), both("two"));
    assert_eq!(config(&machine, "confirm")["confirmed"], 3);
    kill(&machine);
    wait_for(&machine, "two");

    // A unit may read the sections that its unit file names, and no others.
    let peek = |section| machine.call_unit("reader", "peek", json!({ "section": section }));
    assert_eq!(peek("appliance").unwrap()["name"], "two");
    let denied = peek("operator").unwrap_err().to_string();
    assert!(denied.contains("`operator` is not in `config` of the unit file"), "{denied}");

    // It is not confirmed before the power cut.
    apply(&machine, &text("three"), json!({ "confirm": 3600 })).unwrap();
    assert_eq!(names(&machine), both("three"));
    machine.kill().unwrap();
    drop(machine);
    let machine = boot(&image, &disk);
    assert_eq!(names(&machine), both("two"));
    let notes = config(&machine, "show")["notes"].to_string();
    assert!(notes.contains("configuration 4 was not confirmed"), "{notes}");
    // Its number is not reused, nor is a lower one.
    for used in [1, 4] {
        let refused = apply(&machine, &text("four"), json!({ "sequence": used })).unwrap_err();
        assert!(refused.contains("the next one is 5"), "{refused}");
    }
    assert_eq!(apply(&machine, &text("four"), json!({ "sequence": 5 })).unwrap()["applied"], 5);
    assert_eq!(config(&machine, "rollback")["undone"], 5);
    assert_eq!(names(&machine), both("two"));
    // The previous confirmed configuration is the image's.
    assert_eq!(config(&machine, "rollback")["applied"], 6);
    assert_eq!(names(&machine), both("octet"));
    config(&machine, "confirm");
    machine.kill().unwrap();
    drop(machine);
    let machine = boot(&image, &disk);
    assert_eq!(names(&machine), both("octet"));
    assert_eq!(config(&machine, "show")["sequence"], 6);
}
