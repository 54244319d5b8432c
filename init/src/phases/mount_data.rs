//! `mount-data`: the place for everything that is kept. An image without a disk keeps nothing
//! beyond this boot: its data is in memory.

use rustix::mount::{MountFlags, mount};

use super::Boot;

/// Mounts /data.
pub fn run(_: &mut Boot) -> Result<(), String> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"tmpfs", c"/data", c"tmpfs", flags, c"mode=0755,size=25%")
        .map_err(|error| format!("/data: {error}"))
}
