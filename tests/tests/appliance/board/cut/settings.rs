//! The settings in force after a power cut: the old or the new ones, and acknowledged confirmations
//! persist.

use std::collections::BTreeMap;

use octet_bundle::Digest;
use octet_control::file::LocalFile;
use octet_machine::Machine;
use octet_tests::{DiskFile, workspace};
use serde_json::{Value, json};

/// The box's name before, and the new ones in order.
pub const NAMES: [&str; 3] = ["octet", "one", "two"];

/// The image's configuration with another name.
fn text(name: &str) -> String {
    let shipped = std::fs::read_to_string(workspace().join("appliance.toml")).unwrap();
    shipped.replace("name = \"octet\"", &format!("name = {name:?}"))
}

fn config(machine: &Machine, verb: &str, args: Value) -> Value {
    machine.call_unit("config", verb, args).unwrap()
}

/// Applies the name `new`, until a restart or a confirmation.
pub fn apply(machine: &Machine, new: &str) {
    let mut file = LocalFile::Memory(text(new).into_bytes());
    machine.send_file_with("config", "apply", json!({}), "file", &mut file).unwrap();
    assert_eq!(name(machine), new);
}

/// Confirms it.
pub fn confirm(machine: &Machine) {
    config(machine, "confirm", json!({}));
}

/// The name in force, from config.
pub fn name(machine: &Machine) -> String {
    let shown = config(machine, "show", json!({ "section": "appliance" }));
    shown["name"].as_str().unwrap().to_owned()
}

/// The name in force according to the files in config's folder, read with e2fsprogs: that of the
/// confirmed copy with the highest number. Every copy must be complete.
fn in_force(made: usize, disk: &DiskFile) -> String {
    disk.mend_data();
    let listed = disk.debugfs("ls -p config");
    let files = listed.lines().filter_map(|line| line.split('/').nth(5));
    let mut confirmed = BTreeMap::new();
    for (file, number, standing) in files.filter_map(|file| {
        let (number, standing) = file.split_once('.')?;
        Some((file, number.parse::<u64>().ok()?, standing))
    }) {
        if standing.ends_with(".new") {
            continue;
        }
        let copy = disk.debugfs(&format!("cat config/{file}"));
        let (line, json) = copy.split_once('\n').unwrap_or_else(|| panic!("{made}: {copy:?}"));
        let digest = Digest::of(json.as_bytes());
        assert_eq!(line, format!("octet-config-1 {digest}"), "after {made}: {file}");
        let copy: Value = serde_json::from_str(json).unwrap();
        let name = copy["settings"]["appliance"]["name"].as_str().unwrap().to_owned();
        if standing == "confirmed" {
            confirmed.insert(number, name);
        }
    }
    confirmed.pop_last().map_or_else(|| NAMES[0].to_owned(), |(_, name)| name)
}

/// The index of that name in [`NAMES`].
pub fn place_in_force(made: usize, disk: &DiskFile) -> usize {
    let name = in_force(made, disk);
    let place = NAMES.iter().position(|known| *known == name);
    place.unwrap_or_else(|| panic!("after {made}: a third one, {name}"))
}
