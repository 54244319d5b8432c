//! Images and media for the tests of `cargo image flash`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use octet_machine::Architecture;
use octet_tests::{Output, builder, in_terminal, must, run};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub const MIB: u64 = 1 << 20;

/// The size of a data partition at the end of a disk, in bytes.
pub const DATA: u64 = 64 << 10;

/// Opens a block device exclusively.
pub const O_EXCL: i32 = OFlags::EXCL.bits().cast_signed();

/// A QEMU process whose guest has a disk, and has not started.
pub struct Guest(Child);

impl Guest {
    /// Returns `None` if QEMU cannot lock `disk`.
    pub fn new(disk: &Path) -> Option<Self> {
        let drive = format!("if=virtio,format=raw,file={}", disk.display());
        let mut qemu = Command::new(Architecture::X86_64.emulator().program);
        qemu.args(["-M", "q35", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]);
        qemu.args(["-drive", &drive]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guest = Self(qemu.spawn().unwrap());
        // QEMU greets once it has opened everything, and ends if it cannot.
        let mut greeting = [0; 6];
        guest.0.stdout.as_mut().unwrap().read_exact(&mut greeting).ok()?;
        assert_eq!(&greeting, b"{\"QMP\"");
        Some(guest)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A folder with images and disks.
pub struct Room(TempDir);

impl Room {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn open(&self, name: &str) -> File {
        File::options().read(true).write(true).open(self.path(name)).unwrap()
    }

    /// Writes random bytes at `at` to the file `path`.
    pub fn random(&self, path: &Path, at: u64, len: usize) {
        let mut bytes = vec![0; len];
        fastrand::Rng::with_seed(len as u64 ^ at).fill(&mut bytes);
        let file = File::options().write(true).create(true).truncate(at == 0).open(path).unwrap();
        file.write_all_at(&bytes, at).unwrap();
    }

    /// An image of `mib` MiB, at least 8: the first MiB and two others have data.
    pub fn image(&self, mib: u64) -> PathBuf {
        let path = self.path("image");
        self.random(&path, 0, 1 << 20);
        for at in [mib / 3, mib - 2] {
            self.random(&path, at * MIB, 1 << 20);
        }
        File::options().write(true).open(&path).unwrap().set_len(mib * MIB).unwrap();
        path
    }

    /// Makes the file `name` look like an Octet disk (by the GUID of its partition table), with a
    /// data partition of zeros in its last 64 KiB.
    pub fn octet(&self, name: &str) {
        let file = self.open(name);
        file.write_all_at(b"EFI PART", 512).unwrap();
        let guid = [0, 0x70, 0x7e, 0x0c, 0, 0, 0, 0x40, 0x80, 0, 0, 0, 0, 0, 0, 1];
        file.write_all_at(&guid, 512 + 56).unwrap();
        // One entry, which begins at sector 2 and has 128 bytes.
        let entries = [[2, 0, 0, 0], [0; 4], [1, 0, 0, 0], [128, 0, 0, 0]].concat();
        file.write_all_at(&entries, 512 + 72).unwrap();
        let start = file.metadata().unwrap().len() - DATA;
        let mut entry = [0; 128];
        entry[32..40].copy_from_slice(&(start / 512).to_le_bytes());
        for (at, letter) in "octet-data".bytes().enumerate() {
            entry[56 + 2 * at] = letter;
        }
        file.write_all_at(&entry, 1024).unwrap();
        file.write_all_at(&[0; DATA as usize], start).unwrap();
    }

    /// A file of `mib` MiB full of `byte`; 0 makes one hole. An existing file keeps its inode.
    pub fn filled(&self, name: &str, mib: u64, byte: u8) -> PathBuf {
        let path = self.path(name);
        let file = File::options().write(true).create(true).truncate(false).open(&path).unwrap();
        file.set_len(mib * MIB).unwrap();
        if byte != 0 {
            file.write_all_at(&vec![byte; (mib * MIB) as usize], 0).unwrap();
        }
        path
    }
}

/// Fails unless the user is root.
pub fn needs_root() {
    let root = rustix::process::geteuid().is_root();
    assert!(root, "this test needs root, to make loop devices: run it with `sudo`");
}

pub struct Loop {
    pub path: PathBuf,
}

impl Loop {
    pub fn new(file: &Path) -> Self {
        Self::with(file, &[])
    }

    pub fn with(file: &Path, options: &[&str]) -> Self {
        needs_root();
        let mut command = Command::new("losetup");
        let said = must(command.args(["--find", "--show"]).args(options).arg(file)).stdout;
        Self { path: said.trim().into() }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).output();
    }
}

/// A mounted ext4 file system on a loop device.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Makes it on `device`, and mounts it at the new folder `at`.
    pub fn new(device: &Path, at: PathBuf) -> Self {
        must(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(device));
        fs::create_dir(&at).unwrap();
        must(Command::new("mount").args([device, &at]));
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

/// A small file system in memory.
pub struct Tmpfs(TempDir);

impl Tmpfs {
    pub fn new(mib: u64) -> Self {
        needs_root();
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        must(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()));
        Self(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // The unmount is lazy, because a loop device may still be about to release its file.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

/// `cargo image flash` of `image`, with its confirmation prompt.
pub fn unasked(image: &Path, to: &Path) -> Command {
    let mut command = Command::new(builder());
    command.arg("flash").arg(to).arg("--image").arg(image);
    command
}

/// `cargo image flash` of `image`, without the prompt.
pub fn command(image: &Path, to: &Path) -> Command {
    let mut command = unasked(image, to);
    command.arg("--yes").stdin(Stdio::null());
    command
}

/// Flashes, and returns the output.
pub fn flash(image: &Path, to: &Path) -> Output {
    must(&mut command(image, to))
}

/// The number of written bytes, as the program reports it.
pub fn written(said: &Output) -> u64 {
    let (_, numbers) = said.stdout.split_once(" -> ").expect("what was done");
    let (_, numbers) = numbers.split_once(": ").expect("a number");
    let count: u64 = numbers.split(' ').next().unwrap().parse().unwrap();
    let all = format!("{count} read back");
    assert!(count == 0 || numbers.contains(&all), "not all was read back: {numbers}");
    count
}

/// Checks that the write is refused soon, with these words and a hint.
pub fn refused(image: &Path, to: &Path, words: &[&str]) -> Output {
    let said = run(&mut command(image, to));
    assert_eq!(said.status, Some(1), "{}{}", said.stdout, said.stderr);
    for word in words {
        assert!(said.stderr.contains(word), "no `{word}` in:\n{}", said.stderr);
    }
    assert!(said.stderr.contains("help: ") && !said.stderr.contains("panicked"), "{}", said.stderr);
    said
}

/// Checks with an independent tool that `to` begins with the whole `image`.
pub fn same(image: &Path, to: &Path) {
    let bytes = fs::metadata(image).unwrap().len().to_string();
    must(Command::new("cmp").args(["--bytes", &bytes]).args([image, to]));
}

/// Checks that `disk` is not bootable: its first page is zero.
pub fn starts_nothing(disk: &Path) {
    let mut page = [1; 4096];
    File::open(disk).unwrap().read_exact_at(&mut page, 0).unwrap();
    assert_eq!(page, [0; 4096]);
}

/// Flashes until `file` (the medium, or the file behind it) has grown by `bytes`, and stops the
/// process there.
pub fn stopped_at(image: &Path, to: &Path, file: &Path, bytes: u64) -> Child {
    let used = || fs::metadata(file).unwrap().blocks() * 512;
    let before = used();
    let mut command = command(image, to);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while used() < before + bytes {
        assert!(Instant::now() < deadline, "nothing was written");
    }
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    let is_halted = || fs::read_to_string(&stat).unwrap().contains(") T ");
    while !is_halted() {
        assert!(Instant::now() < deadline, "it ended too soon");
    }
    child
}

/// Runs `command` in a terminal, types `line` at the prompt, and returns its whole output.
pub fn type_into(command: Command, line: &str) -> (ExitStatus, String) {
    type_after(command, || (), line)
}

/// The same; `meanwhile` is called before the answer.
pub fn type_after(
    command: Command,
    mut meanwhile: impl FnMut(),
    line: &str,
) -> (ExitStatus, String) {
    let (mut child, mut ours) = in_terminal(command);
    let mut said = vec![];
    let mut buffer = [0; 4096];
    let mut asked = false;
    // Reading fails once the program has ended.
    while let Ok(count) = ours.read(&mut buffer) {
        said.extend_from_slice(&buffer[..count]);
        if !asked && String::from_utf8_lossy(&said).contains("type ") && said.ends_with(b": ") {
            asked = true;
            meanwhile();
            writeln!(ours, "{line}").unwrap();
        }
    }
    (child.wait().unwrap(), String::from_utf8_lossy(&said).into_owned())
}
