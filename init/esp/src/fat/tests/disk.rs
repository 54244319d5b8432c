//! A volume to be damaged, and how an independent tool judges it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Write as _};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use tempfile::NamedTempFile;

use super::super::folder::SLOT;
use super::super::{FatWrite, ReadAt, RepairPlan, SECTOR, VolumeGeometry, plan, u16_at, u32_at};

const SIZE: usize = 40 << 20;

/// Number of files to be damaged, each with an empty one beside it.
pub const FILES: usize = 12;

/// A volume that stores its changes separately.
#[derive(Clone, Debug)]
pub struct Disk {
    made: Arc<Vec<u8>>,
    changed: BTreeMap<u64, [u8; SECTOR]>,
}

impl ReadAt for Disk {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        assert!(at.is_multiple_of(SECTOR as u64) && bytes.len().is_multiple_of(SECTOR));
        for (sector, bytes) in (at / SECTOR as u64..).zip(bytes.chunks_exact_mut(SECTOR)) {
            let known = self.sector(sector).ok_or(io::ErrorKind::UnexpectedEof)?;
            bytes.copy_from_slice(known);
        }
        Ok(())
    }
}

/// The position of a folder or a file.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Byte offset of its slot.
    pub slot: u64,
    pub first: u32,
    /// Its size in bytes.
    pub size: u32,
}

impl Disk {
    /// A volume with a slot of Octet, and with [`FILES`] files to be damaged.
    pub fn made() -> Self {
        static MADE: LazyLock<Arc<Vec<u8>>> = LazyLock::new(|| Arc::new(make()));
        Self { made: MADE.clone(), changed: BTreeMap::new() }
    }

    fn sector(&self, sector: u64) -> Option<&[u8]> {
        match self.changed.get(&sector) {
            Some(bytes) => Some(bytes),
            None => {
                self.made.get(usize::try_from(sector).ok()?.checked_mul(SECTOR)?..)?.get(..SECTOR)
            }
        }
    }

    /// The bytes from `at` on, up to the end of the sector.
    pub fn get(&self, at: u64) -> &[u8] {
        &self.sector(at / SECTOR as u64).unwrap()[at as usize % SECTOR..]
    }

    /// Changes bytes within one sector.
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        let sector = at / SECTOR as u64;
        let mut new: [u8; SECTOR] = self.sector(sector).unwrap().try_into().unwrap();
        new[at as usize % SECTOR..][..bytes.len()].copy_from_slice(bytes);
        self.changed.insert(sector, new);
    }

    /// Writes or skips each sector of `write`, as `takes` decides.
    pub fn write(&mut self, write: &FatWrite, mut takes: impl FnMut() -> bool) {
        for (sector, bytes) in (write.sector..).zip(write.bytes.chunks(SECTOR)) {
            if takes() {
                self.put(sector * SECTOR as u64, bytes);
            }
        }
    }

    /// The volume after all of `plan`.
    pub fn after(&self, plan: &RepairPlan) -> Self {
        let mut disk = self.clone();
        plan.stages.iter().flatten().for_each(|write| disk.write(write, || true));
        disk
    }

    /// The volume after its repair.
    pub fn tidied(&self) -> Self {
        self.after(&plan(self).unwrap())
    }

    /// The volume's layout, whatever sector 0 says now.
    pub fn volume(&self) -> VolumeGeometry {
        VolumeGeometry::read(&self.made[..SECTOR]).unwrap()
    }

    /// Byte offset of a cluster's entry in a table.
    pub fn entry_at(&self, table: usize, cluster: u32) -> u64 {
        self.volume().tables[table] * SECTOR as u64 + 4 * u64::from(cluster)
    }

    pub fn entry(&self, cluster: u32) -> u32 {
        u32_at(self.get(self.entry_at(0, cluster)), 0) & 0x0FFF_FFFF
    }

    /// Changes the entry of a cluster in the first `tables` tables.
    pub fn link(&mut self, tables: usize, cluster: u32, value: u32) {
        for table in 0..tables {
            self.put(self.entry_at(table, cluster), &value.to_le_bytes());
        }
    }

    /// All clusters from `first` on.
    pub fn chain(&self, first: u32) -> Vec<u32> {
        let next = |cluster: &u32| Some(self.entry(*cluster)).filter(|it| *it < 0x0FFF_FFF8);
        std::iter::successors(Some(first), next).take(1 << 16).collect()
    }

    /// Byte offsets of all slots of the folder at `first`.
    pub fn slots(&self, first: u32) -> Vec<u64> {
        let volume = self.volume();
        let per_cluster = (volume.cluster * SECTOR / SLOT) as u64;
        let at = |cluster: u32, slot| volume.sector(cluster) * SECTOR as u64 + slot * SLOT as u64;
        let chain = self.chain(first).into_iter();
        chain.flat_map(|it| (0..per_cluster).map(move |slot| at(it, slot))).collect()
    }

    /// The file or folder at `path`; each part is a prefix of the short name.
    pub fn find(&self, path: &[&str]) -> Place {
        let mut place = Place { slot: 0, first: self.volume().root, size: 0 };
        for part in path {
            let named = |at: &u64| self.get(*at).starts_with(part.as_bytes());
            let slot = self.slots(place.first).into_iter().find(named).unwrap();
            let bytes = self.get(slot);
            let first = u32::from(u16_at(bytes, 20)) << 16 | u32::from(u16_at(bytes, 26));
            place = Place { slot, first, size: u32_at(bytes, 28) };
        }
        place
    }

    /// The file to be damaged with this number.
    pub fn file(&self, number: usize) -> Place {
        self.find(&["FOLDER", &format!("F{number:02}")])
    }

    /// The empty file beside it.
    pub fn spare(&self, number: usize) -> Place {
        self.find(&["FOLDER", &format!("S{number:02}")])
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.made.to_vec();
        for (sector, content) in &self.changed {
            bytes[*sector as usize * SECTOR..][..SECTOR].copy_from_slice(content);
        }
        bytes
    }

    /// All files with their content.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let fs = FileSystem::new(Cursor::new(self.bytes()), FsOptions::new()).unwrap();
        let mut found = BTreeMap::new();
        list(&fs.root_dir(), "", &mut found);
        found
    }

    /// The volume as a sparse file.
    pub fn in_a_file(&self) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(SIZE as u64).unwrap();
        put_sparse(file.as_file(), &self.bytes());
        file
    }

    /// The output of `fsck.vfat -n` without its name and the usage of the volume, and its exit
    /// status.
    pub fn fsck(&self) -> (String, Option<i32>) {
        let file = self.in_a_file();
        let output = Command::new("fsck.vfat").arg("-n").arg(file.path()).output();
        let output = output.expect("fsck.vfat of dosfstools has to be installed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = |line: &&str| !line.starts_with("fsck.fat ") && !line.contains(" clusters");
        (said.lines().filter(told).collect::<Vec<_>>().join("\n"), output.status.code())
    }

    /// Whether both have the same bytes.
    pub fn is_like(&self, other: &Self) -> bool {
        let mut sectors = self.changed.keys().chain(other.changed.keys());
        sectors.all(|sector| self.sector(*sector) == other.sector(*sector))
    }
}

