//! The power is cut after any write of an update: the old slot boots, or the new one, completely.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use octet_bundle::{Digest, EntryName, SlotFile, SlotState};
use octet_machine::WriteLog;
use octet_tests::{DiskFile, Release, in_parallel, part};
use serde_json::Value;

use crate::update::base::{boot, flashed, key, power_off, release, wait_good};

/// The number of states that are checked: after the first writes, in which an old slot is deleted
/// and the new one begins, after others at even intervals, and after the last ones, in which the
/// entry appears.
const STATES: [usize; 3] = [150, 75, 75];

/// The states, as numbers of writes, chosen from `writes`, those to the ESP.
fn chosen(writes: &[usize], [first, middle, last]: [usize; 3]) -> Vec<usize> {
    if writes.len() <= first + middle + last {
        return writes.to_vec();
    }
    let last = writes.len() - last;
    let edges = [&writes[..first], &writes[last..]].concat();
    let middle = (1..=middle).map(|n| writes[first + n * (last - first) / (middle + 1)]);
    let mut all: Vec<_> = middle.chain(edges).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The choice of systemd-boot: the entry with tries left and the highest version. Returns its slot,
/// and the digests of its files, read with mtools. An entry without a kernel is skipped.
fn next(disk: &DiskFile) -> (String, [Digest; 2]) {
    let mut found = BTreeMap::new();
    for name in disk.entries() {
        let Some(id) = name.strip_suffix(".conf") else { continue };
        let text = disk.esp_get(&format!("loader/entries/{name}")).unwrap();
        let text = String::from_utf8(text).unwrap();
        if !text.lines().any(|line| line.starts_with("linux ")) {
            continue;
        }
        let field = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("{name} has no {key}: {text:?}")).trim().to_owned()
        };
        let sequence: u64 = field("version").split('-').next().unwrap().parse().unwrap();
        let has_tries = !id.contains("+0");
        let slot = field("options").split("octet.slot=").nth(1).unwrap().to_owned();
        let slot = slot.split(' ').next().unwrap().to_owned();
        found.insert((has_tries, sequence), (slot, [field("linux"), field("initrd")]));
    }
    let (_, (slot, files)) = found.pop_last().expect("an entry");
    let digest = |path: String| Digest::of(&disk.esp_get(&path).unwrap_or_default());
    (slot, files.map(digest))
}

/// Whether there is any file of `release`.
fn is_there(disk: &DiskFile, release: &Release) -> bool {
    disk.esp_names("octet").iter().any(|name| *name == release.slot().as_str())
}

fn is(release: &Release, found: &(String, [Digest; 2])) -> bool {
    let kinds = [SlotFile::Linux, SlotFile::Initrd];
    let digests = kinds.map(|kind| Digest::of(release.content(kind)));
    found.0 == release.slot().as_str() && found.1 == digests
}

/// The result of checking a state.
struct Found {
    is_new: bool,
    /// Whether there are files of a slot without an entry.
    is_left: bool,
}

/// Without guests, `services/update/tests/slots/cuts.rs` and `boot_state.rs` beside it cut after
/// any change of files, and `init/esp` mends the file system.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn after_any_write_the_old_or_the_new_one_is_whole() {
    let (old, new) = (release("old", 1), release("new", 2));
    let disk = flashed(&old);
    // A slot that never became ready, which the update deletes.
    let gone = release("gone", 1);
    gone.put_on(&disk, SlotState::Trying { left: 0, done: 3 });
    // The result of a power cut during a rollback, if the kernel has written the new name before
    // the file's content.
    disk.esp_put(&format!("loader/entries/{}", EntryName::with_tries(old.slot(), 0)), b"");

    let before = DiskFile::copy(&disk.path());
    let log = disk.beside("log");
    let machine = crate::update::base::machine(disk.disk().log(&log));
    assert_eq!(wait_good(&machine), old.slot().as_str());
    machine.send_file("update", "install", "file", &mut new.signed(key())).unwrap();
    power_off(&machine);
    drop(machine);
    assert!(is(&new, &next(&disk)));
    let log = WriteLog::read(&log).unwrap();
    let sectors = before.sectors();
    let of_esp = |made: &usize| part(&log.writes()[made - 1].range(), sectors) == "esp";
    let writes: Vec<usize> = (1..=log.writes().len()).filter(of_esp).collect();
    let chosen = chosen(&writes, STATES);
    println!("{} writes, {} of the ESP; states {chosen:?}", log.writes().len(), writes.len());
    assert!(writes.len() >= 20, "{writes:?}");

    let fresh = DiskFile::copy(&before.path());
    let seen = Mutex::new(BTreeMap::new());
    in_parallel(before.after_writes(&log, &chosen), |(made, disk)| {
        let found = next(&disk);
        let is_new = is(&new, &found);
        assert!(is_new || is(&old, &found), "after {made}: {found:?}");
        let entries = disk.entries().concat();
        let has_gone = entries.contains(gone.slot().as_str());
        let is_begun = is_there(&disk, &new);
        let is_left = is_begun && !is_new || is_there(&disk, &gone) && !has_gone;
        seen.lock().unwrap().insert(made, Found { is_new, is_left });
    });
    let seen = seen.into_inner().unwrap();
    let (of_new, of_old): (Vec<usize>, Vec<usize>) = seen.keys().partition(|it| seen[*it].is_new);
    println!("{} states start the old one, {} the new one", of_old.len(), of_new.len());
    // Once the new slot boots, it does so in all later states.
    assert!(of_old.last() < of_new.first() && !of_old.is_empty());

    let cleared = AtomicUsize::new(0);
    in_parallel(fresh.after_writes(&log, &chosen), |(made, disk)| {
        let Found { is_new, is_left } = seen[&made];
        let machine = boot(&disk);
        let expected = if is_new { &new } else { &old };
        assert_eq!(wait_good(&machine), expected.slot().as_str(), "after {made}");
        if !is_new {
            let installed = machine.send_file("update", "install", "file", &mut new.signed(key()));
            let said = machine.logs("data").unwrap();
            assert!(installed.is_ok(), "after {made}: {installed:?}; {said:?}");
            let status = machine.call_unit("update", "status", Value::Null).unwrap();
            assert_eq!(status["next"], new.slot().as_str(), "{status}");
            // The remains were deleted before: by the update, or by PID 1 if the kernel could not
            // read them.
            let said = [machine.logs("update").unwrap(), machine.logs("data").unwrap()].concat();
            let has_cleared = said.iter().any(|it| {
                it.starts_with("removed the files") || it.contains("/ removed: its content")
            });
            assert_eq!(has_cleared, is_left, "{made}: {said:?}");
            let mended = said.iter().find(|it| it.contains("after a power cut"));
            println!("after {made}: {}", mended.map_or("nothing to mend", String::as_str));
            cleared.fetch_add(usize::from(has_cleared), Ordering::Relaxed);
        }
        power_off(&machine);
        drop(machine);
        let said = disk.fsck_esp();
        assert_eq!(said.status, Some(0), "after {made}: {}{}", said.stdout, said.stderr);
    });
    assert!(cleared.into_inner() > 0, "no state with something to remove was started: {chosen:?}");
}
