//! Erases all data of a box, if its owner has requested it before the restart.
//!
//! The request is a file on the data partition, written by the unit `identity`. Once it is on the
//! medium the reset cannot be undone: this boot, or after a power cut the next one, becomes a first
//! boot, by the same marker on the EFI system partition. The slots there are kept.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use octet_appliance::RESET;
use octet_esp::medium::Medium;
use octet_esp::mounted::{Access, MountedEsp};
use rustix::mount::{UnmountFlags, unmount};

use super::disk::{Disk, at};
use super::esp;
use super::{FIRST_BOOT, ext4};

/// Whether the mounted data is to be erased.
pub fn is_requested() -> Result<bool, String> {
    fs::exists(RESET).map_err(at(RESET.as_ref()))
}

/// Makes this boot a first boot, even if it is interrupted.
pub fn begin(disk: &Disk) -> Result<(), String> {
    // Unmount before the marker is written: a mounted file system would be taken for that of a
    // first boot.
    unmount(ext4::DATA, UnmountFlags::empty())
        .map_err(|error| at(ext4::DATA.as_ref())(error.into()))?;
    let mut esp = esp::mount(disk, Access::Change)?;
    let marker = MountedEsp::path(FIRST_BOOT);
    mark(&marker).and_then(|()| esp.sync()).map_err(at(&marker))
}

fn mark(marker: &Path) -> io::Result<()> {
    File::create(marker).map(drop)
}
