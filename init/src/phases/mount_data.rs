//! `mount-data`: mounts the persistent data. With a disk the unit `data` does that, because a disk
//! may block; without one the data is in memory, and lost at a reboot.

use rustix::mount::{MountFlags, mount};

use super::BootFacts;
use crate::command_line;

/// Mounts /data, if it is to be in memory (`octet.data=memory`).
pub fn run(_: &mut BootFacts) -> Result<(), String> {
    if !command_line::data_in_memory() {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"tmpfs", c"/data", c"tmpfs", flags, c"mode=0755,size=25%")
        .map_err(|error| format!("/data: {error}"))
}
