//! The data partition: finds, grows, formats, checks and mounts it. This runs as the unit `data`, a
//! process of its own: a disk may be slow or dead, and PID 1 never waits for one.
//!
//! The first boot does this in order, each step on the medium before the next: the partition table
//! (see [`gpt`]), the file system, the file that names the data, and only then it removes the
//! marker on the EFI system partition. While the marker exists the partition is formatted, whatever
//! is on it; without it the partition is never formatted, however damaged. A power cut at any point
//! leaves one of the two states, and the next boot continues from there. When an owner resets the
//! box, the marker is created again (see [`reset`]).

mod board;
mod counterfeit;
pub mod disk;
pub mod esp;
mod ext4;
mod gpt;
mod loader_variable;
mod random_seed;
mod reset;
mod superblock;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use octet_bundle::{DATA as FORMATS, ENTRIES};
use octet_esp::boot_counter::BootCounter;
use octet_esp::fat::Check;
use octet_esp::medium::Medium;
use octet_esp::mounted::{Access, MountedEsp};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::{Value, json};

use crate::command_line;
use crate::facts;
use crate::kernel_modules::{Afterwards, load_list};
use crate::slot;
use disk::{Disk, at, device};

/// Modules needed to detect disks, in the builder's list.
const MODULES: &str = "/usr/lib/octet/modules.disk";

/// The marker: while it exists on the EFI system partition, the data partition is to be formatted.
const FIRST_BOOT: &str = "octet/first-boot";

/// The character in the names of boot entries with a counter.
const COUNTER_MARK: char = '+';

/// Names the data: its format, and an id that is unique to this box.
const MARKER: &str = "/data/octet.json";

/// Written and removed at every start, to test whether writes work.
const PROBE: &str = "/data/.octet-probe";

pub fn run() -> Result<(), String> {
    for failure in load_list(MODULES.as_ref(), Afterwards::Forget) {
        eprintln!("{failure}");
    }
    let disk = Disk::find().inspect_err(|problem| {
        // The trial of a slot does not fail because of it: the slot is not the cause.
        facts::write(facts::DISK, &json!({ "problem": problem }));
    })?;
    if let Some(device) = disk.random_seed() {
        random_seed::load(&device);
    }
    let mut problems = Vec::new();
    let mut keep = |result: Result<bool, String>| {
        result.unwrap_or_else(|problem| {
            problems.push(problem);
            false
        })
    };
    let first_boot = keep(read_esp(&disk));
    if keep(disk.grow(first_boot)) {
        println!("{} now reaches the end of {}", disk.data, disk.disk);
    }
    if let Err(problem) = disk.share_boot_state() {
        eprintln!("`update` cannot count tries: {problem}");
    }
    let note = if first_boot {
        format_on_first_boot(&disk, problems.first())?
    } else {
        let note = mount_existing(&disk)?;
        if reset::is_requested()? {
            println!("{}: everything is erased, as its owner has asked", disk.data);
            reset::begin(&disk)?;
            format_on_first_boot(&disk, problems.first())?
        } else {
            check_or_write_marker(note)?
        }
    };
    if let Err(problem) = probe() {
        problems.push(problem);
    }
    facts::write(facts::DATA, &report(&disk, note.as_deref()));
    problems.is_empty().then_some(()).ok_or_else(|| problems.join("; "))
}

/// Reads from the EFI system partition which board this is, how many tries the slot has left, and
/// whether this is the first boot.
fn read_esp(disk: &Disk) -> Result<bool, String> {
    repair_esp(disk, Check::IfDirty);
    let mut mounted = esp::mount(disk, Access::Read)?;
    let marker = MountedEsp::path(FIRST_BOOT);
    let first_boot = fs::exists(&marker).map_err(at(&marker))?;
    // Firmware renames a counted entry at each start without marking the file system dirty.
    if first_boot || has_boot_counter(&mounted) {
        drop(mounted);
        repair_esp(disk, Check::Always);
        mounted = esp::mount(disk, Access::Read)?;
    }
    board::record();
    slot::record(&mut mounted)?;
    Ok(first_boot)
}

/// Repairs the EFI system partition after a power cut. Firmware has already read what it needs, so
/// an error here does not prevent the start.
fn repair_esp(disk: &Disk, check: Check) {
    match esp::repair(&disk.esp, check) {
        Ok(None) => {}
        Ok(Some(done)) => println!("{} after a power cut: {done}", disk.esp),
        Err(problem) => eprintln!("{problem}"),
    }
}

