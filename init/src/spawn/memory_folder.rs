//! The folder of a unit in memory: its content survives restarts of the unit, but not a reboot.

use std::ffi::CString;
use std::io;

use rustix::fs::{Mode, OFlags, fstat, mkdir, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::child::ChildState;
use super::failure::SpawnFailure;

/// The parent of all these folders.
const PARENT: &str = "/run/octet/memory";

/// Makes the folder, unless it exists, and names it in `$RUNTIME_DIRECTORY`.
pub fn make(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let unit = start.order.unit;
    if !unit.runtime {
        return Ok(());
    }
    let path = format!("{PARENT}/{}", unit.name);
    mount_tmpfs(&path, unit.user.user().uid)
        .map_err(SpawnFailure::context(format_args!("make its folder in memory {path}")))?;
    start.environment.push(("RUNTIME_DIRECTORY".into(), path.clone()));
    start.folders.push(path);
    Ok(())
}

fn mount_tmpfs(path: &str, uid: u32) -> io::Result<()> {
    for (folder, mode) in [(PARENT, 0o755), (path, 0o700)] {
        match mkdir(folder, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let device = |path: &str| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok::<_, Errno>(fstat(open(path, flags, Mode::empty())?)?.st_dev)
    };
    if device(path)? != device(PARENT)? {
        return Ok(());
    }
    // A file system of its own limits its size. It is mounted before the unit has a mount namespace
    // of its own, so that it outlives the unit.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let options = CString::new(format!("mode=0700,size=32m,uid={uid},gid={uid}"))?;
    Ok(mount(c"tmpfs", path, c"tmpfs", flags, options.as_c_str())?)
}
