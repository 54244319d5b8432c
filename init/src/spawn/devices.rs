//! Prepares once what the mount namespaces of all units share.

use octet_appliance::DevicePath;
use rustix::fs::{
    CWD, FileType, Gid, Mode, Uid, chmod, chown, makedev, mkdir, mknodat, stat, symlink,
};
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
    mount_with(FOLDER, &[], 0)
}

/// Mounts at `folder` a tmpfs with the common devices, and with those of `devices` that exist; they
/// belong to user `owner`. Nothing can be added to it.
pub fn mount_with(folder: &str, devices: &[DevicePath], owner: u32) -> rustix::io::Result<()> {
    let own: Vec<(&str, u64)> = devices.iter().filter_map(character_device).collect();
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(c"tmpfs", folder, c"tmpfs", flags, c"mode=0755,size=64k,nr_inodes=64")?;
    let everyone = Mode::from_raw_mode(0o666);
    for (name, minor) in DEVICES {
        let path = format!("{folder}/{name}");
        mknodat(CWD, &path, FileType::CharacterDevice, everyone, makedev(1, minor))?;
        // mknod's mode is reduced by PID 1's umask.
        chmod(&path, everyone)?;
    }
    let of_one = Mode::from_raw_mode(0o600);
    for (name, number) in own {
        let path = format!("{folder}/{name}");
        mknodat(CWD, &path, FileType::CharacterDevice, of_one, number)?;
        chown(&path, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
    }
    for (name, target) in LINKS {
        symlink(target, format!("{folder}/{name}"))?;
    }
    mount_remount(folder, flags | MountFlags::RDONLY, c"mode=0755")
}

/// The name and the number of a device, if it exists and is a character device.
fn character_device(device: &DevicePath) -> Option<(&str, u64)> {
    let found = stat(device.as_str()).ok()?;
    let is_character = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
    is_character.then_some((device.name(), found.st_rdev))
}
