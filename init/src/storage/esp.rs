//! The EFI system partition: mounted only while something is read from it or written to it, so
//! that there is nothing of it that a crash could tear.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::disk::{at, device};

/// Where it is mounted meanwhile.
const POINT: &str = "/efi";

/// The partition, mounted for as long as the value lives.
#[derive(Debug)]
pub struct Esp {
    device: PathBuf,
}

impl Esp {
    /// Mounts the partition `name` so that it cannot be written to.
    ///
    /// # Errors
    /// In words, with the device.
    pub fn read(name: &str) -> Result<Self, String> {
        Self::mount(name, MountFlags::RDONLY)
    }

    /// Mounts the partition `name` to change it.
    ///
    /// # Errors
    /// In words, with the device.
    pub fn change(name: &str) -> Result<Self, String> {
        Self::mount(name, MountFlags::empty())
    }

    fn mount(name: &str, flags: MountFlags) -> Result<Self, String> {
        // One that a process killed in the middle has left.
        while unmount(POINT, UnmountFlags::empty()).is_ok() {}
        let safe = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        let device = device(name);
        // A file that a cut has left half-written is an error to the kernel when it is removed, and
        // must not keep anything else from being written.
        let options = c"umask=0077,shortname=mixed,utf8,errors=continue";
        mount(&device, POINT, c"vfat", flags | safe, options)
            .map_err(|error| at(&device)(error.into()))?;
        Ok(Self { device })
    }

    /// The path of one of its files or folders.
    pub fn path(&self, below: &str) -> PathBuf {
        Path::new(POINT).join(below)
    }

    /// Returns once everything written is on the medium: `syncfs` has FAT write it, and only the
    /// device's own `fsync` empties the device's cache.
    ///
    /// # Errors
    /// The medium refuses.
    pub fn sync(&self) -> io::Result<()> {
        rustix::fs::syncfs(File::open(POINT)?)?;
        File::open(&self.device)?.sync_all()
    }
}

impl Drop for Esp {
    fn drop(&mut self) {
        let _ = unmount(POINT, UnmountFlags::empty());
    }
}
