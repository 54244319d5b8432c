//! `cargo image flash` writes the exact bytes of the image, writes only differences, and overwrites
//! nothing in use.

#![cfg(test)]

mod failing;
mod keep;
mod media;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use media::{DATA, Guest, Loop, MIB, Mounted, Room, flash, refused, same, written};
use octet_tests::{DiskFile, Output, must, run, shipped};

/// The unit of writing: it is written if one byte of it differs.
const GRANULE: u64 = 64 << 10;

/// The start of the data partition of the released image.
const SHIPPED_DATA: u64 = 257 * MIB;

/// The size of the first page, which is zero while the rest is written.
const GUARD: u64 = 4096;

#[test]
fn a_file_is_made_byte_exact_and_stays_sparse() {
    let room = Room::new();
    let image = room.image(32);
    let to = room.path("new");
    assert_eq!(written(&flash(&image, &to)), 3 * MIB);
    same(&image, &to);
    assert_eq!(fs::metadata(&to).unwrap().len(), 32 * MIB);
    assert!(fs::metadata(&to).unwrap().blocks() * 512 < 5 * MIB, "its holes are gone");

    let before = fs::metadata(&to).unwrap().modified().unwrap();
    assert_eq!(written(&flash(&image, &to)), 0);
    assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), before);
}

#[test]
fn only_what_differs_is_written() {
    let room = Room::new();
    let image = room.image(32);
    let device = Loop::new(&room.filled("old", 40, 0xff));
    let all = written(&flash(&image, &device.path));
    assert_eq!(all, 32 * MIB, "holes of the image are zeros on a disk that had something there");
    same(&image, &device.path);
    assert_eq!(written(&flash(&image, &device.path)), 0);

    // Data behind the image's end is not changed.
    let mut behind = [0; 4096];
    room.open("old").read_exact_at(&mut behind, 33 * MIB).unwrap();
    assert_eq!(behind, [0xff; 4096]);

    // One byte: in data, in a hole, in the last granule; each time the guard is written, too.
    let disk = File::options().write(true).open(&device.path).unwrap();
    for at in [10 * MIB + 77, 20 * MIB, 32 * MIB - 1] {
        disk.write_all_at(b"?", at).unwrap();
        assert_eq!(written(&flash(&image, &device.path)), GRANULE + GUARD, "byte {at}");
        same(&image, &device.path);
    }
    // At the beginning no guard is needed, and only one page is written.
    disk.write_all_at(b"?", 513).unwrap();
    assert_eq!(written(&flash(&image, &device.path)), GUARD);
    same(&image, &device.path);
    assert_eq!(written(&flash(&image, &device.path)), 0);
}

#[test]
fn lengths_that_are_no_multiple_of_anything() {
    let room = Room::new();
    for length in [1, 511, 5000, MIB + 1, 2 * MIB + GRANULE + 700] {
        let image = room.path("odd");
        room.random(&image, 0, usize::try_from(length).unwrap());
        let to = room.path("to");
        let _ = fs::remove_file(&to);
        assert_eq!(written(&flash(&image, &to)), length);
        same(&image, &to);
        let disk = Loop::new(&room.filled("disk", 4, 0xff));
        assert_eq!(written(&flash(&image, &disk.path)), length, "{length}");
        same(&image, &disk.path);
        assert_eq!(written(&flash(&image, &disk.path)), 0);
    }
}

#[test]
fn a_longer_file_keeps_its_end() {
    let room = Room::new();
    let image = room.image(8);
    let to = room.filled("longer", 12, 0x55);
    flash(&image, &to);
    same(&image, &to);
    assert_eq!(fs::metadata(&to).unwrap().len(), 12 * MIB);
    let mut behind = vec![0; 4 << 20];
    room.open("longer").read_exact_at(&mut behind, 8 * MIB).unwrap();
    assert!(behind.iter().all(|byte| *byte == 0x55));
}

#[test]
fn the_image_that_ships_and_its_packed_form() {
    let ships = shipped();
    let (image, packed) = (ships.file("octet.img"), ships.file("octet.img.zst"));
    let room = Room::new();
    let to = room.path("card");
    assert!(written(&flash(&packed, &to)) > MIB);
    same(&image, &to);
    assert_eq!(written(&flash(&image, &to)), 0);

    // A truncated image is refused before half of it is written.
    let cut = room.path("cut.img.zst");
    fs::copy(&packed, &cut).unwrap();
    File::options().write(true).open(&cut).unwrap().set_len(MIB).unwrap();
    refused(&cut, &to, &["cannot be unpacked"]);
    same(&image, &to);
}

