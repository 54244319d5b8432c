//! A flash with the number of its node: `cargo image flash --board` writes it, and it is read when
//! firmware boots from the flash.

use std::process::Command;

use octet_machine::{Machine, State};
use octet_tests::{DiskFile, Image, READY, SOON, builder, must, shipped};
use serde_json::json;

/// The size of the medium in MiB; the image is smaller.
const MEDIUM: u64 = 400;

/// The file, on the EFI system partition.
const FILE: &str = "octet/board.toml";

/// Boots the image from a disk by firmware, and waits until it is ready.
fn ready(image: &Image, disk: &DiskFile) -> Machine {
    let machine = image.machine_from(disk.disk()).cpus(1).memory(512).start().unwrap();
    machine.wait_ready(READY).unwrap();
    machine
}

/// Whether the kernel forwards packets, if netd knows the router's configuration. This is set last,
/// after the kernel has accepted all rules, which need the modules of a router.
fn forwards(machine: &Machine) -> Option<bool> {
    machine.call_unit("netd", "show", json!({})).unwrap()["forwards"].as_bool()
}

fn power_off(machine: &Machine) {
    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
}

#[test]
#[ignore = "long: `tests/tests/flash` writes the number, and `init/src/storage/board.rs` reads it"]
fn a_flash_of_the_router_starts_as_the_router() {
    let image = shipped();
    let disk = DiskFile::flashed_for(&image, MEDIUM, "router");
    // A kernel that does not boot is replaced, and the file stays.
    disk.esp_put(&format!("octet/{}/linux", image.slot()), b"no kernel");
    let mut flash = Command::new(builder());
    flash.args(["flash", "--keep-data", "--yes", "--image"]).arg(image.file("octet.img"));
    must(flash.arg(disk.path()));
    assert_eq!(disk.esp_get(FILE).as_deref(), Some(&b"board = \"router\"\n"[..]));
    let esp = disk.fsck_esp();
    assert_eq!(esp.status, Some(0), "{}{}", esp.stdout, esp.stderr);

    let machine = ready(&image, &disk);
    assert_eq!(machine.status().unwrap().board, Some(0));
    assert_eq!(forwards(&machine), Some(true));
    let said = machine.logs("data").unwrap().join("\n");
    assert!(!said.contains(".ko"), "a module was not loaded: {said}");
    // The number on the flash is valid until the shutdown.
    let refused = machine.call("board", json!({"number": 4})).unwrap_err().to_string();
    assert!(refused.contains("by its port this is board 4, by `octet/board.toml`"), "{refused}");
    assert_eq!(machine.status().unwrap().board, Some(0));
    assert_eq!(machine.wait_slot(READY).unwrap(), "good");
    power_off(&machine);
    drop(machine);

    // The next boot, which formats nothing, is the router's, too.
    let machine = ready(&image, &disk);
    assert_eq!(machine.status().unwrap().board, Some(0));
    assert_eq!(forwards(&machine), Some(true));
}

#[test]
#[ignore = "long: as that of the router"]
fn a_flash_of_a_board_and_one_that_makes_no_sense() {
    let image = shipped();
    let disk = DiskFile::flashed_for(&image, MEDIUM, "3");
    let machine = ready(&image, &disk);
    assert_eq!(machine.status().unwrap().board, Some(3));
    assert_eq!(forwards(&machine), None);
    machine.call("board", json!({"number": 3})).unwrap();
    let refused = machine.call("board", json!({"number": 4})).unwrap_err().to_string();
    assert!(refused.contains("by its port this is board 4, by `octet/board.toml`"), "{refused}");
    assert_eq!(machine.status().unwrap().board, Some(3));
    power_off(&machine);
    drop(machine);

    disk.esp_put(FILE, b"board = 33\n");
    let machine = ready(&image, &disk);
    let status = machine.status().unwrap();
    assert_eq!((status.state, status.board), (State::Ready, None));
    let reason = status.reason.unwrap_or_default();
    assert!(reason.contains("octet/board.toml:1:9: ") && reason.contains("1 to 32"), "{reason}");
    let said = machine.logs("data").unwrap().join("\n");
    assert!(said.contains("ALARM: octet/board.toml:1:9: "), "{said}");
    // The invalid file is ignored: the number follows from the port.
    machine.call("board", json!({"number": 4})).unwrap();
    assert_eq!(machine.status().unwrap().board, Some(4));
}
