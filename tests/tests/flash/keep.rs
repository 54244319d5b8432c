//! `--keep-data` writes the slot of an image to the disk of a box, and changes nothing else there.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use octet_bundle::{EntryName, SlotFile, SlotState};
use octet_tests::{DiskFile, Image, Output, Release, USED, must, run, shipped};

use crate::SHIPPED_DATA;
use crate::media::{self, Loop, MIB, Room};

/// The sequence number of the slot that a box has before: lower than any timestamp.
const SEQUENCE: u64 = 5;

/// The node key in the file that a box has written.
const NODE: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";

/// The disk of a box that was started, with another slot than the released one: the kernel differs,
/// and the initramfs is the same.
fn of_a_box() -> (DiskFile, Release) {
    let disk = DiskFile::used();
    for slot in disk.entries() {
        disk.esp_remove(&format!("loader/entries/{slot}"));
        disk.esp_remove(&format!("octet/{}", EntryName::parse(&slot).unwrap().slot));
    }
    let old = Release::of(&shipped(), SEQUENCE).with_kernel(vec![7; 3 << 20]);
    old.put_on(&disk, SlotState::Good);
    disk.esp_put("octet/node.pub", format!("{NODE}\n").as_bytes());
    (disk, old)
}

/// The EFI system partition of the released image, as a device.
fn esp_of(disk: &Path) -> Loop {
    Loop::with(disk, &["--offset", "1048576", "--sizelimit", "268435456"])
}

fn keeping(image: &Image, to: &Path) -> Command {
    let mut command = media::command(&image.file("octet.img"), to);
    command.arg("--keep-data");
    command
}

/// Checks that the command is refused with these words, and that nothing was written.
fn refused(command: &mut Command, to: &Path, words: &[&str]) -> Output {
    let before = fs::metadata(to).unwrap().modified().unwrap();
    let said = run(command);
    assert_eq!(said.status, Some(1), "{}{}", said.stdout, said.stderr);
    let plain = said.stderr.replace("\n  │ ", " ");
    for word in words {
        assert!(plain.contains(word), "no `{word}` in:\n{plain}");
    }
    assert!(plain.contains("help: ") && !plain.contains("panicked"), "{plain}");
    assert_eq!(fs::metadata(to).unwrap().modified().unwrap(), before);
    said
}

/// The digest of everything but the EFI system partition: the table, the data, and the backup
/// table.
fn besides_esp(disk: &DiskFile) -> String {
    let mut all = String::new();
    for (skip, count) in [(0, 1), (SHIPPED_DATA / MIB, USED)] {
        let part = disk.beside("part");
        let mut cut = Command::new("dd");
        cut.arg(format!("if={}", disk.path().display())).arg(format!("of={}", part.display()));
        must(cut.args([
            "bs=1M",
            "conv=sparse",
            &format!("skip={skip}"),
            &format!("count={count}"),
        ]));
        all += &must(Command::new("sha256sum").stdin(File::open(part).unwrap())).stdout;
    }
    all
}

#[test]
fn slot_and_entry_come_and_all_else_stays() {
    let ships = shipped();
    let (disk, old) = of_a_box();
    disk.esp_put("octet/board.toml", b"board = 3\n");
    let file = |path: &str| disk.esp_get(path).unwrap();
    let entry = format!("loader/entries/octet-{}.conf", old.slot());
    let kept = ["octet/node.pub", "octet/board.toml", "loader/loader.conf", &entry];
    let files = kept.map(file);
    let (outside, names) = (besides_esp(&disk), disk.esp_names("octet"));

    let said = must(&mut keeping(&ships, &disk.path()));
    assert!(said.stdout.contains(&format!("{} starts again", old.slot())), "{}", said.stdout);
    let new = ships.slot();
    let mut entries = [format!("octet-{}.conf", old.slot()), format!("octet-{new}+3.conf")];
    entries.sort();
    assert_eq!(disk.entries(), entries);
    assert!(file(&format!("octet/{new}/linux")) == fs::read(ships.file("boot/linux")).unwrap());
    let text = String::from_utf8(file(&format!("loader/entries/octet-{new}+3.conf"))).unwrap();
    let initrd = format!("/{}\n", old.slot().file(SlotFile::Initrd));
    assert!(text.contains(&initrd) && text.contains("octet.trial="), "{text}");
    assert_eq!(disk.esp_names(&format!("octet/{new}")), ["linux", "manifest.json"]);

    // Everything else is unchanged.
    assert_eq!(kept.map(file), files);
    assert!(old.content(SlotFile::Linux) == file(&old.slot().file(SlotFile::Linux)));
    assert!(old.content(SlotFile::Initrd) == file(&old.slot().file(SlotFile::Initrd)));
    let mut with_new = [names, vec![new.clone()]].concat();
    with_new.sort();
    assert_eq!(disk.esp_names("octet"), with_new);
    assert_eq!(besides_esp(&disk), outside);
    disk.check_table();
    for said in [disk.fsck_esp(), disk.fsck_data()] {
        assert_eq!(said.status, Some(0), "{}{}", said.stdout, said.stderr);
    }

    // A second run has nothing to do, with the compressed image, too.
    let before = fs::metadata(disk.path()).unwrap().modified().unwrap();
    let mut packed = media::command(&ships.file("octet.img.zst"), &disk.path());
    for again in [&mut keeping(&ships, &disk.path()), packed.arg("--keep-data")] {
        let said = must(again);
        assert!(said.stdout.contains(&format!("slot {new} is there")), "{}", said.stdout);
        assert!(said.stdout.contains("nothing to do"), "{}", said.stdout);
    }
    assert_eq!(fs::metadata(disk.path()).unwrap().modified().unwrap(), before);
}

