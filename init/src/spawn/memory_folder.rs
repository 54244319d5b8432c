//! The folder of a unit in memory: what is in it is there again when the unit is, and gone with the boot.

use std::ffi::CString;
use std::io;

use rustix::fs::{Mode, OFlags, fstat, mkdir, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::child::ChildState;
use super::failure::SpawnFailure;

/// Where all of them are.
const PLACE: &str = "/run/octet/memory";

/// Makes the folder, or takes the one that is there, and names it by `$RUNTIME_DIRECTORY`.
pub fn make(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let unit = start.order.unit;
    if !unit.runtime {
        return Ok(());
    }
    let path = format!("{PLACE}/{}", unit.name);
    own(&path, unit.user.user().uid)
        .map_err(SpawnFailure::to(format_args!("make its folder in memory {path}")))?;
    start.environment.push(("RUNTIME_DIRECTORY".into(), path.clone()));
    start.folders.push(path);
    Ok(())
}

fn own(path: &str, uid: u32) -> io::Result<()> {
    for (folder, mode) in [(PLACE, 0o755), (path, 0o700)] {
        match mkdir(folder, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let device = |path: &str| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok::<_, Errno>(fstat(open(path, flags, Mode::empty())?)?.st_dev)
    };
    if device(path)? != device(PLACE)? {
        return Ok(());
    }
    // A file system of its own, so that it fills nobody else's; before the unit has mounts of its own, so
    // that it stays.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let options = CString::new(format!("mode=0700,size=32m,uid={uid},gid={uid}"))?;
    Ok(mount(c"tmpfs", path, c"tmpfs", flags, options.as_c_str())?)
}
