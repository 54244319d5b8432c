//! The EFI system partition, mounted by the kernel. It is mounted only while it is read or written,
//! so that a crash at another time cannot damage it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::boot_counter::BootCounter;
use crate::boot_state::{COPY_OFFSETS, COPY_SIZE, StateCopies, StateWrite};
use crate::medium::{FolderItem, Medium};

const POINT: &str = "/efi";

/// Read-only or read-write access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Change,
}

/// The partition, mounted as long as the value exists.
#[derive(Debug)]
pub struct MountedEsp {
    device: PathBuf,
    access: Access,
    /// The device of the boot state, where that counts the tries.
    boot_state: Option<PathBuf>,
    /// Deleted files that are not synced yet: the kernel frees the clusters of an open file when it
    /// is closed (fs/fat: `fat_evict_inode`).
    removed: Vec<File>,
}

impl MountedEsp {
    /// Mounts the partition `device`. Tries are counted in the partition `boot_state`, if there is
    /// one, and otherwise in the names of entries.
    ///
    /// # Errors
    /// The kernel refuses; with "busy" while another process has it mounted with other options.
    pub fn mount(device: &Path, boot_state: Option<&Path>, access: Access) -> io::Result<Self> {
        mount_at(device, access)?;
        let boot_state = boot_state.map(Path::to_owned);
        Ok(Self { device: device.to_owned(), access, boot_state, removed: vec![] })
    }

    /// The path of one of its files or folders while it is mounted.
    pub fn path(below: &str) -> PathBuf {
        Path::new(POINT).join(below)
    }

    /// Unmounts what a killed process has left mounted.
    pub fn unmount_leftovers() {
        while unmount(POINT, UnmountFlags::empty()).is_ok() {}
    }

    fn remove_by(&mut self, path: &str, remove: fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let path = Self::path(path);
        let open = File::open(&path)?;
        remove(&path)?;
        self.removed.push(open);
        Ok(())
    }
}

/// Removing a half-written file is an error to the kernel, which by default would then make the whole
/// file system read-only (`errors=continue`).
fn mount_at(device: &Path, access: Access) -> io::Result<()> {
    let uid = rustix::process::geteuid().as_raw();
    let options = format!("uid={uid},gid={uid},umask=0077,shortname=mixed,utf8,errors=continue");
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    let flags = if access == Access::Read { flags | MountFlags::RDONLY } else { flags };
    let mounted = mount(device, POINT, c"vfat", flags, &*options).map_err(io::Error::from);
    mounted.map_err(at_device(device))
}

impl Drop for MountedEsp {
    fn drop(&mut self) {
        // Open files would keep it mounted.
        self.removed.clear();
        let _ = unmount(POINT, UnmountFlags::empty());
    }
}

/// Reads both copies of the boot state.
fn read_copies(partition: &File) -> io::Result<StateCopies> {
    let mut copies = [[0; COPY_SIZE]; 2];
    for (copy, offset) in copies.iter_mut().zip(COPY_OFFSETS) {
        partition.read_exact_at(copy, offset)?;
    }
    Ok(copies)
}

/// Makes one write to the boot state on `device`, and waits until it is on the medium. PID 1 and
/// `update` both do: the lock makes one of them wait for the other.
fn change_copies(
    device: &Path,
    change: impl FnOnce(&StateCopies) -> io::Result<Option<StateWrite>>,
) -> io::Result<()> {
    let partition = File::options().read(true).write(true).open(device)?;
    flock(&partition, FlockOperation::LockExclusive)?;
    if let Some(write) = change(&read_copies(&partition)?)? {
        partition.write_all_at(&write.bytes, write.offset)?;
        partition.sync_all()?;
    }
    Ok(())
}

/// Adds the device to an error.
fn at_device(device: &Path) -> impl Fn(io::Error) -> io::Error + use<'_> {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", device.display()))
}

impl Medium for MountedEsp {
    fn list(&self, folder: &str) -> io::Result<Vec<FolderItem>> {
        let entries = match fs::read_dir(Self::path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            other => other?,
        };
        let item = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Ok(FolderItem { name, size: metadata.is_file().then_some(metadata.len()) })
        };
        entries.map(item).collect()
    }

    fn read(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![];
        File::open(Self::path(path))?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_at(&self, path: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        File::open(Self::path(path))?.read_exact_at(bytes, at)
    }

    fn free(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(POINT)?;
        Ok(space.f_bavail * space.f_frsize)
    }

    fn make_folder(&mut self, path: &str) -> io::Result<()> {
        match fs::create_dir(Self::path(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn create(&mut self, path: &str) -> io::Result<()> {
        File::create(Self::path(path)).map(drop)
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        File::options().append(true).open(Self::path(path))?.write_all(bytes)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(Self::path(from), Self::path(to))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.remove_by(path, |path| fs::remove_file(path))
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.remove_by(path, |path| fs::remove_dir(path))
    }

    /// `syncfs` makes FAT write everything, and `fsync` of a FAT folder also flushes the device's
    /// cache (Linux, fs/fat: `fat_file_fsync`).
    fn sync(&mut self) -> io::Result<()> {
        let root = File::open(POINT)?;
        loop {
            rustix::fs::syncfs(&root)?;
            root.sync_all()?;
            if self.removed.is_empty() {
                return Ok(());
            }
            self.removed.clear();
        }
    }

    /// Unmounting drops the kernel's caches of the file system and of the device.
    fn reopen(&mut self) -> io::Result<()> {
        self.removed.clear();
        unmount(POINT, UnmountFlags::empty())?;
        mount_at(&self.device, self.access)
    }

    fn counter(&self) -> BootCounter {
        match self.boot_state {
            Some(_) => BootCounter::BootState,
            None => BootCounter::EntryNames,
        }
    }

    fn boot_state(&self) -> io::Result<StateCopies> {
        let device = self.boot_state.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        File::open(device).and_then(|it| read_copies(&it)).map_err(at_device(device))
    }

    fn change_boot_state(
        &mut self,
        change: impl FnOnce(&StateCopies) -> io::Result<Option<StateWrite>>,
    ) -> io::Result<()> {
        let device = self.boot_state.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        change_copies(device, change).map_err(at_device(device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_state::{BOOT_STATE_SIZE, BootState};

    #[test]
    fn one_copy_is_written_and_the_other_left() {
        let partition = tempfile::NamedTempFile::new().unwrap();
        partition.as_file().set_len(BOOT_STATE_SIZE).unwrap();
        let state = BootState::initial("1.0-a".parse().unwrap());
        let write = |copies: &StateCopies| {
            let write = state.clone().write_over(copies);
            write.map(Some).map_err(io::Error::other)
        };
        let mut before = read_copies(partition.as_file()).unwrap();
        for turn in [0, 1, 0, 1] {
            change_copies(partition.path(), write).unwrap();
            let after = read_copies(partition.as_file()).unwrap();
            assert_eq!(before[1 - turn], after[1 - turn]);
            assert_ne!(before[turn], after[turn]);
            before = after;
        }
        change_copies(partition.path(), |_| Ok(None)).unwrap();
        assert_eq!(read_copies(partition.as_file()).unwrap(), before);
        let bytes = fs::read(partition.path()).unwrap();
        assert_eq!(bytes[..COPY_SIZE], before[0]);
        assert_eq!(bytes[512 << 10..][..COPY_SIZE], before[1]);
        assert_eq!(bytes.len() as u64, BOOT_STATE_SIZE);
    }
}
