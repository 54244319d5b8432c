//! The image for boards: one file that UEFI firmware starts, and U-Boot.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use octet_machine::{Architecture, Machine, MachineError};
use octet_tests::{
    BOARD, Bytes, DiskFile, Image, READY, SigningKey, builder, guest_for, in_parallel, must, seed,
    shipped_for, workspace,
};
use serde_json::{Value, json};

use crate::update::base::{power_off, wait_good};

/// The size of the medium in MiB. The file systems of smaller ones have blocks of 1 KiB, which this kernel cannot mount.
const MEDIUM: u64 = 1024;

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
    let mut area = vec![1; ROM_AREA.len()];
    File::open(disk.path()).unwrap().read_exact_at(&mut area, ROM_AREA.start as u64).unwrap();
    assert!(area.iter().all(|byte| *byte == 0));
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
    let (file, appliance) = (out.join("update"), out.with_file_name("appliance.toml"));
    let run = |verb: &str, option: &str, path: &Path| {
        let mut command = Command::new(builder());
        command.current_dir(workspace()).args([verb, "--target", BOARD, "--out"]).arg(out);
        must(command.arg("--appliance").arg(&appliance).arg(option).arg(path));
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

/// Installs the update and restarts. It fails if the machine ends before that.
fn install(machine: &Machine, mut update: Bytes) -> Result<Value, MachineError> {
    machine.send_file("update", "install", "file", &mut update)?;
    machine.call("reboot", Value::Null)
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
    install(&machine, bundle(&bad, &signing)).unwrap();
    starts(&machine, &format!("{} (place b, 0 tries left)", bad.slot()));
    assert_eq!(wait_good(&machine), first.slot());
    let console = machine.console().text();
    for left in ["2 tries", "1 try", "0 tries"] {
        let line = format!("octet: starting slot {} (place b, {left} left)", bad.slot());
        assert_eq!(console.matches(&line).count(), 1, "{line}");
    }

    install(&machine, bundle(&second, &signing)).unwrap();
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

/// How often the power is cut.
const CUTS: usize = 20;

/// The starts in which a good slot has to be reached after a cut: as many as a slot has tries.
const STARTS: usize = 3;

#[test]
#[ignore = "long: `update::cut` is that with UEFI firmware"]
fn after_a_power_cut_at_any_time_a_good_slot_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::new();
    let signing = key.write(folder.path());
    let [first, second] = ["first", "second"].map(|name| image(folder.path(), name, &key, ""));
    let update = bundle(&second, &signing);
    let flashed = DiskFile::flashed(&first, MEDIUM);
    let used = DiskFile::copy(&flashed.path());
    let begin = |disk: &DiskFile| {
        let machine = start(&first, disk);
        assert_eq!(wait_good(&machine), first.slot());
        machine
    };
    power_off(&begin(&used));

    // What is cut: the installation, the restart, and the trial until the new slot is good.
    let install_until_good = |machine: &Machine| {
        let began = Instant::now();
        install(machine, update.clone()).unwrap();
        let installed = began.elapsed();
        starts(machine, &format!("{} (place b, 2 tries left)", second.slot()));
        assert_eq!(wait_good(machine), second.slot());
        [installed, began.elapsed()]
    };
    let steps = install_until_good(&begin(&DiskFile::copy(&used.path())));
    println!("installed and good after {steps:?}");

    let mut random = fastrand::Rng::with_seed(seed());
    // Every other one is during the installation, which is shorter than what follows.
    let cuts = (0..CUTS).map(|number| steps[number % 2].mul_f64(random.f64())).collect();
    let reached = Mutex::new(BTreeMap::new());
    in_parallel(cuts, |cut: Duration| {
        let disk = DiskFile::copy(&used.path());
        let machine = begin(&disk);
        std::thread::scope(|scope| {
            let installing = scope.spawn(|| install(&machine, update.clone()));
            std::thread::sleep(cut);
            machine.kill().unwrap();
            let _ = installing.join().unwrap();
        });
        drop(machine);

        let machine = start(&first, &disk);
        let slot = wait_good(&machine);
        let console = machine.console().text();
        let started = console.matches("octet: starting slot ").count();
        let mended = machine.logs("data").unwrap();
        let mended = mended.iter().find(|line| line.contains(" after a power cut: "));
        println!("cut after {cut:?}: {slot} in {started} starts; {mended:?}");
        assert!((1..=STARTS).contains(&started), "{started} starts\n{}", machine.tail(60));
        assert!(!console.contains("octet: there is no valid boot state"), "{}", machine.tail(60));
        if slot == first.slot() {
            install_until_good(&machine);
        } else {
            assert_eq!(slot, second.slot());
        }
        power_off(&machine);
        drop(machine);
        check(&disk, &flashed);
        *reached.lock().unwrap().entry(slot).or_insert(0) += 1;
    });
    let reached = reached.into_inner().unwrap();
    assert_eq!(reached.len(), 2, "the cuts came too early or too late: {reached:?}");
}
