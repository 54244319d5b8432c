//! The EFI system partition. It is mounted as long as the value exists, in this process's mount
//! namespace, so that it is unmounted when the process ends.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use octet_esp::medium::{FolderItem, Medium};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

const POINT: &str = "/efi";

/// Read-only or read-write access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Change,
}

#[derive(Debug)]
pub struct UpdateEsp {
    device: PathBuf,
    access: Access,
    /// Deleted files that are not synced yet: the kernel frees the clusters of an open file when it
    /// is closed (fs/fat: `fat_evict_inode`).
    removed: Vec<File>,
}

impl UpdateEsp {
    /// Mounts the partition `device`.
    ///
    /// # Errors
    /// The kernel refuses; with "busy" if PID 1 has it mounted with other options.
    pub fn mount(device: &Path, access: Access) -> io::Result<Self> {
        mount_at(device, access)?;
        Ok(Self { device: device.to_owned(), access, removed: vec![] })
    }

    fn path(path: &str) -> PathBuf {
        Path::new(POINT).join(path)
    }

    fn remove_by(&mut self, path: &str, remove: fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let path = Self::path(path);
        let open = File::open(&path)?;
        remove(&path)?;
        self.removed.push(open);
        Ok(())
    }
}

fn mount_at(device: &Path, access: Access) -> io::Result<()> {
    let uid = rustix::process::geteuid().as_raw();
    let options = format!("uid={uid},gid={uid},umask=0077,shortname=mixed,utf8,errors=continue");
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    let flags = if access == Access::Read { flags | MountFlags::RDONLY } else { flags };
    mount(device, POINT, c"vfat", flags, &*options).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{}: {error}", device.display()))
    })
}

impl Drop for UpdateEsp {
    fn drop(&mut self) {
        // Open files would keep it mounted.
        self.removed.clear();
        let _ = unmount(POINT, UnmountFlags::empty());
    }
}

impl Medium for UpdateEsp {
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
}
