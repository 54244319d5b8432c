//! Many small objects: the memory of the program, also when it starts after a kill, and the clean
//! close of its databases when it is stopped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use iroh_blobs::Hash;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::{bytes, path};
use crate::killed::{Running, soak, start};
use crate::request::{ask, get};
use crate::verbs::{add, args, connect};

/// The memory limit of the program with the maximum number of objects, in bytes: half of its unit's
/// limit.
const MAX: u64 = 64 << 20;

/// The size of the larger objects: by default, iroh-blobs stores objects of up to 16 KiB in its
/// database.
const LENGTH: usize = 12 << 10;

/// The anonymous memory of the process, in bytes (proc(5), `RssAnon`).
fn memory(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Whether the databases below `folder` need a repair when they are opened: the second bit of the
/// byte after the magic number of redb's file format.
fn to_be_repaired(folder: &Path) -> Vec<(&'static str, bool)> {
    let is = |file: &str| {
        let bytes = fs::read(folder.join("state").join(file)).unwrap();
        assert_eq!(&bytes[..9], b"redb\x1a\x0a\xa9\x0d\x0a", "{file}");
        bytes[9] & 2 != 0
    };
    ["store/blobs.db", "store/policy.db", "names.db"].map(|file| (file, is(file))).into()
}

/// The object with this number.
fn object(number: u64) -> Vec<u8> {
    // The long run stores a hundred thousand objects on disk, with many different lengths.
    let length = if soak() { 100 + number as usize % 900 } else { LENGTH };
    bytes(length, number)
}

fn count(running: &Running) -> Value {
    connect(&running.socket).call("stats", args(json!({}))).unwrap()["objects"].clone()
}

/// The disk usage of all files below `folder`, in bytes.
fn on_disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: &Path| match path.is_dir() {
        true => on_disk(path),
        // A file that is moved or deleted concurrently counts as empty.
        false => fs::metadata(path).map_or(0, |file| file.blocks() * 512),
    };
    entries.map(|path| of(&path)).sum()
}

/// The disk usage does not exceed the usage that the program reports.
fn is_accounted(running: &Running, folder: &Path) {
    let used = connect(&running.socket).call("stats", args(json!({}))).unwrap()["used"].clone();
    let (used, on_disk) = (used.as_u64().unwrap(), on_disk(&folder.join("state")));
    println!("{on_disk} bytes on the disk, {used} are said to be used");
    assert!(on_disk <= used, "{on_disk} > {used}");
}

#[test]
fn small_objects_are_not_in_its_memory() {
    let objects: u64 = if soak() { 100_000 } else { 300 };
    let folder = TempDir::new().unwrap();
    let mut running = start(folder.path(), 0);
    let mut client = connect(&running.socket);
    add(&mut client, &object(0)).unwrap();
    let before = memory(&running);
    for number in 1..objects {
        add(&mut client, &object(number)).unwrap();
    }
    let with_all = memory(&running);
    println!("{before} bytes of memory with one object, {with_all} with {objects}");
    is_accounted(&running, folder.path());
    // Half of the objects' size: if they were in the database, they would take more than their size
    // in memory.
    let most = if soak() { MAX } else { before + objects * LENGTH as u64 / 2 };
    assert!(with_all <= most, "{with_all} > {most}");

    // After a kill, the program repairs its databases within the same memory limit.
    running.kill();
    assert!(to_be_repaired(folder.path()).iter().all(|(_, is)| *is));
    let began = Instant::now();
    let mut running = start(folder.path(), 1);
    assert_eq!(count(&running), objects);
    let after_kill = memory(&running);
    println!("{after_kill} after a kill, {:?} until it answered", began.elapsed());
    assert!(after_kill <= most, "{after_kill} > {most}");

    // On SIGTERM it closes its databases, and the next start needs no repair.
    kill_process(Pid::from_child(&running.child), Signal::TERM).unwrap();
    assert!(running.child.wait().unwrap().success());
    let open = to_be_repaired(folder.path());
    assert!(open.iter().all(|(_, is)| !is), "{open:?}");
    let began = Instant::now();
    let running = start(folder.path(), 2);
    assert_eq!(count(&running), objects);
    println!("{:?} until it answered after a stop", began.elapsed());
    for number in [0, objects / 2, objects - 1] {
        let object = object(number);
        assert!(get(running.http, &path(Hash::new(&object)), &[]).body == object, "{number}");
    }
    assert_eq!(ask(running.http, "HEAD", &path(Hash::new(b"no object")), &[]).code, 404);
}
