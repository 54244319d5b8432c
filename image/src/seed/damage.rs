//! A damaged seed: whatever a few wrong bytes do, reading ends, in bounded memory, without a
//! panic that anyone sees.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ext4_view::Ext4Read;
use proptest::prelude::*;
use tempfile::TempDir;

use super::guard::{GuardError, run_with_timeout};
use super::{Installed, Modules, SeedDisk, SeedDiskError, bounds};
use crate::lock::Lock;
use crate::steps::Steps;
use crate::store::{Derived, InputStore, unpack};
use crate::target::Target;

/// Far more than an undamaged seed takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// More memory than a build may take, in kilobytes.
const MAX_MEMORY: u64 = 1 << 20;

/// The undamaged disk image, out of the store.
fn whole() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let lock = Lock::read(&root.join("appliance.lock")).unwrap();
    let pick = |member: &str| match member.rsplit_once('.')?.1 {
        "kernel" => Some(PathBuf::from("linux")),
        "qcow2" => Some(PathBuf::from("qcow2")),
        _ => None,
    };
    let derived = Derived { what: "seed", checked: true, pick: &pick };
    let store = InputStore::open(false).unwrap();
    let input = lock.seed(Target::QemuX86_64).unwrap();
    unpack(&store, &lock, input, &derived, &Steps::new()).unwrap().join("qcow2")
}

/// What a build does with a seed, in small; how many bytes it read.
fn use_it(disk: &SeedDisk) -> Result<usize, SeedDiskError> {
    let text = disk.text("/lib/apk/db/installed", 64 << 20)?;
    let mut read = text.len();
    let Ok(installed) = Installed::parse(&text) else { return Ok(read) };
    for name in ["musl", "libuuid", "busybox"] {
        let Some(package) = installed.packages.get(name) else { continue };
        for file in &package.files {
            if disk.link(&file.path)?.is_none() {
                read += disk.read(&file.path, 64 << 20)?.len();
            }
        }
    }
    for release in disk.names("/lib/modules")? {
        let dep = disk.text(&format!("/lib/modules/{release}/modules.dep"), 64 << 20)?;
        let modules = Modules::parse(&dep, "", "");
        let mut order = vec![];
        modules.load("bridge", &mut order, &mut |_, _| {});
        read += dep.len() + order.len();
    }
    Ok(read)
}

/// Runs `work` as a build would; a panic or an error is fine, a hang or much memory is not.
fn survives(
    work: impl FnOnce() -> Result<usize, SeedDiskError> + Send + 'static,
) -> Result<(), TestCaseError> {
    let ended = run_with_timeout(DEADLINE, work);
    prop_assert!(
        !matches!(ended, Err(GuardError::TimedOut(_) | GuardError::NoThread(_))),
        "{ended:?}"
    );
    let memory = peak_memory();
    prop_assert!(memory < MAX_MEMORY, "{memory} kB");
    Ok(())
}

/// The most memory that this process ever had, in kilobytes (proc_pid_status(5), `VmHWM`).
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Changes bytes of the file at `path`, and gives back what was there.
fn exchange(path: &Path, bytes: &BTreeMap<u64, u8>) -> BTreeMap<u64, u8> {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut before = BTreeMap::new();
    for (at, byte) in bytes {
        let mut old = [0];
        file.read_exact_at(&mut old, *at).unwrap();
        file.write_all_at(&[*byte], *at).unwrap();
        before.insert(*at, old[0]);
    }
    before
}

/// Wrong bytes: in the first 256 kB, where the tables of a qcow2 file are, or anywhere.
fn wrong_bytes(len: u64) -> impl Strategy<Value = BTreeMap<u64, u8>> {
    let place = prop_oneof![0..104u64, 0..262_144u64, 0..len];
    prop::collection::btree_map(place, any::<u8>(), 1..12)
}

