//! The EFI system partition. It is mounted only while it is read or written, so that a crash at
//! another time cannot damage it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use octet_esp::fat::{self, Check};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::disk::{at, device};

/// The temporary mount point.
const MOUNT_POINT: &str = "/efi";

/// How often, and at which interval, a mount is tried while another unit has the partition mounted.
const ATTEMPTS: u32 = 250;
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// The partition, mounted as long as the value lives.
#[derive(Debug)]
pub struct MountedEsp {
    device: PathBuf,
}

impl MountedEsp {
    /// Mounts the partition `name` read-only.
    pub fn mount_read_only(name: &str) -> Result<Self, String> {
        Self::mount(name, MountFlags::RDONLY)
    }

    /// Mounts the partition `name` for writing.
    pub fn mount_writable(name: &str) -> Result<Self, String> {
        Self::mount(name, MountFlags::empty())
    }

    /// Repairs what a power cut has left on the partition `name`. Returns what was done, in words.
    pub fn repair(name: &str, check: Check) -> Result<Option<String>, String> {
        unmount_leftovers();
        fat::repair(&device(name), check)
    }

    fn mount(name: &str, flags: MountFlags) -> Result<Self, String> {
        unmount_leftovers();
        let safe = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        let device = device(name);
        // Removing a half-written file is an error to the kernel, which by default would then make
        // the whole file system read-only.
        let options = c"umask=0077,shortname=mixed,utf8,errors=continue";
        for turn in 0.. {
            match mount(&device, MOUNT_POINT, c"vfat", flags | safe, options) {
                // The unit `update` has it mounted with other options.
                Err(Errno::BUSY) if turn < ATTEMPTS => std::thread::sleep(RETRY_DELAY),
                mounted => {
                    mounted.map_err(|error| at(&device)(error.into()))?;
                    break;
                }
            }
        }
        Ok(Self { device })
    }

    /// The path of one of its files or folders.
    pub fn path(&self, below: &str) -> PathBuf {
        Path::new(MOUNT_POINT).join(below)
    }

    /// Returns once everything written is on the medium: `syncfs` makes FAT write it, and only the
    /// device's own `fsync` flushes the device's cache.
    pub fn sync(&self) -> io::Result<()> {
        rustix::fs::syncfs(File::open(MOUNT_POINT)?)?;
        File::open(&self.device)?.sync_all()
    }
}

/// Unmounts what a killed process has left mounted.
fn unmount_leftovers() {
    while unmount(MOUNT_POINT, UnmountFlags::empty()).is_ok() {}
}

impl Drop for MountedEsp {
    fn drop(&mut self) {
        let _ = unmount(MOUNT_POINT, UnmountFlags::empty());
    }
}
