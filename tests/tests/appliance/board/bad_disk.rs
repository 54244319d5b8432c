//! Full, dead or dying disks: the box boots, reports the problem, and shuts down.

use std::fs::File;
use std::os::unix::fs::FileExt;

use octet_machine::{Access, Disk, Fault, Machine, State, Status};
use octet_tests::{DiskFile, Image, READY, SOON, USED, WrappingDisk, shipped};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// The start of the data partition, in sectors.
const DATA: u64 = 526_336;
/// The start of the EFI system partition, in sectors.
const ESP: u64 = 2048;

/// Boots from `disk`, and checks that everything but the data works, that `status` and the screen
/// show a reason with `what`, and that the box answers and turns off.
fn comes_up_degraded(image: &Image, disk: Disk, what: &str) {
    let machine = image.machine().disk(disk).cpus(1).start().unwrap();
    let degraded = |status: &Status| status.state == State::Degraded;
    let status = machine.wait_status("degraded", READY, degraded).unwrap();
    let reason = status.reason.clone().unwrap_or_default();
    println!("{reason}");
    assert!(reason.contains("data") && reason.contains(what), "{reason}");
    screen_shows(&machine, &reason);
    let console = status.unit("console").unwrap();
    assert_eq!(console.state, octet_machine::UnitState::Ready, "{status:?}");
    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
}

fn screen_shows(machine: &Machine, reason: &str) {
    let start: String = reason.chars().take(40).collect();
    let deadline = std::time::Instant::now() + SOON;
    while !machine.console().text().contains(&start) {
        assert!(
            std::time::Instant::now() < deadline,
            "late: no `{start}` in\n{}",
            machine.tail(40)
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn fault(access: Access, errno: i32, sector: Option<u64>) -> Fault {
    Fault { access, errno, sector }
}

/// An in-process test covers foreign disks (`init/src/storage/disk.rs`), and the other tests here
/// cover the messages.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn no_disk_at_all() {
    let image = shipped();
    // An empty disk is not an Octet disk.
    let disk = DiskFile::used();
    let file = File::options().write(true).open(disk.path()).unwrap();
    file.set_len(0).unwrap();
    file.set_len(USED << 20).unwrap();
    comes_up_degraded(&image, disk.disk(), "cargo image flash");
}

#[test]
fn a_full_data_partition() {
    let image = shipped();
    let disk = DiskFile::used();
    // debugfs fills it from a file of the host.
    let filler = disk.beside("filler");
    let bytes: Vec<u8> = (0..(USED - 257) << 20).map(|at| (at >> 3) as u8 | 1).collect();
    std::fs::write(&filler, bytes).unwrap();
    disk.fill(&filler);
    comes_up_degraded(&image, disk.disk(), "full");
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn reads_that_fail() {
    let image = shipped();
    let disk = DiskFile::used();
    // The superblock.
    let superblock = fault(Access::Read, EIO, Some(DATA + 2));
    comes_up_degraded(&image, disk.disk().fault(superblock), "I/O error");
    // The file allocation table of the ESP.
    let table = fault(Access::Read, EIO, Some(ESP));
    comes_up_degraded(&image, disk.disk().fault(table), "I/O error");
}

/// In the short tier `a_full_data_partition` comes up degraded.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn writes_that_fail() {
    let image = shipped();
    let flashed = DiskFile::flashed(&image, USED);
    // A first boot fails at its first write: the partition table.
    let all = fault(Access::Write, EIO, None);
    comes_up_degraded(&image, flashed.disk().fault(all), "I/O error");
    // The medium fails to flush.
    let flush = fault(Access::Flush, EIO, None);
    comes_up_degraded(&image, flashed.disk().fault(flush), "I/O error");
    // The partition can be grown, but not formatted.
    let superblock = fault(Access::Write, EIO, Some(DATA + 2));
    comes_up_degraded(&image, flashed.disk().fault(superblock), "mke2fs");

    let disk = DiskFile::used();
    let full = fault(Access::Write, ENOSPC, None);
    comes_up_degraded(&image, disk.disk().fault(full), "I/O error");
    // The same disks without the faults.
    for disk in [flashed, disk] {
        let machine = image.machine().disk(disk.disk()).cpus(1).start().unwrap();
        machine.wait_ready(READY).unwrap();
    }
}

/// In the short tier `a_full_data_partition` comes up degraded.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_medium_that_has_shrunk_and_a_torn_file_system() {
    let image = shipped();
    let disk = DiskFile::used();
    // The superblock and the first group are zeros: e2fsck finds a backup of the superblock.
    let file = File::options().write(true).open(disk.path()).unwrap();
    file.write_all_at(&[0; 4096], DATA * 512).unwrap();
    let machine = image.machine().disk(disk.disk()).cpus(1).start().unwrap();
    machine.wait_ready(READY).unwrap();
    let note = machine.boot().unwrap().data.unwrap().note.unwrap();
    assert!(note.contains("repaired"), "{note}");
    assert!(machine.power_off(SOON).unwrap().is_power_off());
    drop(machine);
    // It is smaller than its partition table says.
    file.set_len(280 << 20).unwrap();
    comes_up_degraded(&image, disk.disk(), "vda, 280 MiB");
}

/// The real and the reported size of a counterfeit medium, in bytes: writes beyond the real end
/// overwrite its beginning.
const HAS: u64 = 512 << 20;
const SAYS: u64 = 4 * HAS;

/// An in-process test covers every size (`init/src/storage/counterfeit.rs`); this one involves the
/// kernel and its cache.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_counterfeit_that_begins_anew() {
    let image = shipped();
    let disk = DiskFile::flashed(&image, HAS >> 20);
    let read = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        File::open(disk.path()).unwrap().read_exact_at(&mut bytes, at).unwrap();
        bytes
    };
    // Everything before the data partition: the table, and the EFI system partition.
    let before = || read(0, usize::try_from(DATA * 512).unwrap());
    let flashed = before();
    let counterfeit = WrappingDisk::new(&disk.path(), HAS, SAYS).unwrap();
    let says = "it says that it has 2047 MiB, but what is written behind its first ones is lost: it is a counterfeit with \
                between 257 and 769 MiB";
    comes_up_degraded(&image, counterfeit.disk(), says);
    drop(counterfeit);
    assert!(before() == flashed, "something is written over");
    // The magic number of ext4, in its superblock.
    assert_ne!(read(DATA * 512 + 1080, 2), [0x53, 0xef]);

    // The same medium and server, with the real size.
    let genuine = WrappingDisk::new(&disk.path(), HAS, HAS).unwrap();
    let machine = image.machine().disk(genuine.disk()).cpus(1).start().unwrap();
    machine.wait_ready(READY).unwrap();
    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
}
