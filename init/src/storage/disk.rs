//! Finding the disk that carries an Octet image, and making its last partition reach its end.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::gpt::{self, HEAD, SECTOR, TAIL};
use crate::sys::{PartitionChange, change_partition, read_partitions};

/// Names of the partitions, as the builder writes them.
const ESP: &str = "octet-esp";
const DATA: &str = "octet-data";

/// Where the kernel lists block devices.
const BLOCK: &str = "/sys/class/block";

/// How long a controller may take to show its disk, and how often it is looked for.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// How often, in looks, the kernel is asked to look for partitions again.
const LOOK_AGAIN: u32 = 20;

/// The disk with its two partitions, by their names under `/dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The whole disk.
    pub whole: String,
    /// The EFI system partition.
    pub esp: String,
    /// The data partition.
    pub data: String,
}

impl Disk {
    /// Finds the disk; waits for it up to five seconds.
    ///
    /// # Errors
    /// In words: there is none, or more than one.
    pub fn find() -> Result<Self, String> {
        for turn in 0..PATIENCE {
            if let Some(disk) = Self::find_in(Path::new(BLOCK))? {
                return Ok(disk);
            }
            if turn % LOOK_AGAIN == 0 {
                look_again(Path::new(BLOCK));
            }
            std::thread::sleep(PAUSE);
        }
        Err(format!(
            "no disk has the partitions {ESP} and {DATA}: flash one with `cargo image flash` ({})",
            seen(Path::new(BLOCK))
        ))
    }

    fn find_in(block: &Path) -> Result<Option<Self>, String> {
        let entries = fs::read_dir(block).map_err(at(block))?;
        let mut partitions: Vec<_> =
            entries.flatten().filter_map(|entry| Partition::read(&entry.path())).collect();
        partitions.sort();
        let named = |name: &'static str| partitions.iter().filter(move |it| it.label == name);
        let mut found = named(DATA).filter_map(|data| {
            let esp = named(ESP).find(|esp| esp.whole == data.whole)?;
            let name = |partition: &Partition| partition.name.clone();
            Some(Self { whole: data.whole.clone(), esp: name(esp), data: name(data) })
        });
        let first = found.next();
        if let (Some(one), Some(other)) = (&first, found.next()) {
            let (one, other) = (&one.whole, &other.whole);
            return Err(format!(
                "both {one} and {other} carry an Octet image: take one of them out"
            ));
        }
        Ok(first)
    }

    /// Makes the data partition reach the end of the disk, in the table and for the kernel.
    /// Returns whether anything was written.
    ///
    /// # Errors
    /// In words, with the device.
    pub fn grow(&self) -> Result<bool, String> {
        let path = device(&self.whole);
        let size = number(&Path::new(BLOCK).join(&self.whole).join("queue/logical_block_size"));
        if size.is_some_and(|size| size != SECTOR as u64) {
            return Err(format!(
                "{}: its sectors have {} bytes; the image is made for sectors of {SECTOR}",
                path.display(),
                size.unwrap_or_default()
            ));
        }
        let sectors = sectors(&self.whole)?;
        let disk = File::options().read(true).write(true).open(&path).map_err(at(&path))?;
        let mut head = vec![0; HEAD as usize * SECTOR];
        let mut tail = vec![0; TAIL as usize * SECTOR];
        disk.read_exact_at(&mut head, 0).map_err(at(&path))?;
        let tail_at = sectors.saturating_sub(TAIL) * SECTOR as u64;
        disk.read_exact_at(&mut tail, tail_at).map_err(at(&path))?;
        let plan = gpt::plan(&head, &tail, sectors, DATA)
            .map_err(|problem| format!("{}: {problem}", path.display()))?;
        for write in &plan.writes {
            disk.write_all_at(&write.bytes, write.sector * SECTOR as u64).map_err(at(&path))?;
            disk.sync_all().map_err(at(&path))?;
        }
        // Also when there was nothing to write: the one who wrote it may have been killed before.
        disk.sync_all().map_err(at(&path))?;
        if self::sectors(&self.data)? != plan.data.sectors {
            let number = number(&Path::new(BLOCK).join(&self.data).join("partition"));
            let number = number.and_then(|number| i32::try_from(number).ok()).unwrap_or(2);
            let change = PartitionChange::resize(number, plan.data.first, plan.data.sectors);
            change_partition(&disk, change)
                .map_err(|error| format!("{}: resize: {error}", device(&self.data).display()))?;
        }
        Ok(!plan.writes.is_empty())
    }
}