#[test]
fn the_slot_that_a_box_runs_is_there_already() {
    let (ships, disk) = (shipped(), DiskFile::used());
    let said = must(&mut keeping(&ships, &disk.path()));
    assert!(said.stdout.contains("nothing to do"), "{}", said.stdout);
    // A slot that has used up its tries is tried again.
    let entry = |counter| format!("loader/entries/octet-{}{counter}.conf", ships.slot());
    disk.esp_put(&entry("+0-3"), &disk.esp_get(&entry("+3")).unwrap());
    disk.esp_remove(&entry("+3"));
    must(&mut keeping(&ships, &disk.path()));
    assert_eq!(disk.entries(), [format!("octet-{}+3.conf", ships.slot())]);
    assert_eq!(disk.fsck_esp().status, Some(0));
}

#[test]
fn a_person_is_told_that_all_is_kept() {
    let ships = shipped();
    let (disk, _) = of_a_box();
    let asked = || {
        let mut command = media::unasked(&ships.file("octet.img"), &disk.path());
        command.arg("--keep-data");
        command
    };
    refused(asked().stdin(Stdio::null()), &disk.path(), &["no terminal", "--yes"]);
    let before = disk.entries();
    let (status, said) = media::type_into(asked(), "y");
    assert!(!status.success() && disk.entries() == before, "{said}");
    let slot = ships.slot();
    for word in [NODE, "Keys and data are kept", &format!("slot {slot} and its boot entry")] {
        assert!(said.contains(word), "no `{word}` in:\n{said}");
    }
    assert!(!said.contains("lost"), "{said}");
    let (status, said) = media::type_into(asked(), "disk");
    assert!(status.success(), "{said}");
    assert!(disk.entries().contains(&format!("octet-{slot}+3.conf")));
}

#[test]
fn what_cannot_be_kept_is_left_as_it_is() {
    let ships = shipped();
    let (disk, old) = of_a_box();
    let to = disk.path();
    let keep = || keeping(&ships, &to);
    let both = run(keep().args(["--board", "3"]));
    assert!(
        both.status != Some(0) && both.stderr.contains("cannot be used with"),
        "{}",
        both.stderr
    );

    // Its partition is mounted.
    let esp = esp_of(&to);
    refused(&mut keep(), &to, &["the file behind", "losetup --detach"]);
    drop(esp);
    // Another kind of machine.
    let manifest = disk.esp_get(&old.slot().manifest()).unwrap();
    let arm = String::from_utf8(manifest.clone()).unwrap().replace("qemu-x86_64", "qemu-aarch64");
    disk.esp_put(&old.slot().manifest(), arm.as_bytes());
    refused(&mut keep(), &to, &["is for qemu-aarch64", "--target"]);
    disk.esp_put(&old.slot().manifest(), &manifest);
    // Partitions at other positions.
    let other = DiskFile::copy(&to);
    must(
        Command::new("sgdisk")
            .args(["-d", "2", "-n", "2:528384:0", "-c", "2:octet-data"])
            .arg(other.path()),
    );
    let mut elsewhere = keeping(&ships, &other.path());
    refused(&mut elsewhere, &other.path(), &["partitions elsewhere", "without --keep-data"]);
    // No Octet disk, and an empty file.
    let room = Room::new();
    for bytes in [&b""[..], &[7; 100_000]] {
        let file = room.path("file");
        fs::write(&file, bytes).unwrap();
        let words = ["no disk of Octet's", "without --keep-data"];
        refused(&mut keeping(&ships, &file), &file, &words);
    }
    let said = run(&mut keeping(&ships, &room.path("none")));
    assert!(said.stderr.contains("no disk of Octet's") && !room.path("none").exists());
    // An invalid image.
    let said = run(media::command(&room.image(8), &to).arg("--keep-data"));
    assert!(said.stderr.contains("no EFI system partition of Octet's"), "{}", said.stderr);

    // After all these changes are undone it succeeds, on a device as well.
    let device = Loop::new(&to);
    must(&mut keeping(&ships, &device.path));
    drop(device);
    assert_eq!(disk.entries().len(), 2);
    assert_eq!(disk.fsck_esp().status, Some(0));
}
