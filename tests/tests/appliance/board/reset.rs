//! A factory reset: the previous data is gone, even from the raw disk. In the long tier also: after a
//! power cut at any write the box is either the old or a new one. Each power cut is a boot of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use octet_machine::{Machine, Status, UnitState, Write, WriteLog};
use octet_tests::{DiskFile, Image, READY, Remake, SOON, guest, in_parallel, part, shipped, soak};
use serde_json::json;

/// The size of the medium, in MiB.
const MEDIUM: u64 = 320;

/// The number of sampled states that are booted, in addition to all those in which the EFI system
/// partition was written last.
const STEPS: usize = 100;

/// The data that the box has stored before.
const SECRET: &str = "what-the-box-has-kept-for-its-owner";

/// The released image with a unit that stores a secret.
fn image() -> Image {
    let unit = format!(
        "name = \"note\"\ntype = \"one-shot\"\nexec = \"/usr/lib/octet/put\"\nuser = \"extra-1\"\n\
         args = [\"/data/note/note\", \"{SECRET}\"]\nafter = [\"data\"]\nstate = true\n"
    );
    Remake::of(&shipped()).program("put", &guest("put")).unit(&unit).image()
}

fn node(machine: &Machine) -> String {
    let shown = machine.call_unit("identity", "show", json!({})).unwrap();
    assert_eq!(shown["kept"], "on the data partition");
    shown["node"].as_str().unwrap().to_owned()
}

fn power_off(machine: &Machine) {
    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
}

fn start(image: &Image, disk: octet_machine::Disk) -> Machine {
    let machine = image.machine().disk(disk).cpus(1).start().unwrap();
    machine.wait_ready(READY).unwrap();
    machine
}

