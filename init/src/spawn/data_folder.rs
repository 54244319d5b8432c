//! The data folder of a unit, `/data/<name>`. PID 1 never accesses a disk, so its child makes the
//! folder while it is still root.

use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, fstat, mkdir, open};
use rustix::io::Errno;

use super::child::ChildState;
use super::failure::SpawnFailure;

/// Makes the folder and names it in `$STATE_DIRECTORY`. On a box without a disk the unit runs
/// without the folder, and the variable is missing.
pub fn make(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let unit = start.order.unit;
    if !unit.state {
        return Ok(());
    }
    let path = format!("/data/{}", unit.name);
    match make_owned(&path, unit.user.user().uid) {
        Ok(()) => {
            start.environment.push(("STATE_DIRECTORY".into(), path.clone()));
            start.folders.push(path);
            Ok(())
        }
        Err(Errno::ROFS | Errno::NOENT) => Ok(()),
        Err(error) => Err(SpawnFailure::new(format_args!("make its data folder {path}"), error)),
    }
}

fn make_owned(path: &str, uid: u32) -> rustix::io::Result<()> {
    match mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    // Only root can create entries in /data, so this is the folder that was made above, now or at
    // an earlier start.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = open(path, flags, Mode::empty())?;
    let owner = fstat(&folder)?;
    // Without a change nothing is written to the disk.
    if (owner.st_uid, owner.st_gid) != (uid, uid) {
        fchown(&folder, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
    }
    Ok(())
}
