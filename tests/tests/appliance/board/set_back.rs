//! A machine whose hardware clock is in the year 2040: its owner sets the time back, and the
//! setting persists, although the hardware clock is unchanged.

use octet_machine::Machine;
use octet_tests::{DiskFile, READY, SOON, shipped};
use serde_json::{Value, json};

fn start(disk: &DiskFile) -> Machine {
    let machine = shipped().machine().disk(disk.disk()).cpus(1);
    let machine = machine.argument("-rtc").argument("base=2040-01-01").start().unwrap();
    machine.wait_ready(READY).unwrap();
    machine
}

fn shown(machine: &Machine, key: &str) -> String {
    let shown = machine.call_unit("clock", "show", json!({})).unwrap();
    shown[key].as_str().unwrap().to_owned()
}

fn end(machine: &Machine) {
    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
}

#[test]
#[ignore = "long: `services/clock/tests/run.rs` shows it on a machine that is made up"]
fn a_clock_of_the_future_is_set_back() {
    let disk = DiskFile::used();
    let machine = start(&disk);
    assert!(shown(&machine, "time").starts_with("2040-"));
    let boot = shown(&machine, "boot");
    let set_back = |time: &str, boot: &str| -> Result<Value, String> {
        let said = machine.call_unit("clock", "set-back", json!({ "time": time, "boot": boot }));
        said.map_err(|error| error.to_string())
    };
    for (time, boot, why) in [
        ("2039-01-01T00:00:00Z", &boot[1..], "not the boot of now"),
        ("2020-01-01T00:00:00Z", &boot, "of then"),
        ("2041-01-01T00:00:00Z", &boot, "earlier time"),
    ] {
        let said = set_back(time, boot).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    println!("{}", set_back("2030-06-01T00:00:00Z", &boot).unwrap());
    assert!(shown(&machine, "time").starts_with("2030-06-01"));
    // The gate has a trusted time of its own, which an owner sets: it is unchanged.
    let trusted = machine.call_unit("gate", "show", json!({})).unwrap();
    println!("{trusted}");
    end(&machine);

    let machine = start(&disk);
    assert!(shown(&machine, "time").starts_with("2030-06-01"), "{}", machine.tail(20));
    let said = machine.logs("clock").unwrap();
    assert!(said.iter().any(|line| line.contains("own clock to be wrong")), "{said:?}");
    end(&machine);
}