#[test]
fn the_whole_seed_can_be_read() {
    let path = whole();
    let read =
        run_with_timeout(DEADLINE, move || SeedDisk::open(&path).and_then(|disk| use_it(&disk)))
            .unwrap()
            .unwrap();
    assert!(read > 1_000_000, "{read}");
}

#[test]
fn a_damaged_qcow2_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("qcow2");
    let len = std::fs::copy(whole(), &path).unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(96));
    runner
        .run(&wrong_bytes(len), |wrong| {
            let before = exchange(&path, &wrong);
            let damaged = path.clone();
            let survived = survives(move || use_it(&SeedDisk::open(&damaged)?));
            exchange(&path, &before);
            survived
        })
        .unwrap();
}

/// A disk in which some bytes are wrong, and which notes where the reader looks.
struct Damaged {
    disk: Box<dyn Ext4Read>,
    wrong: BTreeMap<u64, u8>,
    seen: Rc<RefCell<Vec<(u64, u64)>>>,
}

impl Ext4Read for Damaged {
    fn read(
        &mut self,
        start: u64,
        into: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        self.disk.read(start, into)?;
        let end = start + into.len() as u64;
        self.seen.borrow_mut().push((start, end));
        for (at, byte) in self.wrong.range(start..end) {
            into[(at - start) as usize] = *byte;
        }
        Ok(())
    }
}

/// Looks at folders and links only: what is read then are the file system's own tables.
fn walk(disk: &SeedDisk) -> Result<usize, SeedDiskError> {
    let mut names = 0;
    for folder in ["/", "/bin", "/lib", "/lib/apk/db", "/lib/modules", "/usr/lib", "/etc"] {
        names += disk.names(folder)?.len();
    }
    disk.link("/lib/libc.musl-x86_64.so.1")?;
    Ok(names)
}

/// Does `work` on a seed with wrong bytes; gives the places that were looked at.
fn on_damaged(
    path: &Path,
    wrong: BTreeMap<u64, u8>,
    work: fn(&SeedDisk) -> Result<usize, SeedDiskError>,
) -> (Result<usize, SeedDiskError>, Vec<(u64, u64)>) {
    let seen = Rc::new(RefCell::new(vec![]));
    let result = SeedDisk::reader(path).and_then(|(disk, size)| {
        let disk = Box::new(Damaged { disk, wrong, seen: Rc::clone(&seen) });
        SeedDisk::load(disk, size).and_then(|disk| work(&disk))
    });
    let seen = seen.borrow().clone();
    (result, seen)
}

#[test]
fn a_damaged_file_system() {
    let path = whole();
    let undamaged = path.clone();
    let (names, mut places) =
        run_with_timeout(DEADLINE, move || on_damaged(&undamaged, BTreeMap::new(), walk)).unwrap();
    assert!(names.unwrap() > 100);
    places.sort_unstable();
    places.dedup();
    assert!(places.len() > 10, "{places:?}");
    let superblock = bounds::SUPERBLOCK.start as u64..bounds::SUPERBLOCK.end as u64;
    let place = prop_oneof![
        superblock,
        (0..places.len(), any::<prop::sample::Index>())
            .prop_map(move |(which, at)| places[which].0
                + at.index((places[which].1 - places[which].0) as usize) as u64),
    ];
    let wrong = prop::collection::btree_map(place, any::<u8>(), 1..12);
    let cases = if std::env::var_os("OCTET_SOAK").is_some() { 192 } else { 64 };
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    runner
        .run(&wrong, |wrong| {
            let path = path.clone();
            survives(move || on_damaged(&path, wrong, use_it).0)
        })
        .unwrap();
}

#[test]
fn no_file_system_at_all() {
    for bytes in [&[][..], &[0; 4096], &[0xff; 4096], b"QFI\xfb\0\0\0\x03"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("qcow2");
        std::fs::write(&path, bytes).unwrap();
        let opened = run_with_timeout(DEADLINE, move || SeedDisk::open(&path).map(|_| ())).unwrap();
        assert!(opened.is_err());
    }
}
