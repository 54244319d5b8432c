//! The image on a disk: booted by firmware, grown, formatted, and marked good.

use octet_machine::{Machine, State, UnitState};
use octet_tests::{AARCH64, DiskFile, Image, READY, SOON, guest, shipped, shipped_for, soak};

/// The size of the medium in MiB; the image is smaller.
const MEDIUM: u64 = 400;

fn power_off(machine: &Machine) {
    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
}

/// Checks the first boot's report of the file system that it has made on a medium of `mebibytes`.
pub fn is_made(machine: &Machine, mebibytes: u64) {
    let data = machine.boot().unwrap().data.unwrap();
    assert_eq!(data.note.as_deref(), Some("made by this boot"));
    // The size of an ext4 on the rest of the medium, less its overhead.
    assert!(data.size.unwrap() > (mebibytes - 257 - 20) << 20, "{data:?}");
}

/// Checks a disk after a shutdown with all independent tools.
pub fn check(disk: &DiskFile, image: &Image) {
    disk.check_table();
    let esp = disk.fsck_esp();
    assert_eq!(esp.status, Some(0), "{}{}", esp.stdout, esp.stderr);
    let data = disk.fsck_data();
    assert_eq!(data.status, Some(0), "{}{}", data.stdout, data.stderr);
    assert_eq!(disk.entries(), [format!("octet-{}.conf", image.slot())]);
    assert!(!disk.esp_names("octet").contains(&"first-boot".to_owned()));
    let features = disk.debugfs("features");
    assert!(features.contains("verity"), "{features}");
    let name = disk.debugfs("cat octet.json");
    assert!(name.contains("\"format\":1"), "{name}");
}

fn first_boot_and_second(image: &Image) {
    let disk = DiskFile::flashed(image, MEDIUM);
    assert_eq!(disk.entries(), [format!("octet-{}+3.conf", image.slot())]);
    assert!(disk.esp_names("octet").contains(&"first-boot".to_owned()));

    let machine = image.machine_from(disk.disk()).cpus(1).start().unwrap();
    assert_eq!(machine.wait_slot(READY).unwrap(), "good");
    is_made(&machine, MEDIUM);
    power_off(&machine);
    drop(machine);
    check(&disk, image);
    let name = disk.debugfs("cat octet.json");

    // After a clean shutdown it needs no check, and nothing is formatted again.
    let machine = image.machine_from(disk.disk()).cpus(1).start().unwrap();
    assert_eq!(machine.wait_slot(READY).unwrap(), "good");
    assert_eq!(machine.boot().unwrap().data.unwrap().note, None);
    power_off(&machine);
    drop(machine);
    check(&disk, image);
    assert_eq!(disk.debugfs("cat octet.json"), name);
}

/// In the short tier `board::power_cut` has the first boot, as its reference, and `update::good`
/// has others by firmware.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_first_boot_and_a_second_by_firmware() {
    first_boot_and_second(&shipped());
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn the_same_on_arm() {
    first_boot_and_second(&shipped_for(AARCH64));
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn arm_without_a_disk() {
    let machine = shipped_for(AARCH64).machine().start().unwrap();
    machine.wait_ready(READY).unwrap();
    assert_eq!(machine.boot().unwrap().slot, None);
    power_off(&machine);
}

/// The short tier covers this after power cuts (`board::cut`).
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn killed_instead_of_turned_off_it_is_checked() {
    let image = shipped();
    let disk = DiskFile::used();
    let start = || image.machine().disk(disk.disk()).cpus(1).start().unwrap();
    let machine = start();
    machine.wait_ready(READY).unwrap();
    assert_eq!(machine.boot().unwrap().data.unwrap().note, None);
    machine.kill().unwrap();
    drop(machine);
    let machine = start();
    machine.wait_ready(READY).unwrap();
    let note = machine.boot().unwrap().data.unwrap().note;
    assert!(note.as_deref().is_some_and(|note| note.contains("checked")), "{note:?}");
}

#[test]
fn killed_while_it_makes_the_file_system() {
    let image = shipped();
    let pauses: &[u64] = if soak() { &[0, 150, 400] } else { &[0] };
    for pause in pauses {
        let disk = DiskFile::flashed(&image, MEDIUM);
        let slot = format!("octet.slot={}", image.slot());
        let start =
            || image.machine().disk(disk.disk()).cpus(1).kernel_argument(&slot).start().unwrap();
        let machine = start();
        let runs = |status: &octet_machine::Status| status.unit("data").unwrap().pid.is_some();
        machine.wait_status("data runs", READY, runs).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(*pause));
        machine.call("signal", serde_json::json!({"unit": "data", "signal": "KILL"})).unwrap();
        assert_eq!(machine.wait_slot(READY).unwrap(), "good");
        let status = machine.status().unwrap();
        println!("killed after {pause} ms: {:?}", status.unit("data").unwrap());
        // On a busy host the next boot may see its disk too late.
        assert!(status.unit("data").unwrap().restarts >= 1);
        power_off(&machine);
        drop(machine);
        check(&disk, &image);
    }
}

