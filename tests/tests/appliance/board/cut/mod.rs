//! The power is cut after any write of a run in which a unit prints numbered lines and settings are
//! changed and confirmed: the lines are in the log, and the settings are the old or the new ones.

mod log;
mod settings;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use octet_machine::{Machine, WriteLog};
use octet_tests::{DiskFile, Image, READY, Remake, SOON, guest, in_parallel, shipped, soak};

use self::log::{NUMBERS, Said};
use self::settings::{NAMES, apply, confirm, name, place_in_force};

/// The number of states that are checked with independent tools, in addition to those around an
/// acknowledgement; one of them is booted. With `--soak` all are.
const STATES: usize = 2;

/// How long lines are printed before any change, in milliseconds.
const RUN: u64 = 15_000;

/// The number of writes that QEMU has logged.
fn writes(log: &Path) -> usize {
    WriteLog::read(log).unwrap().writes().len()
}

// No in-process test can show that a service is not blocked too long by the log's disk, and that a
// kernel's file system keeps synced data.
#[test]
fn after_any_write_of_the_log_and_of_settings() {
    let shipped = shipped();
    let image = Remake::of(&shipped).program("numbers", &guest("numbers")).unit(NUMBERS).image();
    // Another test covers the writes of a first boot.
    let used = DiskFile::used();
    let start = |image: &Image, disk| {
        let machine = image.machine().disk(disk).cpus(1).start().unwrap();
        machine.wait_ready(READY).unwrap();
        machine
    };
    let power_off = |machine: Machine| {
        assert!(machine.power_off(SOON).unwrap().is_power_off(), "{}", machine.tail(20));
    };
    let run = DiskFile::copy(&used.path());
    let log = run.beside("log");
    let machine = start(&image, run.disk().log(&log));
    assert_eq!(name(&machine), NAMES[0]);
    let mut said = Said::default();
    said.note_for(&machine, &log, RUN);
    // Before the first number no new settings were acknowledged, and after the last one they were:
    // the number of writes before and after each change.
    let mut told = vec![];
    for new in &NAMES[1..] {
        let before = writes(&log);
        apply(&machine, new);
        // A power cut undoes unconfirmed settings.
        let between = writes(&log);
        confirm(&machine);
        told.push((before, between, writes(&log)));
        said.note(&machine, &log);
    }
    said.end(&machine);
    power_off(machine);
    let log = WriteLog::read(&log).unwrap();
    let (first, last) = (said.first(), log.writes().len());
    assert!(told.iter().all(|(before, between, after)| before < between && between < after));

    let edges = told.iter().flat_map(|(before, between, after)| [*before, *between, *after]);
    let mut chosen: Vec<usize> = if soak() {
        (first..=last).collect()
    } else {
        let sampled = (0..STATES).map(|place| first + place * (last - first) / STATES);
        sampled.chain(edges).chain([last]).collect()
    };
    chosen.sort_unstable();
    chosen.dedup();
    println!(
        "{last} writes, {first} before the first line, {told:?} around changes; states {chosen:?}"
    );

    let fresh = DiskFile::copy(&used.path());
    let seen = Mutex::new(BTreeMap::new());
    in_parallel(used.after_writes(&log, &chosen), |(made, disk)| {
        seen.lock().unwrap().insert(made, place_in_force(made, &disk));
    });
    let seen = seen.into_inner().unwrap();
    for (made, place) in &seen {
        let least = told.iter().filter(|(_, _, after)| after <= made).count();
        let most = told.iter().filter(|(_, between, _)| between < made).count();
        assert!((least..=most).contains(place), "after {made}: {place}, not {least} to {most}");
    }
    let places: Vec<usize> = seen.values().copied().collect();
    assert!(places.is_sorted() && places[0] == 0 && places.ends_with(&[2]), "{places:?}");

    // The box itself has the same result; here it boots from the last state with the first new
    // settings, in which a part of the next ones exists.
    let one = seen.iter().rev().find(|(_, place)| **place == 1).map(|(made, _)| *made);
    let one = one.unwrap_or_else(|| panic!("none has the first new ones: {seen:?}"));
    assert!(said.due(one) > 0, "no line would have to be there after {one}");
    let booted = if soak() { chosen } else { vec![one] };
    in_parallel(fresh.after_writes(&log, &booted), |(made, disk)| {
        let machine = start(&shipped, disk.disk());
        assert_eq!(name(&machine), NAMES[seen[&made]], "after {made}");
        let note = machine.boot().unwrap().data.unwrap().note;
        assert!(note.as_deref().is_some_and(|note| note.contains("checked")), "{made}: {note:?}");
        said.is_kept(made, &machine);
        power_off(machine);
    });
}
