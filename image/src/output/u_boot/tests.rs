//! The script under Debian's U-Boot, which starts a kernel that prints its command line and resets the machine.

mod stub_kernel;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use tempfile::NamedTempFile;

use super::*;
use crate::output::disk::{self, DiskContents};
use crate::output::entry::{NamedSlot, SlotProperties};
use crate::output::esp;
use crate::output::gpt::find_esp;
use crate::output::sparse::Sparse;
use crate::target::Target;
use crate::tree::NodeOrigin;

/// What `SOURCE_DATE_EPOCH=1700000000 mkimage -A arm64 -T script -C none -d FILE` of U-Boot 2023.01 makes.
#[test]
fn is_what_mkimage_makes() {
    let made = HEXLOWER.encode(&legacy_image(b"echo octet\n", 1_700_000_000));
    let zeros = "0".repeat(64);
    let header = "270519567597ed4b6553f1000000001300000000000000009cba141205160600";
    assert_eq!(made, format!("{header}{zeros}0000000b000000006563686f206f637465740a"));
}

/// Debian's U-Boot for QEMU's board `virt`.
const U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";

/// Where both copies of the boot state are on the disk, in bytes (docs/disk.md).
const COPIES: [u64; 2] = [2 << 20, (2 << 20) + (512 << 10)];

/// A hang ends after this time.
const LIMIT: Duration = Duration::from_secs(180);

/// The slot in place b. Its files are those of the slot in place a.
const B: &str = "0.0.9-bbbbbbbb";

/// An image for boards with two slots, of which both have a kernel that resets the machine.
struct Board {
    disk: NamedTempFile,
    /// The slot in place a.
    a: String,
}

impl Board {
    fn new() -> Self {
        let (target, own) = (Target::BoardArm64, &NodeOrigin::Generated);
        let of = SlotProperties { target, version: "0.1.0", sequence: 7, trial: 60 };
        let kernel = stub_kernel::stub_kernel();
        let slot = NamedSlot::new(&of, &kernel, b"initrd", None).unwrap();
        let (boot_loader, epoch) = ((&b"MZ"[..], own), 1_795_132_800);
        let parts = DiskContents { target, slot: &slot, kernel: own, boot_loader, epoch };
        let image = disk::build(&parts).unwrap();
        let disk = NamedTempFile::new().unwrap();
        image.write_to(disk.as_file()).unwrap();
        let board = Self { disk, a: slot.manifest.slot.to_string() };
        let (linux, options) = (format!("/octet/{}/linux", board.a), "from b");
        board.put_env("b", B, &linux, options);
        board
    }

    /// Writes the file that says what is loaded for a place.
    fn put_env(&self, place: &str, slot: &str, linux: &str, options: &str) {
        let a = &self.a;
        let text = format!(
            "slot={slot}\nlinux={linux}\ninitrd=/octet/{a}/initrd\noptions={options}\ntrial=77\n"
        );
        let mut image = Sparse::read(self.disk.as_file()).unwrap();
        let range = find_esp(&mut image).unwrap();
        let mut partition = image.part(range.clone()).unwrap();
        esp::add(&mut partition, [(&*format!("octet/{place}.env"), text.as_bytes())]).unwrap();
        image.write_part(range.start, partition);
        image.write_to(self.disk.as_file()).unwrap();
    }

    /// Writes a copy of the boot state.
    fn put(&self, copy: usize, variables: &[&str]) {
        self.disk.as_file().write_all_at(&state(variables), COPIES[copy]).unwrap();
    }

    fn tear(&self, copy: usize) {
        self.disk.as_file().write_all_at(b"torn", COPIES[copy] + 9).unwrap();
    }

    /// The variables of a copy; none if its checksum is wrong.
    fn copy(&self, copy: usize) -> Vec<String> {
        let mut bytes = [0; 512];
        File::open(self.disk.path()).unwrap().read_exact_at(&mut bytes, COPIES[copy]).unwrap();
        if bytes[..4] != crc32fast::hash(&bytes[4..]).to_le_bytes() {
            return vec![];
        }
        let texts = bytes[4..].split(|byte| *byte == 0).take_while(|text| !text.is_empty());
        texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    /// Starts it, and returns what U-Boot and the kernel say until `end` stands there.
    fn start(&self, end: &str) -> Vec<String> {
        let output = serial_output(self.disk.path(), end);
        let lines = output.lines().map(|line| line.trim().to_owned());
        lines.filter(|line| line.starts_with("octet: ") || line.starts_with("stub: ")).collect()
    }
}

/// A copy as `env export -c` of U-Boot makes it.
fn state(variables: &[&str]) -> [u8; 512] {
    let mut copy = [0; 512];
    let text = variables.iter().flat_map(|it| it.bytes().chain([0]));
    copy[4..].iter_mut().zip(text).for_each(|(byte, value)| *byte = value);
    let checksum = crc32fast::hash(&copy[4..]).to_le_bytes();
    copy[..4].copy_from_slice(&checksum);
    copy
}

/// QEMU, until the value is dropped.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serial_output(disk: &Path, end: &str) -> String {
    assert!(fs::exists(U_BOOT).unwrap(), "{U_BOOT} is not there: install u-boot-qemu");
    let drive = format!("if=none,id=disk,format=raw,file={}", disk.display());
    let guest = Command::new("qemu-system-aarch64")
        .args(["-M", "virt", "-cpu", "cortex-a53", "-m", "1G", "-bios", U_BOOT, "-nic", "none"])
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
        .args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-system-aarch64");
    let mut guest = Guest(guest);
    let mut serial = guest.0.stdout.take().unwrap();
    let (sender, pieces) = mpsc::channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(size @ 1..) = serial.read(&mut piece) {
            if sender.send(piece[..size].to_vec()).is_err() {
                return;
            }
        }
    });
    let (mut output, began) = (vec![], Instant::now());
    loop {
        match pieces.recv_timeout(LIMIT.saturating_sub(began.elapsed())) {
            Ok(piece) => output.extend(piece),
            Err(error) => {
                let text = String::from_utf8_lossy(&output);
                panic!("late: `{end}` is not there after {LIMIT:?} ({error}):\n{text}");
            }
        }
        let text = String::from_utf8_lossy(&output);
        // All of the line.
        if text.find(end).is_some_and(|at| text[at..].contains('\n')) {
            return text.into_owned();
        }
    }
}