/// The short tier covers this for an update (`update::bad`).
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_slot_that_is_never_ready_runs_out_of_tries() {
    // The same slot without the bad unit is marked good in the tests above.
    let image = Image::with_services(&[("never", guest("crash"))]);
    let disk = DiskFile::flashed(&image, MEDIUM);
    let slot = image.slot();
    let entry = |counter: &str| vec![format!("octet-{slot}+{counter}.conf")];
    assert_eq!(disk.entries(), entry("3"));
    for (left, counter) in [(2, "2-1"), (1, "1-2"), (0, "0-3")] {
        let machine = image.machine_from(disk.disk()).cpus(1).start().unwrap();
        let settled = |status: &octet_machine::Status| {
            let data = status.unit("data").unwrap().state;
            status.state == State::Degraded && data == UnitState::Exited
        };
        machine.wait_status("degraded, with data", READY, settled).unwrap();
        let status = machine.status().unwrap();
        assert_eq!(status.unit("slot").unwrap().state, UnitState::Waiting, "{status:?}");
        let booted = machine.boot().unwrap().slot.unwrap();
        assert_eq!((booted.version.as_str(), booted.tries_left), (slot.as_str(), Some(left)));
        power_off(&machine);
        drop(machine);
        assert_eq!(disk.entries(), entry(counter));
    }
}

/// Octet on the flash and on a card: the disk from which the firmware has booted is used, in any
/// order, and the other one is not changed. Two copies of one disk cannot be told apart, so neither
/// is used.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn of_two_disks_the_one_counts_that_was_started_from() {
    let image = shipped();
    let (used, fresh) = (DiskFile::used(), DiskFile::flashed(&image, MEDIUM));
    let copy = DiskFile::copy(&used.path());
    let start = |first: &DiskFile, second: &DiskFile| {
        image.machine_from(first.disk()).disk(second.disk()).cpus(1).start().unwrap()
    };
    // This firmware boots from the first one.
    for (first, second) in [(&fresh, &used), (&used, &fresh)] {
        let before = std::fs::read(second.path()).unwrap();
        let machine = start(first, second);
        assert_eq!(machine.wait_slot(READY).unwrap(), "good");
        let data = machine.boot().unwrap().data.unwrap();
        assert_eq!(data.device.as_deref(), Some("/dev/vda2"));
        power_off(&machine);
        drop(machine);
        assert!(std::fs::read(second.path()).unwrap() == before, "the other disk was written to");
    }
    let machine = start(&used, &copy);
    let failed =
        |status: &octet_machine::Status| status.unit("data").unwrap().state == UnitState::Failed;
    machine.wait_status("no disk counts", READY, failed).unwrap();
    let status = format!("{:?}", machine.status().unwrap().unit("data").unwrap());
    assert!(status.contains("take all but one out"), "{status}");
    power_off(&machine);
}
