//! A disk to boot from, and checks of it with independent tools.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use octet_machine::{Disk, WriteLog};
use tempfile::TempDir;

use crate::image::{Image, shipped};
use crate::programs::builder;
use crate::shared::shared;
use crate::tool::{Output, must, run};
use crate::{READY, SOON};

/// The size of the medium of [`DiskFile::used`], in MiB.
pub const USED: u64 = 320;

/// The layout of the image: the start and the size of its partitions, in bytes unless the name says
/// otherwise.
const ESP: u64 = 1 << 20;
const ESP_MIB: u64 = 256;

/// Where the EFI system partition of an image for boards begins; its master boot record says so.
const ESP_OF_BOARD: u64 = 4 << 20;
const DATA: u64 = ESP + (ESP_MIB << 20);

/// The part of a disk of `sectors` sectors that contains the sectors `range`.
pub fn part(range: &Range<u64>, sectors: u64) -> &'static str {
    if range.start < ESP / 512 || range.end > sectors - 33 {
        "table"
    } else if range.start < DATA / 512 {
        "esp"
    } else {
        "data"
    }
}

/// A file with the content of a disk, in a folder of its own.
#[derive(Debug)]
pub struct DiskFile {
    folder: TempDir,
}

impl DiskFile {
    /// The image, on a medium of `mib` MiB.
    pub fn flashed(image: &Image, mib: u64) -> Self {
        let disk = Self::copy(&image.file("octet.img"));
        let file = File::options().write(true).open(disk.path()).expect("it was just made");
        file.set_len(mib << 20).expect("room for a sparse file");
        disk
    }

    /// The image, flashed for one node of a box: a board by its number, or `router`.
    pub fn flashed_for(image: &Image, mib: u64, board: &str) -> Self {
        let disk = Self { folder: tempfile::tempdir().expect("a folder") };
        let mut flash = Command::new(builder());
        flash.args(["flash", "--yes", "--board", board, "--image"]).arg(image.file("octet.img"));
        must(flash.arg(disk.path()));
        let file = File::options().write(true).open(disk.path()).expect("it was just made");
        file.set_len(mib << 20).expect("room for a sparse file");
        disk
    }

    /// A disk of [`USED`] MiB that has booted the released image once and was turned off. Each test
    /// gets a copy of its own.
    pub fn used() -> Self {
        let folder = shared("used", |folder| {
            let image = shipped();
            let disk = Self::flashed(&image, USED);
            let machine = image.machine().disk(disk.disk()).cpus(1).start().expect("a machine");
            machine.wait_ready(READY).unwrap_or_else(|error| panic!("{error}"));
            let exit = machine.power_off(SOON).unwrap_or_else(|error| panic!("{error}"));
            assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
            fs::rename(disk.path(), folder.join("disk")).expect("a file system");
        });
        Self::copy(&folder.join("disk"))
    }

    /// A sparse copy of the disk in `file`.
    pub fn copy(file: &Path) -> Self {
        let disk = Self { folder: tempfile::tempdir().expect("a folder") };
        must(Command::new("cp").arg("--sparse=always").arg(file).arg(disk.path()));
        disk
    }

