//! The EFI system partition: mounted only while something is read from it or written to it, so
//! that there is nothing of it that a crash could tear.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use octet_esp::fat::{self, Check};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::disk::{at, device};

/// Where it is mounted meanwhile.
const POINT: &str = "/efi";

/// How often, and with which pause, a mount is tried while another unit holds the partition.
const ATTEMPTS: u32 = 250;
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// The partition, mounted for as long as the value lives.
#[derive(Debug)]
pub struct MountedEsp {
    device: PathBuf,
}

impl MountedEsp {
    /// Mounts the partition `name` so that it cannot be written to.
    pub fn read(name: &str) -> Result<Self, String> {
        Self::mount(name, MountFlags::RDONLY)
    }

    /// Mounts the partition `name` to change it.
    pub fn change(name: &str) -> Result<Self, String> {
        Self::mount(name, MountFlags::empty())
    }

    /// Mends what a power cut has left on the partition `name`. Returns what was done, in words.
    pub fn tidy(name: &str, check: Check) -> Result<Option<String>, String> {
        unmount_leftovers();
        fat::tidy(&device(name), check)
    }

    fn mount(name: &str, flags: MountFlags) -> Result<Self, String> {
        unmount_leftovers();
        let safe = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        let device = device(name);
        // A file that a cut has left half-written is an error to the kernel when it is removed, and
        // must not keep anything else from being written.
        let options = c"umask=0077,shortname=mixed,utf8,errors=continue";
        for turn in 0.. {
            match mount(&device, POINT, c"vfat", flags | safe, options) {
                // The unit `update` has it mounted in another way.
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
        Path::new(POINT).join(below)
    }

    /// Returns once everything written is on the medium: `syncfs` has FAT write it, and only the
    /// device's own `fsync` empties the device's cache.
    pub fn sync(&self) -> io::Result<()> {
        rustix::fs::syncfs(File::open(POINT)?)?;
        File::open(&self.device)?.sync_all()
    }
}

/// Unmounts what a process killed in the middle has left.
fn unmount_leftovers() {
    while unmount(POINT, UnmountFlags::empty()).is_ok() {}
}

impl Drop for MountedEsp {
    fn drop(&mut self) {
        let _ = unmount(POINT, UnmountFlags::empty());
    }
}
