//! The box that is updated: the released image, with keys of the test in `[trust]`.

use std::sync::OnceLock;

use octet_appliance::SETTINGS;
use octet_bundle::SlotState;
use octet_machine::{Disk, Machine, State, UnitState};
use octet_tests::{DiskFile, READY, Release, Remake, SOON, SigningKey, shipped};
use serde_json::json;

/// The key that boxes trust.
pub fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(SigningKey::new)
}

/// Another key that boxes initially trust.
pub fn second_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(SigningKey::new)
}

/// The released image with these keys, and with a file that distinguishes it from others.
pub fn remake(name: &str) -> Remake {
    let settings = json!({
        "appliance": { "name": "octet" },
        "trust": { "update_keys": [key().public(), second_key().public()] },
    });
    let named = format!("this is {name}\n").into_bytes();
    Remake::of(&shipped()).file(SETTINGS, 0o644, settings.to_string().into_bytes()).file(
        // It is the last file: files after one with another size are shifted, and chunks of a fixed
        // size would differ.
        "/var/release",
        0o644,
        named,
    )
}

/// The same as a release.
pub fn release(name: &str, sequence: u64) -> Release {
    Release::of(&remake(name).image(), sequence)
}

/// A disk with `release` only, marked good, as if it had been flashed and used.
pub fn flashed(release: &Release) -> DiskFile {
    let (image, disk) = (shipped(), DiskFile::used());
    disk.esp_remove(&format!("octet/{}", image.slot()));
    disk.esp_remove(&format!("loader/entries/octet-{}+3.conf", image.slot()));
    release.put_on(&disk, SlotState::Good);
    disk
}

/// A machine that its firmware boots from `disk`.
pub fn boot(disk: &DiskFile) -> Machine {
    machine(disk.disk())
}

/// The same with another kind of disk.
pub fn machine(disk: Disk) -> Machine {
    shipped().machine_from(disk).cpus(1).reboots().watchdog().start().unwrap()
}

/// Waits until some slot is good, over any number of reboots. Returns its name.
pub fn wait_good(machine: &Machine) -> String {
    let good = |status: &octet_machine::Status| {
        let slot = status.unit("slot").map(|unit| unit.state);
        status.state == State::Ready && slot == Some(UnitState::Exited)
    };
    machine.wait_status("a good slot", READY * 2, good).unwrap();
    machine.boot().unwrap().slot.unwrap().version
}

pub fn power_off(machine: &Machine) {
    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
}
