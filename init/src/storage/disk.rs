//! Finds the disk that carries an Octet image, and grows its last partition to the disk's end.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use octet_appliance::UserName;
use octet_esp::boot_counter::BootCounter;
use octet_esp::boot_state::BOOT_STATE;
use rustix::fs::{Advice, Gid, Mode, chmod, chown, fadvise};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::{Value, json};

use super::counterfeit;
use super::gpt::{self, HEAD, SECTOR, TAIL};
use super::loader_variable;
use crate::command_line;
use crate::facts;
use crate::sys::{PartitionChange, change_partition, read_partitions};

/// Names of the partitions, as the builder writes them.
const ESP: &str = "octet-esp";
const DATA: &str = "octet-data";

/// The kernel's list of block devices.
const BLOCK: &str = "/sys/class/block";

/// Number of attempts and their interval while a controller may still be detecting its disk.
const ATTEMPTS: u32 = 100;
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Number of attempts after which the kernel is asked to read partition tables again.
const RESCAN_AFTER: u32 = 20;

/// The disk with its partitions, by their names under `/dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub disk: String,
    pub esp: String,
    pub data: String,
    /// The partition of the boot state: on images for boards that U-Boot starts.
    boot_state: Option<String>,
}

impl Disk {
    /// Finds the disk that this boot is from, and waits for it up to five seconds. Once found, it
    /// stays the same until the machine restarts.
    pub fn find() -> Result<Self, String> {
        let started = loader_variable::partition(command_line::boot_counter()?)?;
        let mut found = vec![];
        for turn in 0..ATTEMPTS {
            found = Self::all(Path::new(BLOCK))?;
            let before = Self::from_fact(&facts::read(facts::DISK));
            let chosen = before.filter(|disk| found.iter().any(|(it, _)| it == disk));
            if let Some(disk) = chosen.or_else(|| choose(&found, started.as_deref())) {
                facts::write(facts::DISK, &disk.to_fact());
                return Ok(disk);
            }
            // Nothing that appears later can decide which one it is.
            if found.len() > 1 && started.is_none() {
                break;
            }
            if turn % RESCAN_AFTER == 0 {
                rescan_partitions(Path::new(BLOCK));
            }
            std::thread::sleep(RETRY_DELAY);
        }
        Err(describe_ambiguity(&found, started.as_deref(), Path::new(BLOCK)))
    }

    /// All disks with both partitions, and the unique GUID of the EFI system partition of each.
    fn all(block: &Path) -> Result<Vec<(Self, String)>, String> {
        let entries = fs::read_dir(block).map_err(at(block))?;
        let mut partitions: Vec<_> =
            entries.flatten().filter_map(|entry| Partition::read(&entry.path())).collect();
        partitions.sort();
        let named = |name: &'static str| partitions.iter().filter(move |it| it.label == name);
        let found = named(DATA).filter_map(|data| {
            let esp = named(ESP).find(|esp| esp.disk == data.disk)?;
            let boot_state = named(BOOT_STATE).find(|state| state.disk == data.disk);
            let name = |partition: &Partition| partition.name.clone();
            let (disk, boot_state) = (data.disk.clone(), boot_state.map(name));
            let disk = Self { disk, esp: name(esp), data: name(data), boot_state };
            let guid = esp.guid.clone().or_else(|| guid_in_table(&disk.disk));
            Some((disk, guid.unwrap_or_default()))
        });
        Ok(found.collect())
    }

    fn to_fact(&self) -> Value {
        json!({
            "whole": self.disk,
            "esp": self.esp,
            "data": self.data,
            "boot_state": self.boot_state,
        })
    }

    fn from_fact(fact: &Value) -> Option<Self> {
        let name = |key: &str| fact[key].as_str().map(str::to_owned);
        let (disk, esp, data) = (name("whole")?, name("esp")?, name("data")?);
        Some(Self { disk, esp, data, boot_state: name("boot_state") })
    }

    /// The device that has room for a random seed, if there is one: a disk for boards, whatever counts tries.
    pub fn random_seed(&self) -> Option<PathBuf> {
        self.boot_state.as_ref().map(|_| device(&self.disk))
    }

