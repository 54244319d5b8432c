//! Mends the folders that fatfs 0.3.6 makes: it gives `.` and `..` long names, which they must not
//! have, and lets `..` of a folder in the root point to the root's cluster, where 0 has to stand
//! (Microsoft's FAT specification, 1.03, "Directory Structure"). fsck.vfat complains about both.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// Bytes of one entry of a folder.
const ENTRY: usize = 32;

/// Where an entry has its attributes, and the two halves of its first cluster.
const ATTRIBUTES: usize = 11;
const CLUSTER_HIGH: usize = 20;
const CLUSTER_LOW: usize = 26;

const FOLDER: u8 = 0x10;

/// The first byte of an entry that was never used, and of one that is not used any more.
const FREE: u8 = 0;
const DELETED: u8 = 0xe5;
const LONG_NAME: u8 = 0x0f;

const DOT: &[u8] = b".          ";
const DOT_DOT: &[u8] = b"..         ";

/// The deepest folder of an image is far above this.
const MAX_DEPTH: u32 = 16;

/// A volume, and where its clusters are.
struct Volume<'a, D> {
    disk: &'a mut D,
    cluster: usize,
    /// The place of cluster 2, the first one.
    data: u64,
    root: u32,
}

/// Mends every folder of the FAT32 volume `disk` that fatfs has made. Of others it changes nothing.
/// What there is to mend is at a folder's beginning, so only its first cluster is looked at, which a
/// new one must not have left.
pub fn repair(disk: &mut (impl Read + Write + Seek)) -> io::Result<()> {
    let mut boot = [0; 512];
    disk.seek(SeekFrom::Start(0))?;
    disk.read_exact(&mut boot)?;
    // The fields of the boot sector, in its order (ibid., "Boot Sector and BPB").
    let sector = le(&boot[11..13]);
    let cluster = u64::from(boot[13]) * sector;
    let reserved = le(&boot[14..16]);
    let tables = u64::from(boot[16]) * le(&boot[36..40]);
    let root = le(&boot[44..48]) as u32;
    let data = (reserved + tables) * sector;
    let mut volume = Volume { disk, cluster: cluster as usize, data, root };
    volume.repair_folder(root, 0)
}

impl<D: Read + Write + Seek> Volume<'_, D> {
    /// Mends the folder at `cluster`, and those below it.
    fn repair_folder(&mut self, cluster: u32, depth: u32) -> io::Result<()> {
        if cluster < 2 || depth > MAX_DEPTH {
            return Err(io::Error::other("the folders of a new FAT volume are not as expected"));
        }
        let at = self.data + u64::from(cluster - 2) * self.cluster as u64;
        let mut bytes = vec![0; self.cluster];
        self.disk.seek(SeekFrom::Start(at))?;
        self.disk.read_exact(&mut bytes)?;
        let (mended, folders) = repaired(&bytes, self.root);
        if mended != bytes {
            self.disk.seek(SeekFrom::Start(at))?;
            self.disk.write_all(&mended)?;
        }
        folders.into_iter().try_for_each(|folder| self.repair_folder(folder, depth + 1))
    }
}

/// The content of a folder as it should be, and the first clusters of the folders in it.
fn repaired(bytes: &[u8], root: u32) -> (Vec<u8>, Vec<u32>) {
    let entries: Vec<&[u8]> = bytes.chunks_exact(ENTRY).collect();
    let mut mended = vec![];
    let mut folders = vec![];
    for (index, entry) in entries.iter().enumerate() {
        let is_dots = |entry: &[u8]| matches!(&entry[..ATTRIBUTES], DOT | DOT_DOT);
        if entry[ATTRIBUTES] == LONG_NAME && entries.get(index + 1).is_some_and(|it| is_dots(it)) {
            continue;
        }
        let mut entry = entry.to_vec();
        if entry[ATTRIBUTES] == FOLDER && !matches!(entry[0], FREE | DELETED) {
            let halves = (&entry[CLUSTER_HIGH..][..2], &entry[CLUSTER_LOW..][..2]);
            let first = (le(halves.0) << 16 | le(halves.1)) as u32;
            if !is_dots(&entry) {
                folders.push(first);
            } else if first == root {
                entry[CLUSTER_HIGH..][..2].fill(0);
                entry[CLUSTER_LOW..][..2].fill(0);
            }
        }
        mended.extend(entry);
    }
    mended.resize(bytes.len(), 0);
    (mended, folders)
}

fn le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sparse::Sparse;
    use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

    /// The entries of every folder's cluster that begins with `.`: names with attributes, and the
    /// cluster of `..`.
    fn dots(disk: &mut Sparse, data: usize, cluster: usize) -> Vec<(Vec<String>, u64)> {
        let bytes: Vec<u8> = disk.pieces().collect::<Vec<_>>().concat();
        let folders = bytes[data..].chunks_exact(cluster).filter(|it| it[..64].contains(&b'.'));
        folders
            .map(|folder| {
                let used = folder.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0);
                let entries: Vec<_> = used.collect();
                let names = entries.iter().map(|entry| {
                    format!("{} {:02x}", entry[..11].escape_ascii(), entry[ATTRIBUTES])
                });
                let parent = entries.iter().find(|entry| &entry[..11] == DOT_DOT).unwrap();
                (names.collect(), le(&parent[CLUSTER_LOW..][..2]))
            })
            .collect()
    }

    #[test]
    fn dots_are_short_and_the_root_is_zero() {
        let mut disk = Sparse::new(40 << 20);
        let format = FormatVolumeOptions::new().fat_type(FatType::Fat32).bytes_per_cluster(512);
        fatfs::format_volume(&mut disk, format).unwrap();
        let fs = FileSystem::new(&mut disk, FsOptions::new()).unwrap();
        for path in ["one", "one/two", "a long name of a folder"] {
            fs.root_dir().create_dir(path).unwrap();
        }
        fs.unmount().unwrap();
        let boot: Vec<u8> = disk.pieces().next().unwrap()[..64].to_vec();
        let data = 512 * (le(&boot[14..16]) + 2 * le(&boot[36..40])) as usize;

        let before = dots(&mut disk, data, 512);
        assert!(before[0].0.len() > 3 && before[0].1 == 2, "fatfs is mended by itself: {before:?}");
        repair(&mut disk).unwrap();
        let after = dots(&mut disk, data, 512);
        assert_eq!(after.len(), 3);
        for (names, _) in &after {
            assert_eq!(names[..2], [".           10", "..          10"]);
        }
        assert_eq!(after[0].0.last().unwrap(), "TWO         10");
        assert_eq!(after.iter().map(|it| it.1).collect::<Vec<_>>(), [0, 3, 0]);
        disk.rewind().unwrap();
        let fs = FileSystem::new(&mut disk, FsOptions::new()).unwrap();
        fs.root_dir().open_dir("one/two").unwrap();
        fs.root_dir().open_dir("a long name of a folder").unwrap();
    }
}