#[test]
fn for_one_node_of_a_box() {
    let ships = shipped();
    let disk = DiskFile::flashed_for(&ships, 400, "3");
    let (image, to) = (ships.file("octet.img"), disk.path());
    let size = fs::metadata(&image).unwrap().len();
    File::options().write(true).open(&to).unwrap().set_len(size).unwrap();
    assert_eq!(disk.esp_get("octet/board.toml").as_deref(), Some(&b"board = 3\n"[..]));
    assert!(disk.esp_names("octet").contains(&"first-boot".to_owned()));
    assert_eq!(disk.entries(), [format!("octet-{}+3.conf", ships.slot())]);
    disk.check_table();
    let esp = disk.fsck_esp();
    assert_eq!(esp.status, Some(0), "{}{}", esp.stdout, esp.stderr);

    // The same node again needs no write, with either form of the image; another one needs little;
    // without `--board` the disk equals the image.
    let packed = ships.file("octet.img.zst");
    for image in [&image, &packed] {
        assert_eq!(written(&flash_for("3", image, &to)), 0);
    }
    let changed = written(&flash_for("router", &image, &to));
    assert!(changed > 0 && changed < MIB, "{changed}");
    assert_eq!(disk.esp_get("octet/board.toml").as_deref(), Some(&b"board = \"router\"\n"[..]));
    assert!(written(&flash(&image, &to)) < MIB);
    same(&image, &to);

    // An invalid node, and an image that is not for a box, are refused before anything is written.
    for wrong in ["33", "0", "x"] {
        let said = run(media::command(&image, &to).args(["--board", wrong]));
        assert_ne!(said.status, Some(0));
        assert!(said.stderr.contains("neither a board, 1 to 32, nor `router`"), "{}", said.stderr);
    }
    let room = Room::new();
    let other = room.image(8);
    let said = run(media::command(&other, &to).args(["--board", "3"]));
    assert_eq!(said.status, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("no EFI system partition of Octet's"), "{}", said.stderr);
    same(&image, &to);
}

/// Writes `image` for one node of a box.
fn flash_for(board: &str, image: &Path, to: &Path) -> Output {
    let said = must(media::command(image, to).args(["--board", board]));
    assert!(said.stdout.contains("It is for "), "{}", said.stdout);
    said
}

#[test]
fn a_disk_of_another_size() {
    let room = Room::new();
    let image = room.image(16);
    let exact = Loop::new(&room.filled("exact", 16, 1));
    flash(&image, &exact.path);
    same(&image, &exact.path);
    let small = room.filled("small", 15, 1);
    let device = Loop::new(&small);
    refused(&image, &device.path, &["too small", "15728640", "16777216"]);
    assert!(fs::read(&small).unwrap().iter().all(|byte| *byte == 1));
}

#[test]
fn sectors_that_the_table_is_not_for() {
    let room = Room::new();
    let image = room.image(8);
    room.open("image").write_all_at(b"EFI PART", 512).unwrap();
    let file = room.filled("disk", 8, 1);
    flash(&image, &Loop::with(&file, &["--sector-size", "512"]).path);
    let other = Loop::with(&file, &["--sector-size", "4096"]);
    refused(&image, &other.path, &["4096", "512"]);
}

#[test]
fn a_disk_that_somebody_uses() {
    let room = Room::new();
    let image = room.image(8);
    let file = room.filled("disk", 64, 0);
    let device = Loop::new(&file);
    flash(&image, &device.path);

    let at = room.path("mounted");
    let mounted = Mounted::new(&device.path, at.clone());
    fs::write(at.join("precious"), "photos").unwrap();
    refused(&image, &device.path, &["is mounted at", at.to_str().unwrap(), "umount"]);
    refused(&image, &file, &["the file behind", device.path.to_str().unwrap()]);
    assert_eq!(fs::read(at.join("precious")).unwrap(), b"photos");
    drop(mounted);

    must(Command::new("mkswap").arg(&device.path));
    must(Command::new("swapon").arg(&device.path));
    let swap = run(&mut media::command(&image, &device.path));
    must(Command::new("swapoff").arg(&device.path));
    assert_eq!(swap.status, Some(1), "{}", swap.stderr);
    assert!(swap.stderr.contains("memory is swapped to"), "{}", swap.stderr);

    // A user of the device that only the kernel knows.
    let exclusive =
        File::options().read(true).custom_flags(media::O_EXCL).open(&device.path).unwrap();
    refused(&image, &device.path, &["in use by another program"]);
    drop(exclusive);
    let guest = Guest::new(&device.path).unwrap();
    refused(&image, &device.path, &["in use by another program"]);
    drop(guest);
    flash(&image, &device.path);
    same(&image, &device.path);

    drop(device);
    let guest = Guest::new(&file).unwrap();
    refused(&image, &file, &["in use by another program"]);
    drop(guest);
    flash(&image, &file);
    let device = Loop::with(&file, &["--read-only"]);
    refused(&image, &device.path, &["can only be read"]);
    let on_itself = Loop::new(&image);
    refused(&image, &on_itself.path, &["is the image itself"]);
    drop(on_itself);
    refused(&image, &image, &["is the image itself"]);
}

#[test]
fn the_disk_that_this_machine_runs_from() {
    let source = must(Command::new("findmnt").args(["-n", "-v", "-o", "SOURCE", "/"])).stdout;
    let room = Room::new();
    flash(&room.image(8), &room.path("new"));
    let source = Path::new(source.trim());
    if !source.starts_with("/dev") {
        return; // in a container the root is on no device; the builder's own tests simulate a tree
    }
    // It is too large to fit, so that a missing check does not overwrite the root.
    let image = room.image(8);
    File::options().write(true).open(&image).unwrap().set_len(8 << 40).unwrap();
    refused(&image, source, &["this machine runs from it", "mounted at /"]);
}

