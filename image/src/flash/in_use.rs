//! Whether somebody uses a device or a file, so that writing to it would destroy what they have.
//!
//! The kernel knows best, and refuses to open a device for us alone that is in use (`O_EXCL`); but
//! it does not say by whom. What is found here is for the person who has to know.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::block::{Host, SysfsBlock};
use super::mounts::Number;

/// Places without which this machine does not run.
const SYSTEM_MOUNTS: [&str; 8] =
    ["/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/home", "/usr", "/var"];

#[derive(Debug, PartialEq, Eq)]
pub enum DiskUser {
    /// This machine runs from it.
    System {
        /// The device or the part of it.
        block: String,
        at: PathBuf,
    },
    Mounted {
        /// The device or the part of it.
        block: String,
        at: PathBuf,
    },
    /// Memory is swapped to it.
    Swap {
        /// The device or the part of it.
        block: String,
    },
    /// Another device is made of it.
    Held {
        /// The device or the part of it.
        block: String,
        by: String,
    },
}

impl fmt::Display for DiskUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { block, at } => {
                write!(f, "this machine runs from it: {block} is mounted at {}", at.display())
            }
            Self::Mounted { block, at } => write!(f, "{block} is mounted at {}", at.display()),
            Self::Swap { block } => write!(f, "memory is swapped to {block}"),
            Self::Held { block, by } => write!(f, "{by} is made of {block}"),
        }
    }
}

impl DiskUser {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::System { .. } => "name another disk; this one is never written to".into(),
            Self::Mounted { at, .. } => {
                format!("`umount {}`, then run the same command again", at.display())
            }
            Self::Swap { block } => {
                format!("`swapoff /dev/{block}`, then run the same command again")
            }
            Self::Held { by, .. } => format!(
                "take {by} apart first (`dmsetup remove`, `vgchange -an`, `cryptsetup close`, \
                 `mdadm --stop`)"
            ),
        }
    }

    /// The most important use comes first.
    fn rank(&self) -> u8 {
        match self {
            Self::System { .. } => 0,
            Self::Mounted { .. } => 1,
            Self::Swap { .. } => 2,
            Self::Held { .. } => 3,
        }
    }
}

/// Who uses `disk`, a partition of it, or a device that is made of either.
pub fn disk_user(host: &Host, disk: &SysfsBlock) -> Option<DiskUser> {
    // The number of a btrfs is no device's, but its source is.
    let mounts: Vec<_> = host
        .mounts()
        .into_iter()
        .map(|mount| ([Some(mount.device), number(&mount.source)], mount.at))
        .collect();
    let swaps: BTreeSet<Number> = host.swaps().iter().filter_map(|path| number(path)).collect();
    let mut uses = vec![];
    let mut seen = BTreeSet::new();
    let mut all = vec![disk.clone()];
    // Each block is looked at once, so it ends even if the tree should have a circle.
    while let Some(block) = all.pop() {
        if !seen.insert(block.number) {
            continue;
        }
        let name = &block.name;
        for (_, at) in mounts.iter().filter(|(numbers, _)| numbers.contains(&Some(block.number))) {
            let (block, at) = (name.clone(), at.clone());
            uses.push(match SYSTEM_MOUNTS.iter().any(|place| at == Path::new(place)) {
                true => DiskUser::System { block, at },
                false => DiskUser::Mounted { block, at },
            });
        }
        if swaps.contains(&block.number) {
            uses.push(DiskUser::Swap { block: name.clone() });
        }
        for holder in block.holders() {
            uses.push(DiskUser::Held { block: name.clone(), by: holder.name.clone() });
            all.push(holder);
        }
        all.extend(block.partitions());
    }
    uses.into_iter().min_by_key(DiskUser::rank)
}

/// The loop device that has the file `device`, `inode` behind it.
pub fn loop_device_of(host: &Host, device: u64, inode: u64) -> Option<SysfsBlock> {
    let is_it = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| (file.dev(), file.ino()) == (device, inode))
    };
    host.loops().into_iter().find(|(_, path)| is_it(path)).map(|(block, _)| block)
}

/// The number of the device at `path`, if it is one.
fn number(path: &Path) -> Option<Number> {
    let metadata = path.metadata().ok()?;
    metadata.file_type().is_block_device().then(|| Number::new(metadata.rdev()))
}

#[cfg(test)]
mod tests {
    use super::super::block::made_up::BlockMachine;
    use super::*;

    /// A disk with two partitions, of which the second one is part of a volume group.
    fn machine() -> (BlockMachine, SysfsBlock) {
        let machine = BlockMachine::new();
        machine.add("sda", "8:0");
        machine.add("sda/sda1", "8:1");
        let lower = machine.add("sda/sda2", "8:2");
        let upper = machine.add("dm-0", "253:0");
        BlockMachine::hold(&lower, &upper);
        machine.add("sdb", "8:16");
        machine.add("sdb/sdb1", "8:17");
        machine.mount(&[]);
        let disk = machine.host().block(BlockMachine::number("8:16")).unwrap();
        (machine, disk)
    }

    #[test]
    fn the_disk_under_the_root_is_found_through_all_that_is_made_of_it() {
        let (machine, other) = machine();
        let host = machine.host();
        let disk = host.block(BlockMachine::number("8:0")).unwrap();
        machine.mount(&[("253:0", "/", "/dev/mapper/none"), ("0:22", "/proc", "proc")]);
        assert_eq!(disk_user(&host, &other), None);
        let found = disk_user(&host, &disk);
        assert_eq!(found, Some(DiskUser::System { block: "dm-0".into(), at: "/".into() }));
        assert!(found.unwrap().to_string().contains("runs from it"));
        for place in ["/boot", "/usr", "/boot/efi"] {
            machine.mount(&[("8:17", place, "none")]);
            assert!(matches!(disk_user(&host, &other), Some(DiskUser::System { .. })), "{place}");
        }
    }

    #[test]
    fn what_is_mounted_or_held_is_in_use() {
        let (machine, disk) = machine();
        let host = machine.host();
        assert_eq!(disk_user(&host, &disk), None);
        machine.mount(&[("8:17", "/media/stick", "none")]);
        let at = "/media/stick".into();
        assert_eq!(disk_user(&host, &disk), Some(DiskUser::Mounted { block: "sdb1".into(), at }));
        machine.mount(&[("8:16", "/media/whole", "none")]);
        assert!(
            matches!(disk_user(&host, &disk), Some(DiskUser::Mounted { block, .. }) if block == "sdb")
        );
        machine.mount(&[]);
        let held = disk_user(&host, &host.block(BlockMachine::number("8:0")).unwrap());
        assert_eq!(held, Some(DiskUser::Held { block: "sda2".into(), by: "dm-0".into() }));
    }

    #[test]
    fn a_circle_of_holders_ends() {
        let machine = BlockMachine::new();
        let [a, b] = [machine.add("md0", "9:0"), machine.add("dm-1", "253:1")];
        BlockMachine::hold(&a, &b);
        BlockMachine::hold(&b, &a);
        machine.mount(&[]);
        let disk = machine.host().block(BlockMachine::number("9:0")).unwrap();
        assert!(matches!(disk_user(&machine.host(), &disk), Some(DiskUser::Held { .. })));
    }
}
