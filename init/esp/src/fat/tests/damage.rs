//! The damage that a power cut leaves.

use proptest::prelude::*;

use super::super::folder::SLOT;
use super::super::{DIRTY, SECTOR, STATE};
use super::disk::{Disk, FILES, Place};

/// The end of a chain.
pub const END: u32 = 0x0FFF_FFFF;

/// The attribute of a folder.
const FOLDER: u8 = 0x10;

/// Each is done to a file of its own.
#[derive(Clone, Debug)]
pub enum Damage {
    Mounted,
    /// The same, in the way other systems than Linux mark it.
    MountedElsewhere,
    /// Clusters were allocated, in this many tables, and no file has them yet.
    Lost {
        clusters: u32,
        tables: usize,
    },
    /// A sector of the second table was not written.
    SecondTable {
        sector: u64,
    },
    Count {
        free: u32,
        next: u32,
    },
    /// The file has its size, but its clusters from this one on were not allocated, in this many
    /// tables; or it was being removed, and they were freed first.
    Short {
        from: usize,
        tables: usize,
    },
    /// The file has got more clusters, but not its new size. The chain may have no end.
    Long {
        clusters: u32,
        ended: bool,
    },
    /// The file has its clusters, but not its size.
    NoSize,
    /// A file that was empty has its first cluster, but not its size.
    Begun,
    /// The file has its new name, and still the old one.
    Renamed,
    /// A folder was being made: its entry exists, its cluster is allocated in this many tables, and
    /// it has this content.
    Folder {
        tables: usize,
        holds: Holds,
    },
    /// This many slots of its name are missing: the last ones.
    NoEnd {
        slots: u64,
    },
    /// This many slots of its name are missing: the first ones, which are all of its long name.
    NoLongName {
        slots: u64,
    },
    /// Slots before others were not written.
    Gap,
}

/// The content of a folder that was being made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Holds {
    /// The previous content of its cluster.
    Old,
    Nothing,
    /// A file whose name marks it as unfinished, with a cluster.
    Unfinished,
    Unwritten,
}

fn holds() -> impl Strategy<Value = Holds> {
    use Holds::*;
    prop_oneof![Just(Old), Just(Nothing), Just(Unfinished), Just(Unwritten)]
}

pub fn damage() -> impl Strategy<Value = Damage> {
    use Damage::*;
    prop_oneof![
        Just(Mounted),
        Just(MountedElsewhere),
        (1_u32..20, 1_usize..=2).prop_map(|(clusters, tables)| Lost { clusters, tables }),
        (0_u64..600).prop_map(|sector| SecondTable { sector }),
        (any::<u32>(), any::<u32>()).prop_map(|(free, next)| Count { free, next }),
        (0_usize..8, 1_usize..=2).prop_map(|(from, tables)| Short { from, tables }),
        (1_u32..20, any::<bool>()).prop_map(|(clusters, ended)| Long { clusters, ended }),
        Just(NoSize),
        Just(Begun),
        Just(Renamed),
        (0_usize..=2, holds()).prop_map(|(tables, holds)| Folder { tables, holds }),
        (1_u64..4).prop_map(|slots| NoEnd { slots }),
        (1_u64..4).prop_map(|slots| NoLongName { slots }),
        Just(Gap),
    ]
}

/// Damages to the first files.
pub fn damages() -> impl Strategy<Value = Vec<Damage>> {
    prop::collection::vec(damage(), 1..FILES)
}

/// A volume with these damages.
pub fn damaged(damages: &[Damage]) -> Disk {
    let mut disk = Disk::made();
    damages.iter().enumerate().for_each(|(number, it)| it.harm(&mut disk, number));
    disk
}