#[test]
fn what_is_neither_file_nor_disk() {
    let room = Room::new();
    let image = room.image(8);
    flash(&image, &room.path("file"));
    fs::create_dir(room.path("folder")).unwrap();
    must(Command::new("mkfifo").arg(room.path("pipe")));
    for (name, word) in [("folder", "a folder"), ("pipe", "a pipe"), ("no/folder", "cannot open")] {
        refused(&image, &room.path(name), &[word]);
    }
    refused(&image, Path::new("/dev/null"), &["a character device"]);
    refused(&image, Path::new("/dev/sdnone"), &["no device"]);
    assert!(!Path::new("/dev/sdnone").exists());

    let to = room.path("not-made");
    refused(&room.path("no-image"), &to, &["there is no image", "cargo image build"]);
    refused(&room.path("folder"), &to, &["it is not a file"]);
    fs::write(room.path("empty"), "").unwrap();
    refused(&room.path("empty"), &to, &["it is empty"]);
    assert!(!to.exists());
}

#[test]
fn without_yes_nothing_is_lost() {
    let room = Room::new();
    let image = room.image(8);
    room.octet("image");
    // No confirmation is needed for a new file, an empty one, and one with an Octet disk.
    let to = room.path("to");
    for _ in 0..2 {
        must(media::unasked(&image, &to).stdin(Stdio::null()));
        same(&image, &to);
    }
    fs::write(&to, "").unwrap();
    must(media::unasked(&image, &to).stdin(Stdio::null()));

    // A disk that was booted has the keys of a box.
    let disk = room.open("to");
    let end = disk.metadata().unwrap().len();
    disk.write_all_at(b"keys", end - DATA + 1080).unwrap();
    let before = fs::read(&to).unwrap();
    let said = run(media::unasked(&image, &to).stdin(Stdio::null()));
    assert_eq!(said.status, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("--yes") && fs::read(&to).unwrap() == before, "{}", said.stderr);
    let (status, said) = media::type_into(media::unasked(&image, &to), "y");
    assert!(!status.success() && said.contains("the keys and the data of a box"), "{said}");
    assert!(fs::read(&to).unwrap() == before);
    let (status, said) = media::type_into(media::unasked(&image, &to), "to");
    assert!(status.success(), "{said}");
    same(&image, &to);

    let file = room.filled("precious", 9, 7);
    let device = Loop::new(&room.filled("disk", 9, 7));
    for path in [&file, &device.path] {
        let mut asked = media::unasked(&image, path);
        let said = run(asked.stdin(Stdio::null()));
        assert_eq!(said.status, Some(1), "{}", said.stderr);
        assert!(
            said.stderr.contains("no terminal") && said.stderr.contains("--yes"),
            "{}",
            said.stderr
        );
        assert!(fs::read(path).unwrap().iter().all(|byte| *byte == 7));
    }
}

#[test]
fn the_box_is_named_and_nobody_takes_its_disk_meanwhile() {
    const NODE: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
    let ships = shipped();
    let disk = DiskFile::flashed_for(&ships, 400, "3");
    // The state after its first boot.
    disk.esp_put("octet/node.pub", format!("{NODE}\n").as_bytes());
    let (image, to) = (ships.file("octet.img"), disk.path());
    let file = File::options().write(true).open(&to).unwrap();
    file.write_all_at(b"keys", SHIPPED_DATA + 1080).unwrap();
    drop(file);
    drop(Guest::new(&to).unwrap());
    let meanwhile = || assert!(Guest::new(&to).is_none());
    let (status, said) = media::type_after(media::unasked(&image, &to), meanwhile, "y");
    assert!(!status.success(), "{said}");
    assert!(said.contains(&format!("the keys and the data of the box {NODE}.")), "{said}");
    drop(Guest::new(&to).unwrap());
}

#[test]
fn a_person_types_the_name() {
    let room = Room::new();
    let image = room.image(8);
    let file = room.filled("disk", 9, 7);
    let device = Loop::new(&file);
    let name = device.path.file_name().unwrap().to_str().unwrap().to_owned();
    for (typed, goes_on) in [("y", false), ("", false), (name.as_str(), true)] {
        let (status, said) = media::type_into(media::unasked(&image, &device.path), typed);
        for word in [&name, "9.4 MB", file.to_str().unwrap(), "will be lost"] {
            assert!(said.contains(word), "no `{word}` in:\n{said}");
        }
        assert_eq!(status.success(), goes_on, "{said}");
        if goes_on {
            assert!(said.contains("can be unplugged"), "{said}");
            same(&image, &device.path);
        } else {
            assert!(said.contains("nothing was written"), "{said}");
            assert!(fs::read(&device.path).unwrap().iter().all(|byte| *byte == 7));
        }
    }
}
