//! `mount-root`: switches from the initramfs to the read-only root image within it.

use std::fs::File;
use std::io;

use rustix::mount::{MountFlags, mount, mount_move};
use rustix::process::chroot;

use super::BootFacts;
use crate::sys::loop_device;

/// Where the root is mounted before it becomes `/`.
const NEW_ROOT: &str = "/root";

const TMPFS_FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Mounts the root, frees the initramfs, and switches to the root. PID 1 continues to run: its
/// program is the only file of the initramfs that stays in memory.
pub fn run(_: &mut BootFacts) -> Result<(), String> {
    let at = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what}: {error}")
    };
    let image = File::open("/root.squashfs").map_err(at("/root.squashfs"))?;
    let (path, device) = loop_device(&image).map_err(at("loop device"))?;
    mount(path.as_str(), NEW_ROOT, c"squashfs", MountFlags::RDONLY | MountFlags::NODEV, c"")
        .map_err(|error| format!("squashfs: {error}"))?;
    drop(device);
    for folder in ["/dev", "/proc", "/sys"] {
        mount_move(folder, format!("{NEW_ROOT}{folder}"))
            .map_err(|error| format!("move {folder}: {error}"))?;
    }
    free_initramfs();
    switch().map_err(|error| format!("switch root: {error}"))?;
    for (target, flags, options) in [
        ("/run", TMPFS_FLAGS | MountFlags::NOEXEC, c"mode=0755,size=16m"),
        ("/tmp", TMPFS_FLAGS | MountFlags::NOEXEC, c"mode=1777,size=16m"),
    ] {
        mount("tmpfs", target, c"tmpfs", flags, options)
            .map_err(|error| format!("{target}: {error}"))?;
    }
    Ok(())
}

/// Removes the remaining files of the initramfs, which occupy memory. The open image stays
/// available through its loop device, and PID 1's program as long as it runs.
fn free_initramfs() {
    for path in ["/root.squashfs", "/init"] {
        let _ = std::fs::remove_file(path);
    }
}

/// Makes the new root `/`. The initramfs cannot be unmounted or pivoted away (Linux,
/// Documentation/filesystems/ramfs-rootfs-initramfs.rst), so the new root is moved over it.
fn switch() -> rustix::io::Result<()> {
    rustix::process::chdir(NEW_ROOT)?;
    mount_move(".", "/")?;
    chroot(".")?;
    rustix::process::chdir("/")
}