    /// The device of the boot state; `None` if tries are counted in the names of entries.
    ///
    /// # Errors
    /// The boot state counts them, and there is no partition of it.
    pub fn boot_state(&self, counter: BootCounter) -> Result<Option<PathBuf>, String> {
        let missing = || {
            format!(
                "{} has no partition {BOOT_STATE}, in which octet.counter=bootstate on the kernel's command line counts: \
                 flash an image for this board",
                self.disk
            )
        };
        match (counter, &self.boot_state) {
            (BootCounter::EntryNames, _) => Ok(None),
            (BootCounter::BootState, Some(name)) => Ok(Some(device(name))),
            (BootCounter::BootState, None) => Err(missing()),
        }
    }

    /// Lets `update` open the boot state: it is not root, and writes it in an installation.
    pub fn share_boot_state(&self) -> Result<(), String> {
        let Some(path) = self.boot_state(command_line::boot_counter()?)? else { return Ok(()) };
        let update = UserName::try_from("update".to_owned()).map_err(|error| error.to_string())?;
        let group = Gid::from_raw(update.user().uid);
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP;
        chown(&path, None, Some(group))
            .and_then(|()| chmod(&path, mode))
            .map_err(|error| at(&path)(error.into()))
    }

    /// Grows the data partition to the end of the disk, in the table and in the kernel. The first
    /// boot also gives the EFI system partition a unique GUID, which distinguishes two disks.
    /// Returns whether anything was written.
    pub fn grow(&self, first_boot: bool) -> Result<bool, String> {
        let path = device(&self.disk);
        let size = number(&Path::new(BLOCK).join(&self.disk).join("queue/logical_block_size"));
        if size.is_some_and(|size| size != SECTOR as u64) {
            return Err(format!(
                "{}: its sectors have {} bytes; the image is made for sectors of {SECTOR}",
                path.display(),
                size.unwrap_or_default()
            ));
        }
        let sectors = sectors(&self.disk)?;
        let disk = File::options().read(true).write(true).open(&path).map_err(at(&path))?;
        let [head, tail] = read_tables(&disk, sectors).map_err(at(&path))?;
        let own = if first_boot { Some(random_guid()?) } else { None };
        let plan = gpt::plan(&head, &tail, sectors, DATA, own.as_ref())
            .map_err(|problem| format!("{}: {problem}", path.display()))?;
        if first_boot && !plan.writes.is_empty() {
            let ends = (plan.data.first, plan.data.first + plan.data.sectors);
            match check_genuine(&disk, ends) {
                Err(problem @ counterfeit::MediumProblem::Counterfeit { .. }) => {
                    return Err(format!("{}: {problem}", path.display()));
                }
                // The next write to the disk reports the error.
                Err(counterfeit::MediumProblem::Io(_)) | Ok(()) => {}
            }
        }
        for write in &plan.writes {
            disk.write_all_at(&write.bytes, write.sector * SECTOR as u64).map_err(at(&path))?;
            disk.sync_all().map_err(at(&path))?;
        }
        // Also if there was nothing to write: a previous process may have been killed before its
        // sync.
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

/// Both ends of a disk, where the partition table and its backup are.
fn read_tables(disk: &File, sectors: u64) -> io::Result<[Vec<u8>; 2]> {
    let mut head = vec![0; HEAD as usize * SECTOR];
    let mut tail = vec![0; TAIL as usize * SECTOR];
    disk.read_exact_at(&mut head, 0)?;
    disk.read_exact_at(&mut tail, sectors.saturating_sub(TAIL) * SECTOR as u64)?;
    Ok([head, tail])
}

/// The GUID of the EFI system partition according to the table on the disk.
fn guid_in_table(disk: &str) -> Option<String> {
    let sectors = sectors(disk).ok()?;
    let [head, tail] = read_tables(&File::open(device(disk)).ok()?, sectors).ok()?;
    gpt::partition_guid(&head, &tail, sectors, ESP)
}

/// Checks that `disk` keeps what is written between these sectors, of which the first is the data
/// partition's.
fn check_genuine(disk: &File, (first, end): (u64, u64)) -> Result<(), counterfeit::MediumProblem> {
    let mut seed = [0];
    getrandom(&mut seed, GetRandomFlags::empty()).map_err(io::Error::from)?;
    let write = |at, bytes: &[u8]| disk.write_all_at(bytes, at).and_then(|()| disk.sync_all());
    let read = |at, into: &mut [u8]| {
        // Everything is on the medium, so the page cache can drop it (mm/fadvise.c).
        fadvise(disk, 0, None, Advice::DontNeed)?;
        disk.read_exact_at(into, at)
    };
    let bytes = |sector: u64| sector * SECTOR as u64;
    counterfeit::test((bytes(first), bytes(end)), seed[0], write, read)
}

/// Chooses the disk with the partition that the firmware has `started` from; the only one, if the
/// firmware does not say.
fn choose(found: &[(Disk, String)], started: Option<&str>) -> Option<Disk> {
    let mut ours = found.iter().filter(|(_, guid)| started.is_none_or(|started| guid == started));
    let only = ours.next().filter(|_| ours.next().is_none())?;
    Some(only.0.clone())
}

fn describe_ambiguity(found: &[(Disk, String)], started: Option<&str>, block: &Path) -> String {
    let names: Vec<_> = found.iter().map(|(disk, _)| disk.disk.as_str()).collect();
    let (names, count) = (names.join(" and "), names.len());
    let named = found.iter().filter(|(_, guid)| Some(guid.as_str()) == started).count();
    match started {
        _ if count == 0 => format!(
            "no disk has the partitions {ESP} and {DATA}: flash one with `cargo image flash` ({})",
            describe_disks(block)
        ),
        None => format!(
            "{names} each carry an Octet image, and the firmware does not say which of them it has started from: take \
             all but one out"
        ),
        Some(started) if named > 1 => format!(
            "{names} each carry an Octet image, and the partition {started} that the firmware has started from is on \
             more than one of them, as one is a copy of the other: take all but one out"
        ),
        Some(started) => format!(
            "the firmware has started from the partition {started}, which is not there: {names} carries another Octet \
             image; put the other disk back, or start from this one"
        ),
    }
}

/// A random GUID (RFC 9562, version 4).
fn random_guid() -> Result<[u8; 16], String> {
    let mut guid = [0; 16];
    getrandom(&mut guid, GetRandomFlags::empty()).map_err(|error| format!("getrandom: {error}"))?;
    // In a partition table the first three fields are little-endian, so the version is in the
    // second byte of the third.
    guid[7] = guid[7] & 0x0f | 0x40;
    guid[8] = guid[8] & 0x3f | 0x80;
    Ok(guid)
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

/// A partition, as sysfs shows it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Partition {
    /// The disk that it is on.
    disk: String,
    /// Its name in the partition table.
    label: String,
    /// Its GUID in lower case; kernels before 6.9 do not show it.
    guid: Option<String>,
    name: String,
}

impl Partition {
    /// Reads the folder of a block device; `None` if it is not a partition with a name.
    fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join("uevent")).ok()?;
        let value = |key| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let label = value("PARTNAME")?.to_owned();
        let guid = value("PARTUUID").map(str::to_ascii_lowercase);
        let real = fs::canonicalize(folder).ok()?;
        let text = |part: &Path| part.file_name()?.to_str().map(str::to_owned);
        Some(Self { disk: text(real.parent()?)?, label, guid, name: text(&real)? })
    }
}