fn put_sparse(file: &File, bytes: &[u8]) {
    for (index, piece) in bytes.chunks(1 << 12).enumerate() {
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, (index << 12) as u64).unwrap();
        }
    }
}

fn list(
    folder: &fatfs::Dir<'_, Cursor<Vec<u8>>>,
    path: &str,
    found: &mut BTreeMap<String, Vec<u8>>,
) {
    for entry in folder.iter().map(Result::unwrap) {
        let name = format!("{path}/{}", entry.file_name());
        if entry.is_file() {
            let mut bytes = vec![];
            entry.to_file().read_to_end(&mut bytes).unwrap();
            found.insert(name, bytes);
        } else if !name.ends_with("/.") && !name.ends_with("/..") {
            list(&entry.to_dir(), &name, found);
        }
    }
}

fn make() -> Vec<u8> {
    let mut bytes = Cursor::new(vec![0; SIZE]);
    let format = FormatVolumeOptions::new().fat_type(FatType::Fat32).bytes_per_cluster(512);
    fatfs::format_volume(&mut bytes, format).unwrap();
    bytes.set_position(0);
    let fs = FileSystem::new(&mut bytes, FsOptions::new()).unwrap();
    for path in ["octet", "octet/0.1.0-1a2b3c4d", "loader", "loader/entries", "folder"] {
        fs.root_dir().create_dir(path).unwrap();
    }
    let put = |path: &str, size: usize| {
        let content: Vec<u8> = path.bytes().cycle().take(size).collect();
        fs.root_dir().create_file(path).unwrap().write_all(&content).unwrap();
    };
    put("octet/first-boot", 0);
    put("octet/0.1.0-1a2b3c4d/linux", 200_000);
    put("octet/0.1.0-1a2b3c4d/initrd", 100_001);
    put("loader/loader.conf", 20);
    put("loader/entries/octet-0.1.0-1a2b3c4d+2-1.conf", 200);
    for number in 0..FILES {
        put(&format!("folder/f{number:02} with a name of three parts.new"), 500 + 512 * number);
        put(&format!("folder/s{number:02} to be renamed"), 0);
    }
    fs.stats().unwrap();
    fs.unmount().unwrap();
    let mut bytes = bytes.into_inner();
    mend_dots(&mut bytes);
    bytes
}

/// fatfs 0.3.6 gives `.` and `..` long names, and lets `..` point to the root's cluster instead of
/// 0; the builder fixes that too.
fn mend_dots(bytes: &mut [u8]) {
    for folder in bytes.chunks_exact_mut(SECTOR) {
        if folder[SLOT..].starts_with(b".  ") && folder[3 * SLOT..].starts_with(b".. ") {
            folder.copy_within(SLOT..2 * SLOT, 0);
            folder.copy_within(3 * SLOT..4 * SLOT, SLOT);
            folder[2 * SLOT] = 0xE5;
            folder[3 * SLOT] = 0xE5;
            if u16_at(folder, SLOT + 26) == 2 {
                folder[SLOT + 26] = 0;
            }
        }
    }
}
