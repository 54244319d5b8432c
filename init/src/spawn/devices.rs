//! Prepares once what the mount namespaces of all units share.

use rustix::fs::{CWD, FileType, Mode, chmod, makedev, mkdir, mknodat, symlink};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};

/// The /dev of units with `private_dev`: bind-mounted at their start, and read-only for all.
pub const FOLDER: &str = "/run/octet-dev";

/// Name and minor number of each device; the major number is 1 (Linux, admin-guide/devices.txt).
const DEVICES: [(&str, u32); 5] =
    [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)];

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Prepares the mount namespaces of units: later mounts (/data) propagate to them, and there is a
/// /dev for them. Must be called after the switch to the final root: nothing can be moved within a
/// shared tree.
///
/// # Errors
/// The part that failed. Units with a private /tmp, /dev or read-only paths cannot start then.
pub fn prepare() -> Result<(), String> {
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)
        .map_err(|error| format!("share the mounts: {error}"))?;
    fill().map_err(|error| format!("{FOLDER}: {error}"))
}

fn fill() -> rustix::io::Result<()> {
    match mkdir(FOLDER, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(c"tmpfs", FOLDER, c"tmpfs", flags, c"mode=0755,size=64k,nr_inodes=16")?;
    let everyone = Mode::from_raw_mode(0o666);
    for (name, minor) in DEVICES {
        let path = format!("{FOLDER}/{name}");
        mknodat(CWD, &path, FileType::CharacterDevice, everyone, makedev(1, minor))?;
        // mknod's mode is reduced by PID 1's umask.
        chmod(&path, everyone)?;
    }
    for (name, target) in LINKS {
        symlink(target, format!("{FOLDER}/{name}"))?;
    }
    mount_remount(FOLDER, flags | MountFlags::RDONLY, c"mode=0755")
}