/// Makes the kernel read all partition tables again. It reads them while a driver is loaded, in the
/// process that loads it, and gives up permanently if that process is killed.
fn rescan_partitions(block: &Path) {
    for disk in disks(block) {
        // A disk whose partitions are in use need not be read again; that error is ignored.
        let _ = File::open(device(&disk)).and_then(|disk| read_partitions(&disk));
    }
}

/// The present disks, in words.
fn describe_disks(block: &Path) -> String {
    let sectors = |disk: &String| number(&block.join(disk).join("size")).unwrap_or_default();
    let words = |disk: &String| format!("{disk}, {} MiB", sectors(disk) >> 11);
    let disks: Vec<String> = disks(block).iter().map(words).collect();
    if disks.is_empty() { "there is no disk".into() } else { disks.join("; ") }
}

/// The names of whole disks; loop devices and RAM disks have no `device`.
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

    /// GUIDs of the EFI system partitions of vda and vdb, of which one is a copy of the other, and
    /// of vdc.
    const GUIDS: [&str; 2] =
        ["0c7e7000-0000-4000-8000-000000000002", "0c7e7000-0000-4000-8000-0000000000AB"];

    /// A block device in a simulated sysfs.
    fn add(root: &Path, disk: &str, partition: &str, label: &str) {
        let folder = root.join("devices").join(disk).join(partition);
        fs::create_dir_all(&folder).unwrap();
        let guid = format!("PARTUUID={}", GUIDS[usize::from(disk > "vdb")]);
        fs::write(folder.join("uevent"), format!("PARTN=1\nPARTNAME={label}\n{guid}\n")).unwrap();
        symlink(&folder, root.join("block").join(partition)).unwrap();
    }

    #[test]
    fn both_partitions_must_be_on_one_disk() {
        let folder = tempfile::tempdir().unwrap();
        let block = folder.path().join("block");
        fs::create_dir_all(&block).unwrap();
        add(folder.path(), "vda", "vda1", "octet-esp");
        add(folder.path(), "vdb", "vdb2", "octet-data");
        assert_eq!(Disk::all(&block), Ok(vec![]));
        assert!(describe_ambiguity(&[], None, &block).contains("flash one"));
        add(folder.path(), "vdb", "vdb1", "octet-esp");
        let found = Disk::all(&block).unwrap();
        let one = choose(&found, None).unwrap();
        assert_eq!((&*one.disk, &*one.esp, &*one.data), ("vdb", "vdb1", "vdb2"));
        assert_eq!(one.boot_state(BootCounter::EntryNames), Ok(None));
        let missing = one.boot_state(BootCounter::BootState).unwrap_err();
        assert!(missing.contains("vdb has no partition octet-bootstate"), "{missing}");
        assert_eq!(Disk::from_fact(&one.to_fact()), Some(one));
        // That of another disk does not count.
        add(folder.path(), "vda", "vda3", "octet-bootstate");
        add(folder.path(), "vdb", "vdb3", "octet-bootstate");
        let one = choose(&Disk::all(&block).unwrap(), None).unwrap();
        assert_eq!(one.boot_state(BootCounter::BootState), Ok(Some("/dev/vdb3".into())));
        assert_eq!(one.boot_state(BootCounter::EntryNames), Ok(None));
        assert_eq!(Disk::from_fact(&one.to_fact()), Some(one));
    }

    /// On a box with Octet on its flash and on a card, the disk that the firmware has started from
    /// is used; a guess might format the other one, or use its tries.
    #[test]
    fn of_two_disks_the_one_counts_that_was_started_from() {
        let folder = tempfile::tempdir().unwrap();
        let block = folder.path().join("block");
        fs::create_dir_all(&block).unwrap();
        let there = |disk: &str| {
            add(folder.path(), disk, &format!("{disk}1"), "octet-esp");
            add(folder.path(), disk, &format!("{disk}2"), "octet-data");
            Disk::all(&block).unwrap()
        };
        let [copied, drawn] = GUIDS.map(str::to_lowercase);
        let (copied, drawn) = (Some(copied.as_str()), Some(drawn.as_str()));
        let whole = |found: &[_], started| choose(found, started).map(|disk| disk.disk);
        let says = |found: &[_], started, words: &[&str]| {
            let text = describe_ambiguity(found, started, &block);
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        };

        let alone = there("vda");
        assert_eq!(whole(&alone, None).as_deref(), Some("vda"));
        assert_eq!(whole(&alone, copied).as_deref(), Some("vda"));
        // The disk that the firmware has started from may appear later.
        assert_eq!(whole(&alone, drawn), None);
        says(&alone, drawn, &["vda carries another", "ab, which is not there"]);
        let two = there("vdc");
        assert_eq!(whole(&two, drawn).as_deref(), Some("vdc"));
        assert_eq!(whole(&two, copied).as_deref(), Some("vda"));
        assert_eq!(whole(&two, None), None);
        says(&two, None, &["vda and vdc each", "does not say", "take all but one out"]);
        let three = there("vdb");
        assert_eq!(whole(&three, copied), None);
        says(&three, copied, &["vda and vdb and vdc", "a copy of the other"]);
        assert_eq!(whole(&three, drawn).as_deref(), Some("vdc"));
    }
}