impl Damage {
    /// Applies the damage to the file `number`.
    pub fn harm(&self, disk: &mut Disk, number: usize) {
        let Place { slot, first, size } = disk.file(number);
        let spare = disk.spare(number).slot;
        let chain = disk.chain(first);
        let slots = disk.slots(disk.find(&["FOLDER"]).first);
        let place = slots.iter().position(|it| *it == slot).unwrap() as u64;
        let delete = |disk: &mut Disk, place: u64| disk.put(slots[place as usize], &[0xE5]);
        // Clusters that no other damage uses.
        let new = 50_000 + 100 * number as u32;
        match *self {
            Self::Mounted => disk.put(STATE as u64, &[DIRTY]),
            Self::MountedElsewhere => disk.link(1, 1, 0x07FF_FFFF),
            Self::Lost { clusters, tables } => take(disk, tables, new, clusters, true),
            Self::SecondTable { sector } => {
                let at = (disk.volume().tables[1] + sector) * SECTOR as u64;
                disk.put(at, &[0; SECTOR]);
            }
            Self::Count { free, next } => {
                let info = disk.volume().info * SECTOR as u64;
                disk.put(info + 488, &free.to_le_bytes());
                disk.put(info + 492, &next.to_le_bytes());
            }
            Self::Short { from, tables } => {
                let from = from.min(chain.len() - 1);
                chain[from..].iter().for_each(|it| disk.link(tables, *it, 0));
            }
            Self::Long { clusters, ended } => {
                disk.link(2, chain[chain.len() - 1], new);
                take(disk, 2, new, clusters, ended);
            }
            Self::NoSize => disk.put(slot + 28, &[0; 4]),
            Self::Begun => {
                disk.put(spare + 26, &(new as u16).to_le_bytes());
                take(disk, 1, new, 1, true);
            }
            Self::Renamed => {
                disk.put(spare + 26, &(first as u16).to_le_bytes());
                disk.put(spare + 28, &size.to_le_bytes());
            }
            Self::Folder { tables, holds } => {
                let parent = disk.find(&["FOLDER"]).first;
                disk.put(spare + 11, &[FOLDER]);
                disk.put(spare + 26, &(new as u16).to_le_bytes());
                take(disk, tables, new, 1, true);
                let at = disk.volume().sector(new) * SECTOR as u64;
                disk.put(at, &[if holds == Holds::Old { 0xA7 } else { 0 }; SECTOR]);
                if holds != Holds::Old {
                    put_dots(disk, at, [new, parent]);
                }
                let mut put_file = |name: &[u8; 11], first: u32, tables| {
                    let slot = at + 2 * SLOT as u64;
                    disk.put(slot, name);
                    disk.put(slot + 26, &(first as u16).to_le_bytes());
                    disk.put(slot + 28, &[1]);
                    take(disk, tables, first, 1, true);
                };
                match holds {
                    Holds::Old | Holds::Nothing => {}
                    Holds::Unfinished => put_file(b"LINUX   NEW", new + 1, 2),
                    Holds::Unwritten => put_file(b"LINUX      ", new + 1, 0),
                }
            }
            Self::NoEnd { slots } => (0..slots).for_each(|it| delete(disk, place - it)),
            Self::NoLongName { slots } => (0..slots).for_each(|it| delete(disk, place - 3 + it)),
            Self::Gap => {
                let all = disk.slots(disk.find(&["LOADER"]).first);
                let free = all.into_iter().filter(|it| disk.get(*it)[0] == 0xE5);
                free.collect::<Vec<_>>().into_iter().for_each(|it| disk.put(it, &[0; SLOT]));
            }
        }
    }
}

/// Begins a folder at the byte `at`: it and its parent are at `clusters`.
pub fn put_dots(disk: &mut Disk, at: u64, clusters: [u32; 2]) {
    for (slot, (name, cluster)) in
        [b".          ", b"..         "].into_iter().zip(clusters).enumerate()
    {
        let at = at + (slot * SLOT) as u64;
        disk.put(at, name);
        disk.put(at + 11, &[FOLDER]);
        disk.put(at + 26, &(cluster as u16).to_le_bytes());
    }
}

/// Makes clusters from `first` on a chain.
fn take(disk: &mut Disk, tables: usize, first: u32, clusters: u32, ended: bool) {
    let last = first + clusters - 1;
    (first..last).for_each(|cluster| disk.link(tables, cluster, cluster + 1));
    if ended {
        disk.link(tables, last, END);
    }
}