/// The device file of the disk or partition `name`.
pub fn device(name: &str) -> PathBuf {
    Path::new("/dev").join(name)
}

/// The size of a disk or partition in sectors.
fn sectors(name: &str) -> Result<u64, String> {
    let path = Path::new(BLOCK).join(name).join("size");
    number(&path).ok_or_else(|| format!("{}: not a number", path.display()))
}

/// One partition, as sysfs shows it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Partition {
    /// The disk that it is on.
    whole: String,
    /// Its name in the partition table.
    label: String,
    /// Its own name.
    name: String,
}

impl Partition {
    /// Reads the folder of a block device; nothing, if it is no partition with a name.
    fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join("uevent")).ok()?;
        let label = text.lines().find_map(|line| line.strip_prefix("PARTNAME="))?.to_owned();
        let real = fs::canonicalize(folder).ok()?;
        let text = |part: &Path| part.file_name()?.to_str().map(str::to_owned);
        Some(Self { whole: text(real.parent()?)?, label, name: text(&real)? })
    }
}

/// Has the kernel read all partition tables again. It reads them while a driver is loaded, on behalf
/// of the process that loads it, and gives up for good if that is killed meanwhile.
fn look_again(block: &Path) {
    for disk in disks(block) {
        // One whose partitions are in use needs no second look.
        let _ = File::open(device(&disk)).and_then(|disk| read_partitions(&disk));
    }
}

/// The disks that are there, in words.
fn seen(block: &Path) -> String {
    let sectors = |disk: &String| number(&block.join(disk).join("size")).unwrap_or_default();
    let words = |disk: &String| format!("{disk}, {} MiB", sectors(disk) >> 11);
    let disks: Vec<String> = disks(block).iter().map(words).collect();
    if disks.is_empty() { "there is no disk".into() } else { disks.join("; ") }
}

/// The names of whole disks; loop devices and disks in memory have no `device`.
fn disks(block: &Path) -> Vec<String> {
    let entries = fs::read_dir(block).into_iter().flatten().flatten();
    let disks = entries.filter(|entry| entry.path().join("device").exists());
    let mut names: Vec<_> =
        disks.filter_map(|disk| disk.file_name().to_str().map(str::to_owned)).collect();
    names.sort();
    names
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Adds the path to an error.
pub fn at(path: &Path) -> impl Fn(io::Error) -> String + use<> {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A block device of a made-up sysfs.
    fn add(root: &Path, disk: &str, partition: &str, label: &str) {
        let folder = root.join("devices").join(disk).join(partition);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("uevent"), format!("PARTN=1\nPARTNAME={label}\n")).unwrap();
        symlink(&folder, root.join("block").join(partition)).unwrap();
    }

    #[test]
    fn both_partitions_must_be_on_one_disk() {
        let folder = std::env::temp_dir().join(format!("octet-disk-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let block = folder.join("block");
        fs::create_dir_all(&block).unwrap();
        add(&folder, "vda", "vda1", "octet-esp");
        add(&folder, "vdb", "vdb2", "octet-data");
        assert_eq!(Disk::find_in(&block), Ok(None));
        add(&folder, "vdb", "vdb1", "octet-esp");
        let found = Disk::find_in(&block).unwrap().unwrap();
        assert_eq!((&*found.whole, &*found.esp, &*found.data), ("vdb", "vdb1", "vdb2"));
        add(&folder, "vda", "vda2", "octet-data");
        assert!(Disk::find_in(&block).unwrap_err().contains("vda and vdb"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
