//! The image for boards: one file that UEFI firmware starts, and U-Boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use octet_machine::{Architecture, Machine};
use octet_tests::{
    BOARD, Bytes, DiskFile, Image, READY, SigningKey, builder, guest_for, must, shipped_for,
    workspace,
};
use serde_json::{Value, json};

use crate::update::base::{power_off, wait_good};

/// The size of the medium in MiB; the image is smaller.
const MEDIUM: u64 = 400;

/// What the ROM of Allwinner looks at before U-Boot's place.
const ROM_AREA: std::ops::Range<usize> = 8 << 10..40 << 10;

fn start(image: &Image, disk: &DiskFile) -> Machine {
    image.machine_from(disk.disk()).u_boot().memory(1024).reboots().start().unwrap()
}

/// Checks a disk with independent tools: its tables, and that the boot ROMs of boards find what they did before.
fn check(disk: &DiskFile, flashed: &DiskFile) {
    disk.check_table();
    let esp = disk.fsck_esp();
    assert_eq!(esp.status, Some(0), "{}{}", esp.stdout, esp.stderr);
    let data = disk.fsck_data();
    assert_eq!(data.status, Some(0), "{}{}", data.stdout, data.stderr);
    assert_eq!(disk.boot_record(), flashed.boot_record());
    let entry = &disk.boot_record()[446..462];
    assert_eq!((entry[4], &entry[8..12]), (0x0c, &8192_u32.to_le_bytes()[..]));
    let head = fs::read(disk.path()).unwrap();
    assert!(head[ROM_AREA].iter().all(|byte| *byte == 0));
}

#[test]
#[ignore = "long: tests of the builder start U-Boot's script with a kernel of their own in the short tier"]
fn one_image_becomes_good_by_uefi_and_by_u_boot() {
    let image = shipped_for(BOARD);
    let flashed = DiskFile::flashed(&image, MEDIUM);
    check_first_boot(&image, &flashed, |disk| start(&image, disk));
    check_first_boot(&image, &flashed, |disk| {
        image.machine_from(disk.disk()).memory(1024).start().unwrap()
    });
}

fn check_first_boot(image: &Image, flashed: &DiskFile, start: impl Fn(&DiskFile) -> Machine) {
    let disk = DiskFile::copy(&flashed.path());
    // Two starts: the first one changes the table and makes the data partition.
    for _ in 0..2 {
        let machine = start(&disk);
        assert_eq!(machine.wait_slot(READY).unwrap(), "good");
        assert_eq!(machine.boot().unwrap().slot.unwrap().version, image.slot());
        power_off(&machine);
        drop(machine);
        check(&disk, flashed);
    }
    assert!(!disk.esp_names("octet").contains(&"first-boot".to_owned()));
}

/// An image for boards that trusts `key`, is called `name`, and has what `sections` say.
fn image(folder: &Path, name: &str, key: &SigningKey, sections: &str) -> Image {
    let folder = folder.join(name);
    fs::create_dir(&folder).unwrap();
    let text = fs::read_to_string(workspace().join("appliance.toml")).unwrap();
    let named = text.replace("name = \"octet\"", &format!("name = \"{name}\""));
    assert_ne!(named, text);
    let trust = format!("\n[trust]\nupdate_keys = [\"{}\"]\n", key.public());
    let file = folder.join("appliance.toml");
    fs::write(&file, named + &trust + sections).unwrap();
    let file = file.to_string_lossy();
    Image::build(&folder.join("out"), &["--target", BOARD, "--appliance", &file])
}

/// The update to `image`, signed.
fn bundle(image: &Image, key: &Path) -> Bytes {
    let out = image.folder.parent().unwrap();
    let file = out.join("update");
    let run = |verb: &str, option: &str, path: &Path| {
        let mut command = Command::new(builder());
        command.current_dir(workspace()).args([verb, "--target", BOARD, "--out"]).arg(out);
        must(command.arg(option).arg(path));
    };
    run("sign", "--key", key);
    run("bundle", "--to", &file);
    Bytes(fs::read(&file).unwrap())
}

/// Waits until U-Boot says that it starts this.
fn starts(machine: &Machine, what: &str) {
    let line = format!("octet: starting slot {what}");
    let seen = machine.console().wait_for(&line, Instant::now() + READY * 3);
    assert!(seen.is_some(), "late: no `{line}`\n{}", machine.tail(60));
}

fn install(machine: &Machine, mut update: Bytes) {
    machine.send_file("update", "install", "file", &mut update).unwrap();
    machine.call("reboot", Value::Null).unwrap();
}

#[test]
#[ignore = "long: `update::good` is that with UEFI firmware; what U-Boot counts is in tests of the builder"]
fn an_update_under_u_boot_is_tried_and_left_or_becomes_good() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::new();
    let signing: PathBuf = key.write(folder.path());
    let first = image(folder.path(), "first", &key, "");
    let program = folder.path().join("never");
    fs::copy(guest_for(Architecture::Aarch64, "crash"), &program).unwrap();
    let unit = workspace().join("tests/services/never.toml");
    let never = format!(
        "\n[health]\nwithin = \"30s\"\n\n[[service]]\npath = {program:?}\nunit = {unit:?}\n"
    );
    let bad = image(folder.path(), "bad", &key, &never);
    let second = image(folder.path(), "second", &key, "");

    let flashed = DiskFile::flashed(&first, MEDIUM);
    let disk = DiskFile::copy(&flashed.path());
    let machine = start(&first, &disk);
    assert_eq!(wait_good(&machine), first.slot());
    install(&machine, bundle(&bad, &signing));
    starts(&machine, &format!("{} (place b, 0 tries left)", bad.slot()));
    assert_eq!(wait_good(&machine), first.slot());
    let console = machine.console().text();
    for left in ["2 tries", "1 try", "0 tries"] {
        let line = format!("octet: starting slot {} (place b, {left} left)", bad.slot());
        assert_eq!(console.matches(&line).count(), 1, "{line}");
    }

    install(&machine, bundle(&second, &signing));
    starts(&machine, &format!("{} (place b, 2 tries left)", second.slot()));
    assert_eq!(wait_good(&machine), second.slot());
    let status = machine.call_unit("update", "status", Value::Null).unwrap();
    assert_eq!(status["running"], json!(second.slot()), "{status}");
    let back = machine.call_unit("update", "rollback", Value::Null).unwrap();
    assert_eq!(back["slot"], json!(first.slot()));
    machine.call("reboot", Value::Null).unwrap();
    starts(&machine, &format!("{} (place a, good)", first.slot()));
    assert_eq!(wait_good(&machine), first.slot());
    let console = machine.console().text();
    assert!(!console.contains("Failed to rename"), "{}", machine.tail(60));
    power_off(&machine);
    drop(machine);
    check(&disk, &flashed);
}
