//! The power goes after any write while settings are given to a box and confirmed: it comes up with
//! those from before or with the new ones, and what it had confirmed to somebody stays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use octet_bundle::Digest;
use octet_control::file::LocalFile;
use octet_machine::{Machine, WriteLog};
use octet_tests::{DiskFile, READY, SOON, in_parallel, shipped, soak, workspace};
use serde_json::{Value, json};

/// How many states are looked at with other tools, besides those around a promise, and one is
/// booted; with `--soak` it is all.
const STATES: usize = 12;

/// The name that the box has before, and those that it is given one after the other.
const NAMES: [&str; 3] = ["octet", "one", "two"];

/// What the image was built with, and another name.
fn text(name: &str) -> String {
    let shipped = std::fs::read_to_string(workspace().join("appliance.toml")).unwrap();
    shipped.replace("name = \"octet\"", &format!("name = {name:?}"))
}

fn config(machine: &Machine, verb: &str, args: Value) -> Value {
    machine.call_unit("config", verb, args).unwrap()
}

/// The name in force, by config's own word.
fn name(machine: &Machine) -> String {
    let shown = config(machine, "show", json!({ "section": "appliance" }));
    shown["name"].as_str().unwrap().to_owned()
}

fn writes(log: &Path) -> usize {
    WriteLog::read(log).unwrap().writes().len()
}

/// The name in force by the files of config's folder, read by e2fsprogs: that of the copy with the
/// highest number among those that were confirmed. Every copy must be whole.
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

#[test]
fn after_any_write_the_old_or_the_new_settings() {
    let image = shipped();
    // The writes of a first boot are for another test.
    let used = DiskFile::used();
    let start = |disk| {
        let machine = image.machine().disk(disk).cpus(1).start().unwrap();
        machine.wait_ready(READY).unwrap();
        machine
    };
    let power_off = |machine: Machine| {
        assert!(machine.power_off(SOON).unwrap().is_power_off(), "{}", machine.tail(20));
    };
    let run = DiskFile::copy(&used.path());
    let log = run.beside("log");
    let machine = start(run.disk().log(&log));
    assert_eq!(name(&machine), NAMES[0]);
    // Up to here nobody was told of new settings, and from there on somebody was: writes before and
    // after each change.
    let mut told = vec![];
    for new in &NAMES[1..] {
        let before = writes(&log);
        let mut file = LocalFile::Held(text(new).into_bytes());
        machine.send_file_with("config", "apply", json!({}), "file", &mut file).unwrap();
        assert_eq!(name(&machine), *new);
        // An unconfirmed one is undone by a cut.
        let between = writes(&log);
        config(&machine, "confirm", json!({}));
        told.push((before, between, writes(&log)));
    }
    power_off(machine);
    let log = WriteLog::read(&log).unwrap();
    let (first, last) = (told[0].0, log.writes().len());
    assert!(told.iter().all(|(before, between, after)| before < between && between < after));

    let all: Vec<usize> = (first..=last).collect();
    let edges = told.iter().flat_map(|(before, between, after)| [*before, *between, *after]);
    let mut chosen: Vec<usize> = if soak() {
        all
    } else {
        let sampled = (0..STATES).map(|place| all[place * all.len() / STATES]);
        sampled.chain(edges).chain([last]).collect()
    };
    chosen.sort_unstable();
    chosen.dedup();
    println!("{last} writes, {told:?} around each change; states {chosen:?}");

    let fresh = DiskFile::copy(&used.path());
    let seen = Mutex::new(BTreeMap::new());
    in_parallel(used.after_writes(&log, &chosen), |(made, disk)| {
        let name = in_force(made, &disk);
        let place = NAMES.iter().position(|known| *known == name);
        let place = place.unwrap_or_else(|| panic!("after {made}: a third one, {name}"));
        seen.lock().unwrap().insert(made, place);
    });
    let seen = seen.into_inner().unwrap();
    for (made, place) in &seen {
        let least = told.iter().filter(|(_, _, after)| after <= made).count();
        let most = told.iter().filter(|(_, between, _)| between < made).count();
        assert!((least..=most).contains(place), "after {made}: {place}, not {least} to {most}");
    }
    let places: Vec<usize> = seen.values().copied().collect();
    assert!(places.is_sorted() && places[0] == 0 && places.ends_with(&[2]), "{places:?}");

    // The box itself comes to the same, here from the last state of the first new ones: some of the next are there.
    let last = seen.iter().rev().find(|(_, place)| **place == 1).map(|(made, _)| *made);
    let last = last.unwrap_or_else(|| panic!("none has the first new ones: {seen:?}"));
    let booted = if soak() { chosen } else { vec![last] };
    let booted = fresh.after_writes(&log, &booted);
    in_parallel(booted, |(made, disk)| {
        let machine = start(disk.disk());
        assert_eq!(name(&machine), NAMES[seen[&made]], "after {made}");
        power_off(machine);
    });
}
