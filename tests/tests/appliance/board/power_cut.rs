//! A first boot by firmware with a power cut after any write: the next boot reaches the same state,
//! and no stored data is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use octet_machine::{Machine, WriteLog};
use octet_tests::{DiskFile, Image, READY, SOON, guest, in_parallel, part};

use crate::board::disk;

/// The size of the medium, in MiB.
const MEDIUM: u64 = 320;

/// The number of states that are booted: those in which the table or the EFI system partition was
/// written last, and others up to this number.
const STATES: usize = 300;

/// The number of lines that the diary adds per boot.
const LINES: usize = 6;

/// The message of the unit `data` that it has tidied up the ESP.
const TIDIED: &str = " after a power cut: ";

/// The highest number that the diary has printed after this word.
fn diary(machine: &Machine, word: &str) -> Option<usize> {
    let lines = machine.logs("diary").unwrap();
    lines.iter().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).max()
}

/// Waits until the diary has printed at least that number.
fn wait_diary(machine: &Machine, word: &str, number: usize) -> usize {
    let deadline = Instant::now() + SOON;
    loop {
        match diary(machine, word) {
            Some(said) if said >= number => return said,
            _ => assert!(Instant::now() < deadline, "late: {word} {number}\n{}", machine.tail(20)),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The reference run: its writes, and the number of writes after which each line of the diary was
/// synced.
struct Reference {
    log: WriteLog,
    kept_after: Vec<usize>,
}

fn reference(image: &Image) -> Reference {
    let disk = DiskFile::flashed(image, MEDIUM);
    assert_eq!(disk.entries(), [format!("octet-{}+3.conf", image.slot())]);
    assert!(disk.esp_names("octet").contains(&"first-boot".to_owned()));
    let log = disk.beside("log");
    let machine = image.machine_from(disk.disk().log(&log)).start().unwrap();
    machine.wait_ready(READY).unwrap();
    let mut kept_after = Vec::new();
    while kept_after.len() < LINES {
        let kept = wait_diary(&machine, "kept ", kept_after.len() + 1);
        let writes = WriteLog::read(&log).unwrap().writes().len();
        kept_after.resize(kept, writes);
    }
    assert_eq!(machine.wait_slot(READY).unwrap(), "good");
    disk::is_made(&machine, MEDIUM);
    // The kernel still initialises the inode tables.
    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
    drop(machine);
    disk::check(&disk, image);
    Reference { log: WriteLog::read(&log).unwrap(), kept_after }
}

/// A state to boot from: the disk after the first `writes` writes.
struct State {
    writes: usize,
    part: &'static str,
    disk: DiskFile,
}

/// The states to boot, as numbers of writes.
fn chosen(parts: &[&str]) -> Vec<usize> {
    let is_critical = |made: &usize| *made > 0 && parts[made - 1] != "data";
    let (critical, others): (Vec<usize>, Vec<usize>) = (0..=parts.len()).partition(is_critical);
    let room = STATES.saturating_sub(critical.len()).min(others.len());
    let sampled = (0..room).map(|place| others[place * others.len() / room]);
    let mut all: Vec<usize> = critical.iter().copied().chain(sampled).collect();
    all.sort_unstable();
    all
}

/// The short tier has cuts of an update (`update::cut`) and of settings (`board::cut`).
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn after_any_write_of_a_first_boot() {
    let image = Image::with_services(&[("diary", guest("diary"))]);
    let Reference { log, kept_after } = reference(&image);
    let flashed = DiskFile::flashed(&image, MEDIUM);
    let sectors = flashed.sectors();
    let parts: Vec<&str> = log.writes().iter().map(|write| part(&write.range(), sectors)).collect();
    let chosen = chosen(&parts);
    let named = |name: &str| parts.iter().filter(|part| **part == name).count();
    println!(
        "{} writes: {} of the partition table, {} of the ESP, {} of the data partition",
        parts.len(),
        named("table"),
        named("esp"),
        named("data")
    );
    println!("{} states, by the number of writes made: {chosen:?}", chosen.len());
    println!("lines of the diary kept after writes {kept_after:?}");
    assert!(named("table") >= 2 && named("esp") >= 3 && named("data") >= 20, "{parts:?}");

    let tidied = AtomicUsize::new(0);
    in_parallel(flashed.after_writes(&log, &chosen), |(writes, disk)| {
        let part = writes.checked_sub(1).map_or("data", |last| parts[last]);
        if boots(&image, &State { writes, part, disk }, &kept_after) {
            tidied.fetch_add(1, Ordering::Relaxed);
        }
    });
    let tidied = tidied.into_inner();
    println!("the ESP of {tidied} states was tidied up");
    assert!(tidied > 0, "the cuts have left nothing on the ESP: they came too early or too late");
}

/// The problems that `fsck.vfat` finds on the ESP, without its name and its usage.
fn found_on_esp(disk: &DiskFile) -> Vec<String> {
    let said = disk.fsck_esp();
    let told = |line: &&str| !line.starts_with("fsck.fat ") && !line.ends_with(" clusters");
    let found: Vec<_> = said.stdout.lines().filter(told).map(str::to_owned).collect();
    assert!(said.status == Some(0) || !found.is_empty(), "{}{}", said.stdout, said.stderr);
    found
}

/// The changes of the unit `data` to the ESP.
fn tidied(machine: &Machine) -> Option<String> {
    let lines = machine.logs("data").unwrap();
    assert!(!lines.iter().any(|line| line.starts_with("/dev/")), "a problem: {lines:?}");
    lines.iter().find_map(|line| Some(line.split_once(TIDIED)?.1.to_owned()))
}

/// Boots from the state and checks everything; by firmware if it is the firmware's part that was cut.
/// Returns whether the ESP was tidied up.
fn boots(image: &Image, state: &State, kept_after: &[usize]) -> bool {
    let by = if state.part != "data" { "firmware" } else { "kernel" };
    let cut = found_on_esp(&state.disk).join("; ");
    println!("after write {} ({}), by {by}; the ESP: {cut}", state.writes, state.part);
    let builder = match by {
        "firmware" => image.machine_from(state.disk.disk()).cpus(1),
        _ => {
            let slot = format!("octet.slot={}", image.slot());
            image.machine().disk(state.disk.disk()).cpus(1).kernel_argument(&slot)
        }
    };
    let machine = builder.start().unwrap();
    assert_eq!(machine.wait_slot(READY).unwrap(), "good");
    let kept = kept_after.iter().take_while(|after| **after <= state.writes).count();
    let found = wait_diary(&machine, "found ", 0);
    assert!(found >= kept, "{} of {kept} lines are there after {}", found, state.writes);
    wait_diary(&machine, "kept ", found + LINES);
    let tidied = tidied(&machine);
    println!("after write {}, tidied up: {}", state.writes, tidied.as_deref().unwrap_or("nothing"));
    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
    drop(machine);

    disk::check(&state.disk, image);
    let found = found_on_esp(&state.disk);
    assert_eq!(found, Vec::<String>::new(), "after {}; tidied: {tidied:?}", state.writes);
    tidied.is_some()
}