    /// The disk after each of these numbers of writes of `log`, starting with its current state.
    /// The disk itself is changed.
    pub fn after_writes(&self, log: &WriteLog, counts: &[usize]) -> Vec<(usize, Self)> {
        let file = File::options().write(true).open(self.path()).expect("it is there");
        let mut states = vec![];
        for made in 0..=log.writes().len() {
            if let Some(last) = made.checked_sub(1) {
                log.replay(&log.writes()[last], &file).expect("the host writes");
            }
            if counts.contains(&made) {
                states.push((made, Self::copy(&self.path())));
            }
        }
        states
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The disk for a machine.
    pub fn disk(&self) -> Disk {
        Disk::new(&self.path())
    }

    /// Inverts a bit in the middle of `content`, which is on the data partition once, on whole sectors.
    pub fn flip_bit_of(&self, content: &[u8]) {
        let file = File::options().read(true).write(true).open(self.path()).expect("it is there");
        let (mut sector, mut found) = ([0; 512], vec![]);
        for at in (DATA..self.sectors() * 512).step_by(sector.len()) {
            file.read_exact_at(&mut sector, at).expect("the host reads");
            if content.starts_with(&sector) {
                found.push(at + content.len() as u64 / 2);
            }
        }
        assert_eq!(found.len(), 1, "the content is {} times on the disk", found.len());
        file.read_exact_at(&mut sector[..1], found[0]).expect("the host reads");
        file.write_all_at(&[sector[0] ^ 1], found[0]).expect("the host writes");
    }

    /// The number of its sectors of 512 bytes.
    pub fn sectors(&self) -> u64 {
        fs::metadata(self.path()).expect("its size").len() / 512
    }

    /// Checks the partition table with `sgdisk`.
    pub fn check_table(&self) {
        let said = must(Command::new("sgdisk").arg("-v").arg(self.path()));
        assert!(said.stdout.contains("No problems found"), "{}{}", said.stdout, said.stderr);
    }

    /// The result of `fsck.vfat` on the EFI system partition.
    pub fn fsck_esp(&self) -> Output {
        let esp = self.beside("esp");
        let mut cut = Command::new("dd");
        cut.arg(format!("if={}", self.path().display())).arg(format!("of={}", esp.display()));
        let skip = format!("skip={}", self.esp() >> 20);
        must(cut.args(["bs=1M", &skip, "conv=sparse", &format!("count={ESP_MIB}")]));
        run(Command::new("fsck.vfat").arg("-n").arg(&esp))
    }

    /// The result of `e2fsck` on the data partition.
    pub fn fsck_data(&self) -> Output {
        run(Command::new("e2fsck").arg("-fn").arg(self.data()))
    }

    /// Replays the journal of the data partition with `e2fsck`.
    ///
    /// # Panics
    /// There is anything else to repair.
    pub fn mend_data(&self) {
        // To replay a journal, e2fsck reopens the file system and then ignores the offset in the
        // file, so it gets a file of its own.
        let data = self.beside("data");
        let copy = |from: &Path, to: &Path, place: String| {
            let mut dd = Command::new("dd");
            dd.arg(format!("if={}", from.display())).arg(format!("of={}", to.display()));
            must(dd.args(["bs=1M", "conv=notrunc", &place]));
        };
        copy(&self.path(), &data, format!("skip={}", DATA >> 20));
        let said = run(Command::new("e2fsck").arg("-p").arg(&data));
        let (stdout, stderr) = (&said.stdout, &said.stderr);
        assert!(matches!(said.status, Some(0 | 1)), "{stdout}{stderr}");
        copy(&data, &self.path(), format!("seek={}", DATA >> 20));
    }

    /// The answer of `debugfs` to `request` about the data partition.
    pub fn debugfs(&self, request: &str) -> String {
        must(Command::new("debugfs").args(["-R", request]).arg(self.data())).stdout
    }

    /// Fills the data partition with as much of `file` as fits.
    pub fn fill(&self, file: &Path) {
        let request = format!("write {} filler", file.display());
        // It fails once the file system is full.
        run(Command::new("debugfs").args(["-w", "-R", &request]).arg(self.data()));
    }

    /// The names in a folder of the EFI system partition, as `mdir` lists them.
    pub fn esp_names(&self, folder: &str) -> Vec<String> {
        let listed = must(self.mtools("mdir").args(["-b", &format!("::{folder}")]));
        let name = |line: &str| line.trim_end_matches('/').rsplit('/').next().map(str::to_owned);
        let mut names: Vec<_> = listed.stdout.lines().filter_map(name).collect();
        names.sort();
        names
    }

    /// The content of a file on the EFI system partition, if it exists.
    pub fn esp_get(&self, path: &str) -> Option<Vec<u8>> {
        let to = self.beside("from-esp");
        let _ = fs::remove_file(&to);
        let copied = run(self.mtools("mcopy").arg(format!("::{path}")).arg(&to));
        (copied.status == Some(0)).then(|| fs::read(&to).expect("it was just copied"))
    }

    /// Writes a file to the EFI system partition, and creates its folder if necessary.
    pub fn esp_put(&self, path: &str, content: &[u8]) {
        let from = self.beside("to-esp");
        fs::write(&from, content).expect("room for a file");
        if let Some((folder, _)) = path.rsplit_once('/') {
            run(self.mtools("mmd").args(["-D", "s"]).arg(format!("::{folder}")));
        }
        must(self.mtools("mcopy").args(["-D", "o"]).arg(&from).arg(format!("::{path}")));
    }

    /// Removes a folder or a file of the EFI system partition.
    pub fn esp_remove(&self, path: &str) {
        must(self.mtools("mdeltree").arg(format!("::{path}")));
    }

    /// A program of mtools for the EFI system partition.
    fn mtools(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-i", &format!("{}@@{}", self.path().display(), self.esp())]);
        command
    }

    /// The first sector.
    pub fn boot_record(&self) -> [u8; 512] {
        let mut sector = [0; 512];
        let file = File::open(self.path()).expect("it is there");
        file.read_exact_at(&mut sector, 0).expect("a sector");
        sector
    }

    /// Where its EFI system partition begins.
    fn esp(&self) -> u64 {
        let is_for_boards = self.boot_record()[446 + 4] == 0x0c;
        if is_for_boards { ESP_OF_BOARD } else { ESP }
    }

    /// The names of the boot loader's entries.
    pub fn entries(&self) -> Vec<String> {
        self.esp_names("loader/entries")
    }

    /// The data partition in the syntax of e2fsprogs for a file system inside a file.
    fn data(&self) -> String {
        let offset = self.esp() + (ESP_MIB << 20);
        format!("{}?offset={offset}", self.path().display())
    }
}
