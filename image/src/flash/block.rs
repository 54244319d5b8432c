//! Block devices as sysfs shows them (Documentation/ABI/stable/sysfs-block in the kernel).

use std::fs;
use std::path::{Path, PathBuf};

use super::mounts::{Mount, Number, mounts, swaps};

/// Where the kernel tells what it has. Tests put trees of their own there.
#[derive(Debug, Clone)]
pub struct Host {
    /// `/sys`
    pub sys: PathBuf,
    /// `/proc`
    pub proc: PathBuf,
}

impl Host {
    pub fn local() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into() }
    }

    /// The block device of this number.
    pub fn block(&self, number: Number) -> Option<SysfsBlock> {
        let link = self.sys.join("dev/block").join(number.to_string());
        SysfsBlock::open(&fs::canonicalize(link).ok()?)
    }

    /// All loop devices that have a file behind them, each with the file's path.
    pub fn loops(&self) -> Vec<(SysfsBlock, PathBuf)> {
        let entries = fs::read_dir(self.sys.join("block")).into_iter().flatten().flatten();
        let blocks =
            entries.filter_map(|entry| SysfsBlock::open(&fs::canonicalize(entry.path()).ok()?));
        blocks.filter_map(|block| Some((block.clone(), block.backing_file()?))).collect()
    }

    /// What is mounted where this process can see it.
    pub fn mounts(&self) -> Vec<Mount> {
        mounts(&fs::read(self.proc.join("self/mountinfo")).unwrap_or_default())
    }

    /// What memory is swapped to.
    pub fn swaps(&self) -> Vec<PathBuf> {
        swaps(&fs::read(self.proc.join("swaps")).unwrap_or_default())
    }
}

/// One block device: a whole disk or a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysfsBlock {
    /// The kernel's name, as under `/dev`.
    pub name: String,
    pub number: Number,
    folder: PathBuf,
}

impl SysfsBlock {
    fn open(folder: &Path) -> Option<Self> {
        let number = Number::parse(&fs::read_to_string(folder.join("dev")).ok()?)?;
        // sysfs has `!` where a name has a slash.
        let name = folder.file_name()?.to_str()?.replace('!', "/");
        Some(Self { name, number, folder: folder.to_owned() })
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// The disk that this is a partition of.
    pub fn disk(&self) -> Option<Self> {
        self.folder.join("partition").exists().then(|| Self::open(self.folder.parent()?)).flatten()
    }

    pub fn partitions(&self) -> Vec<Self> {
        let mut found = Self::all(&self.folder);
        found.retain(|block| block.folder.join("partition").exists());
        found
    }

    /// What is made of it: device mapper, RAID, ….
    pub fn holders(&self) -> Vec<Self> {
        Self::all(&self.folder.join("holders"))
    }

    fn all(folder: &Path) -> Vec<Self> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<_> =
            entries.filter_map(|entry| Self::open(&fs::canonicalize(entry.path()).ok()?)).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// One of its attributes, without blanks around it; `None` if there is none or it is empty.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let text = fs::read(self.folder.join(name)).ok()?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    pub fn size(&self) -> u64 {
        // Always in units of 512 bytes, whatever its sectors are.
        self.attribute("size").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 512
    }

    /// Bytes of a sector, as software sees it.
    pub fn sector(&self) -> u64 {
        let size = self.attribute("queue/logical_block_size");
        size.and_then(|text| text.parse().ok()).unwrap_or(512)
    }

    /// Whether nothing can be written to it.
    pub fn is_read_only(&self) -> bool {
        self.attribute("ro").is_some_and(|text| text != "0")
    }

    /// The file behind a loop device.
    pub fn backing_file(&self) -> Option<PathBuf> {
        self.attribute("loop/backing_file").map(PathBuf::from)
    }

    pub fn vendor(&self) -> Option<String> {
        // Of some buses it is a number, which tells a person nothing.
        self.attribute("device/vendor").filter(|text| !text.starts_with("0x"))
    }

    /// What its maker calls it.
    pub fn model(&self) -> Option<String> {
        self.attribute("device/model").or_else(|| self.attribute("device/name"))
    }

    /// Its serial number: its own, or that of the USB device that it is in.
    pub fn serial(&self) -> Option<String> {
        let device = fs::canonicalize(self.folder.join("device")).ok();
        let of_device = || {
            let files = device.iter().flat_map(|device| device.ancestors());
            let mut texts = files.map(|folder| fs::read_to_string(folder.join("serial")));
            texts.find_map(Result::ok).map(|text| text.trim().to_owned())
        };
        self.attribute("serial").or_else(of_device).filter(|text| !text.is_empty())
    }