/// The kernel's command line, of which `options` are the slot's.
fn command_line(options: &str, initrd: &str, trial: &str) -> String {
    let esp = "0c7e7000-0000-4000-8000-000000000002";
    format!(
        "stub: {options} initrd=/octet/{initrd}/initrd octet.counter=bootstate octet.esp={esp}{trial}"
    )
}

#[test]
fn a_slot_that_never_becomes_good_is_left_after_its_tries() {
    let board = Board::new();
    let a = &board.a;
    // As the builder has written it, but that there is a slot to go back to.
    for copy in [0, 1] {
        assert_eq!(board.copy(copy), [&format!("a={a}"), "a_left=3", "first=a", "seq=1"]);
    }
    let to_b =
        [&format!("a={a}"), "a_left=3", &format!("b={B}"), "b_left=good", "first=a", "seq=9"];
    board.put(0, &to_b);
    board.put(1, &[to_b[0], "a_left=1", to_b[2], to_b[3], to_b[4], "seq=8"]);
    let said = board.start("stub: from b");
    let of_a =
        command_line(&format!("quiet panic=3 rdinit=/init octet.slot={a}"), a, " octet.trial=");
    let starts = |left: &str| format!("octet: starting slot {a} (place a, {left} left)");
    let expected = [
        starts("2 tries"),
        of_a.clone(),
        starts("1 try"),
        of_a.clone(),
        starts("0 tries"),
        of_a,
        format!("octet: starting slot {B} (place b, good)"),
        command_line("from b", a, ""),
    ];
    assert_eq!(said, expected);
    // Three writes, each over the older copy; the number has hexadecimal digits.
    let of =
        |left: &str, seq: &str| [to_b[0], left, to_b[2], to_b[3], to_b[4], seq].map(str::to_owned);
    assert_eq!(board.copy(0), of("a_left=1", "seq=b"));
    assert_eq!(board.copy(1), of("a_left=0", "seq=c"));
}

/// In the short tier `a_slot_that_never_becomes_good_is_left_after_its_tries` starts it beside another.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_slot_alone_is_started_and_no_command_is_misused() {
    let board = Board::new();
    let output = serial_output(board.disk.path(), "stub: ");
    let starts = format!("octet: starting slot {} (place a, 2 tries left)", board.a);
    assert!(output.contains(&starts), "{output}");
    assert!(!output.contains("Usage:") && !output.contains("is not valid"), "{output}");
    assert_eq!(board.copy(1), [&format!("a={}", board.a), "a_left=2", "first=a", "seq=2"]);
}

#[test]
fn of_a_torn_copy_the_older_one_counts_and_without_any_place_a_is_started() {
    let board = Board::new();
    let a = format!("a={}", board.a);
    let b = format!("b={B}");
    board.put(0, &[&a, "a_left=3", &b, "b_left=2", "first=b", "seq=4"]);
    board.put(1, &[&a, "a_left=good", &b, "b_left=1", "first=a", "seq=5"]);
    board.tear(1);
    let said = board.start("stub: ");
    let invalid =
        |block: &str| format!("octet: the copy of the boot state in block 0x{block} is not valid");
    let starts_b = format!("octet: starting slot {B} (place b, 1 try left)");
    assert_eq!(
        said,
        [invalid("1400"), starts_b, command_line("from b", &board.a, " octet.trial=77")]
    );
    assert_eq!(board.copy(1), [&a, "a_left=3", &b, "b_left=1", "first=b", "seq=5"]);

    board.tear(0);
    board.tear(1);
    let said = board.start("stub: ");
    let nothing = "octet: there is no valid boot state, so nothing is counted".to_owned();
    let starts_a = format!("octet: starting slot {} (place a, not counted)", board.a);
    assert_eq!(said[..4], [invalid("1000"), invalid("1400"), nothing, starts_a]);
    assert!(board.copy(0).is_empty() && board.copy(1).is_empty(), "something was written");
}

#[test]
fn without_its_kernel_a_slot_gives_way_to_the_other_in_the_same_start() {
    let board = Board::new();
    let (a, b) = (format!("a={}", board.a), format!("b={B}"));
    board.put(0, &[&a, "a_left=3", &b, "b_left=good", "first=a", "seq=1"]);
    board.put_env("a", &board.a, "/octet/none", "from a");
    let said = board.start("stub: ");
    let why = "octet: place a does not start: /octet/none cannot be loaded".to_owned();
    let starts_b = format!("octet: starting slot {B} (place b, good)");
    assert_eq!(said, [why, starts_b, command_line("from b", &board.a, "")]);
    assert_eq!(board.copy(1), [&a, "a_left=2", &b, "b_left=good", "first=a", "seq=2"]);
}