/// Whether firmware counts tries in names of entries; assumed if they cannot be read. U-Boot does
/// not write to the partition, whatever the names are.
fn has_boot_counter(esp: &MountedEsp) -> bool {
    if esp.counter() == BootCounter::BootState {
        return false;
    }
    let counted = |entry: fs::DirEntry| entry.file_name().to_string_lossy().contains(COUNTER_MARK);
    fs::read_dir(MountedEsp::path(ENTRIES)).map_or(true, |entries| entries.flatten().any(counted))
}

/// Makes the file system on a first boot. A `problem` prevents it: the file system would not reach
/// the end of the disk.
fn format_on_first_boot(disk: &Disk, problem: Option<&String>) -> Result<Option<String>, String> {
    if let Some(problem) = problem {
        return Err(problem.clone());
    }
    let path = device(&disk.data);
    // Already mounted: by a process of this unit that was killed before it removed the marker.
    if !is_mounted() {
        ext4::format(&path)?;
        ext4::mount_data(&path)?;
    }
    write_marker()?;
    let folder = File::open(ext4::DATA).map_err(at(ext4::DATA.as_ref()))?;
    rustix::fs::syncfs(&folder).map_err(|error| at(ext4::DATA.as_ref())(error.into()))?;
    let mut esp = esp::mount(disk, Access::Change)?;
    let marker = MountedEsp::path(FIRST_BOOT);
    fs::remove_file(&marker).and_then(|()| esp.sync()).map_err(at(&marker))?;
    Ok(Some("made by this boot".into()))
}

/// Mounts an existing file system. Returns what was repaired, in words.
fn mount_existing(disk: &Disk) -> Result<Option<String>, String> {
    match is_mounted() {
        true => Ok(None),
        false => ext4::mount_checked(&device(&disk.data)),
    }
}

/// Checks that this version supports the format of the data.
fn check_or_write_marker(note: Option<String>) -> Result<Option<String>, String> {
    match fs::read(MARKER) {
        Ok(text) => check_marker(&text).map(|()| note),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            write_marker()?;
            Ok(Some(format!("{MARKER} was missing; {}", note.unwrap_or_default())))
        }
        Err(error) => Err(at(MARKER.as_ref())(error)),
    }
}

fn write_marker() -> Result<(), String> {
    let mut id = [0; 16];
    getrandom(&mut id, GetRandomFlags::empty()).map_err(|error| format!("randomness: {error}"))?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("{}\n", json!({ "format": FORMATS.writes, "id": id }));
    ext4::write_whole(MARKER.as_ref(), text.as_bytes()).map_err(at(MARKER.as_ref()))
}

fn check_marker(text: &[u8]) -> Result<(), String> {
    let name: Value = serde_json::from_slice(text).map_err(|error| format!("{MARKER}: {error}"))?;
    let (low, high) = FORMATS.reads;
    match name["format"].as_u64() {
        Some(format) if (low.into()..=high.into()).contains(&format) => Ok(()),
        _ => Err(format!(
            "{MARKER}: format {} is none of {low} to {high}, which this version knows: boot the \
             version that wrote it",
            name["format"]
        )),
    }
}

/// Tests whether data can be written and synced.
fn probe() -> Result<(), String> {
    let path = Path::new(PROBE);
    let written = File::create(path)
        .and_then(|mut file| file.write_all(&[0xa5; 4096]).and_then(|()| file.sync_all()));
    let removed = match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    written.and(removed).map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => "the data partition is full".into(),
        _ => at(ext4::DATA.as_ref())(error),
    })
}

fn is_mounted() -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(ext4::DATA))
}

fn report(disk: &Disk, note: Option<&str>) -> Value {
    let space = rustix::fs::statvfs(ext4::DATA).ok();
    let mut report = json!({
        "device": device(&disk.data),
        "esp": device(&disk.esp),
        "size": space.as_ref().map(|space| space.f_blocks * space.f_frsize),
        "free": space.as_ref().map(|space| space.f_bavail * space.f_frsize),
        "note": note,
    });
    let boot_state = command_line::boot_counter().and_then(|counter| disk.boot_state(counter));
    if let Ok(Some(boot_state)) = boot_state {
        report["boot_state"] = json!(boot_state);
    }
    report
}