    /// The name that the partition table has for it.
    pub fn label(&self) -> Option<String> {
        let text = self.attribute("uevent")?;
        text.lines().find_map(|line| line.strip_prefix("PARTNAME=")).map(str::to_owned)
    }
}

#[cfg(test)]
pub mod made_up {
    //! A tree like sysfs and procfs, for tests.

    use std::os::unix::fs::symlink;

    use super::*;

    /// A machine with the disks that the test adds.
    pub struct BlockMachine {
        pub folder: tempfile::TempDir,
    }

    impl BlockMachine {
        pub fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["sys/dev/block", "sys/block", "proc/self"] {
                fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            Self { folder }
        }

        pub fn host(&self) -> Host {
            let path = |name: &str| self.folder.path().join(name);
            Host { sys: path("sys"), proc: path("proc") }
        }

        pub fn number(text: &str) -> Number {
            Number::parse(text).unwrap()
        }

        /// Adds a disk `vda`, or a partition `vda/vda1`.
        pub fn add(&self, path: &str, number: &str) -> PathBuf {
            let sys = self.folder.path().join("sys");
            let folder = sys.join("devices/made-up/block").join(path);
            fs::create_dir_all(folder.join("holders")).unwrap();
            fs::create_dir_all(folder.join("queue")).unwrap();
            fs::write(folder.join("dev"), format!("{number}\n")).unwrap();
            fs::write(folder.join("ro"), "0\n").unwrap();
            fs::write(folder.join("size"), "2048\n").unwrap();
            symlink(&folder, sys.join("dev/block").join(number)).unwrap();
            if path.contains('/') {
                fs::write(folder.join("partition"), "1\n").unwrap();
            } else {
                symlink(&folder, sys.join("block").join(path)).unwrap();
            }
            folder
        }

        /// `upper` is made of `lower`.
        pub fn hold(lower: &Path, upper: &Path) {
            let name = upper.file_name().unwrap();
            symlink(upper, lower.join("holders").join(name)).unwrap();
        }

        /// What is mounted: number, place, source.
        pub fn mount(&self, mounts: &[(&str, &str, &str)]) {
            let line = |(number, at, source): &(&str, &str, &str)| {
                format!("1 1 {number} / {at} rw - ext4 {source} rw\n")
            };
            let text: String = mounts.iter().map(line).collect();
            fs::write(self.folder.path().join("proc/self/mountinfo"), text).unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::made_up::BlockMachine;
    use super::*;

    #[test]
    fn knows_disks_from_partitions() {
        let machine = BlockMachine::new();
        let disk = machine.add("sda", "8:0");
        let partition = machine.add("sda/sda1", "8:1");
        fs::write(partition.join("uevent"), "DEVTYPE=partition\nPARTNAME=octet-esp\n").unwrap();
        fs::write(disk.join("queue/logical_block_size"), "4096\n").unwrap();
        let host = machine.host();
        let disk = host.block(BlockMachine::number("8:0")).unwrap();
        assert_eq!((disk.name.as_str(), disk.size(), disk.sector()), ("sda", 1 << 20, 4096));
        assert_eq!(disk.path(), Path::new("/dev/sda"));
        assert_eq!(disk.disk(), None);
        let partitions = disk.partitions();
        assert_eq!(partitions.len(), 1);
        assert_eq!(partitions[0].disk(), Some(disk));
        assert_eq!(partitions[0].label().as_deref(), Some("octet-esp"));
        assert_eq!(host.block(BlockMachine::number("8:2")), None);
    }

    #[test]
    fn finds_what_is_behind_a_loop() {
        let machine = BlockMachine::new();
        machine.add("sda", "8:0");
        let folder = machine.add("loop3", "7:3");
        assert_eq!(machine.host().loops().len(), 0);
        fs::create_dir(folder.join("loop")).unwrap();
        fs::write(folder.join("loop/backing_file"), "/a file\n").unwrap();
        let loops = machine.host().loops();
        assert_eq!(loops.len(), 1);
        assert_eq!(
            (loops[0].0.name.as_str(), loops[0].1.as_path()),
            ("loop3", Path::new("/a file"))
        );
    }
}
