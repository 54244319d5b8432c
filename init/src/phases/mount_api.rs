//! `mount-api`: mounts the kernel's own file systems.

use rustix::mount::{MountFlags, mount};

use super::BootFacts;

const RESTRICTED: MountFlags =
    MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Mounts /proc, /sys and /dev.
pub fn run(_: &mut BootFacts) -> Result<(), String> {
    for (kind, target, flags, options) in [
        (c"proc", c"/proc", RESTRICTED, c"hidepid=invisible"),
        (c"sysfs", c"/sys", RESTRICTED, c""),
        (c"devtmpfs", c"/dev", MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=0755"),
    ] {
        mount(kind, target, kind, flags, options)
            .map_err(|error| format!("{}: {error}", target.to_string_lossy()))?;
    }
    Ok(())
}
