//! A box that is to forget everything: its owner has asked for that before the machine started again.
//!
//! The request is a file among the data, put there by the unit `identity`. From the moment in which it
//! is on the medium the reset is begun: this boot, or after a cut the next one, makes of itself a first
//! boot, by the same marker on the EFI system partition as the first of all. What is kept there, the
//! slots, stays.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use octet_appliance::RESET;
use rustix::mount::{UnmountFlags, unmount};

use super::disk::{Disk, at};
use super::esp::MountedEsp;
use super::{FIRST_BOOT, ext4};

/// Whether the data that is mounted is to be erased.
pub fn is_asked() -> Result<bool, String> {
    fs::exists(RESET).map_err(at(RESET.as_ref()))
}

/// Makes this boot a first boot, whatever happens to it from now on.
pub fn begin(disk: &Disk) -> Result<(), String> {
    // Before the marker: what is mounted is taken for what a first boot has made.
    unmount(ext4::DATA, UnmountFlags::empty())
        .map_err(|error| at(ext4::DATA.as_ref())(error.into()))?;
    let esp = MountedEsp::change(&disk.esp)?;
    let marker = esp.path(FIRST_BOOT);
    mark(&marker).and_then(|()| esp.sync()).map_err(at(&marker))
}

fn mark(marker: &Path) -> io::Result<()> {
    File::create(marker).map(drop)
}