/// The seed of the private key in a file of the data partition, as text and as bytes.
fn seed(disk: &DiskFile, file: &str) -> [Vec<u8>; 2] {
    let line = disk.debugfs(&format!("cat {file}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((words[0], words.len()), ("octet-key-1", 3), "{file}");
    let seed = STANDARD.decode(words[2]).unwrap();
    assert_eq!(seed.len(), 32);
    [words[2].as_bytes().to_vec(), seed]
}

fn has(file: &Path, bytes: &[u8]) -> bool {
    memmem::find(&fs::read(file).unwrap(), bytes).is_some()
}

/// All files of an image. The folder may have others: the sockets of a running machine.
fn files(image: &Image) -> Vec<PathBuf> {
    let sums = fs::read_to_string(image.file("SHA256SUMS")).unwrap();
    let files: Vec<_> =
        sums.lines().map(|line| image.file(line.split_once("  ").unwrap().1)).collect();
    assert!(files.len() >= 6, "{sums}");
    files
}

/// The result of a boot.
struct Booted {
    name: String,
    /// Whether this boot has made the data partition.
    is_first: bool,
    has_secret: bool,
}

fn boots(disk: &DiskFile) -> Booted {
    // This image does not have the unit that stores the secret.
    let machine = start(&shipped(), disk.disk());
    let name = node(&machine);
    let is_first = is_first(&machine);
    power_off(&machine);
    drop(machine);
    let data = disk.fsck_data();
    assert_eq!(data.status, Some(0), "{}{}", data.stdout, data.stderr);
    assert!(!disk.esp_names("octet").contains(&"first-boot".to_owned()));
    Booted { name, is_first, has_secret: disk.debugfs("ls -p note").contains("/note/") }
}

fn is_first(machine: &Machine) -> bool {
    let note = machine.boot().unwrap().data.unwrap().note;
    note.as_deref() == Some("made by this boot")
}

/// On a medium that supports discard, no previous data is left.
fn is_gone(disk: &DiskFile, seeds: &[[Vec<u8>; 2]]) {
    assert_ne!(seed(disk, "identity/node.key"), seeds[0]);
    assert!(!has(&disk.path(), SECRET.as_bytes()));
    for [line, seed] in seeds {
        assert!(!has(&disk.path(), line) && !has(&disk.path(), seed));
    }
}

/// Some of the numbers of writes from `first` to `last`, inclusive.
fn chosen(log: &WriteLog, (first, last): (usize, usize), sectors: u64) -> Vec<usize> {
    let part = |made: usize| part(&log.writes()[made - 1].range(), sectors);
    let esp = (first + 1..=last).filter(|made| part(*made) == "esp");
    let sampled = (0..=STEPS).map(|place| first + place * (last - first) / STEPS);
    let mut all: Vec<usize> = esp.chain(sampled).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn forgets_everything() {
    let image = image();
    let disk = DiskFile::flashed(&shipped(), MEDIUM);
    let machine = start(&image, disk.disk());
    let kept = |status: &Status| status.unit("note").unwrap().state == UnitState::Exited;
    machine.wait_status("the secret is kept", SOON, kept).unwrap();
    let before = node(&machine);
    power_off(&machine);
    drop(machine);
    let seeds = [seed(&disk, "identity/node.key"), seed(&disk, "gate/key")];
    assert!(has(&disk.path(), SECRET.as_bytes()));
    for [line, seed] in &seeds {
        assert!(has(&disk.path(), line));
        for file in files(&shipped()) {
            assert!(!has(&file, line) && !has(&file, seed), "{}", file.display());
        }
    }

    // The reset is requested, and the power is cut at once.
    let state = DiskFile::copy(&disk.path());
    let log = disk.beside("asked");
    let machine = start(&shipped(), disk.disk().log(&log));
    assert_eq!(node(&machine), before);
    let writes = || WriteLog::read(&log).unwrap().writes().len();
    let reset = |name: &str| machine.call_unit("identity", "reset", json!({ "node": name }));
    let refused = reset(&before.replace("z6Mk", "z6Mm")).unwrap_err().to_string();
    assert!(refused.contains(&before), "{refused}");
    let shown = machine.call_unit("identity", "show", json!({})).unwrap();
    assert_eq!(shown["reset"], json!(null));
    let first = writes();
    let answer = reset(&before).unwrap();
    let last = writes();
    assert!(answer["reset"].as_str().unwrap().contains("next start"), "{answer}");
    machine.kill().unwrap();
    drop(machine);
    if soak() {
        let log = WriteLog::read(&log).unwrap();
        let states = chosen(&log, (first, last), disk.sectors());
        println!("asked for between writes {first} and {last}; states: {states:?}");
        in_parallel(state.after_writes(&log, &states), |(writes, disk)| {
            let Booted { name, has_secret, .. } = boots(&disk);
            println!("after write {writes}: {}", if has_secret { "as before" } else { "another" });
            assert_eq!(name == before, has_secret, "after write {writes}");
            assert!(writes > first || has_secret, "after write {writes}");
            assert!(writes < last || !has_secret, "after write {writes}");
        });
    }

    // The next boot performs it.
    if soak() {
        cut_while_it_is_done(&disk, &before, &seeds);
    }
    let Booted { name, is_first, has_secret } = boots(&disk);
    assert!(name != before && is_first && !has_secret, "{name}");
    is_gone(&disk, &seeds);
}

/// The boot that performs the reset is cut after any of its writes.
fn cut_while_it_is_done(disk: &DiskFile, before: &str, seeds: &[[Vec<u8>; 2]]) {
    let state = DiskFile::copy(&disk.path());
    let cut = DiskFile::copy(&disk.path());
    let log = disk.beside("done");
    let machine = start(&shipped(), cut.disk().log(&log));
    assert!(is_first(&machine));
    assert_ne!(node(&machine), before);
    machine.kill().unwrap();
    drop(machine);
    let log = WriteLog::read(&log).unwrap();
    let states = chosen(&log, (0, log.writes().len()), disk.sectors());
    println!("done by {} writes; states: {states:?}", log.writes().len());
    let is_esp = |write: &Write| part(&write.range(), disk.sectors()) == "esp";
    let formatted = log.writes().iter().rposition(is_esp).unwrap();
    // The first of the last writes to the EFI system partition records the use of the data
    // partition, and the next one removes the marker of the reset.
    let marked = log.writes()[..formatted].iter().rposition(|write| !is_esp(write)).unwrap() + 2;
    let names = Mutex::new(BTreeSet::from([before.to_owned()]));
    in_parallel(state.after_writes(&log, &states), |(writes, disk)| {
        let Booted { name, is_first, has_secret } = boots(&disk);
        println!("after write {writes}: {}", if is_first { "made anew" } else { "used" });
        assert!(name != before && !has_secret, "after write {writes}: {name}");
        // Until the marker is removed, each boot is a first one, and generates a key of its own.
        let is_new = names.lock().unwrap().insert(name);
        assert!(is_new || writes > formatted, "after write {writes}");
        assert!(is_first || writes > marked, "after write {writes}");
        // A medium whose writes are recorded does not support discard.
        if is_first {
            is_gone(&disk, seeds);
        }
    });
}
