//! The file systems that a unit sees: it has a mount namespace of its own, if something is to
//! differ.

use std::ffi::CString;
use std::io;

use octet_appliance::TreePath;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
};
use rustix::thread::UnshareFlags;

use super::child::ChildState;
use super::devices;
use super::failure::SpawnFailure;
use crate::sys::{set_read_only, unshare};

/// Sets up the mounts that the unit's sandbox specifies.
pub fn set_up(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let sandbox = &start.order.unit.sandbox;
    if !sandbox.private_tmp && !sandbox.private_dev && sandbox.read_only.is_empty() {
        return Ok(());
    }
    unshare(UnshareFlags::NEWNS).map_err(SpawnFailure::context("enter mounts of its own"))?;
    // Mounts of the unit do not propagate to PID 1's namespace, but later mounts there (/data)
    // propagate to the unit.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(SpawnFailure::context("keep its mounts to itself"))?;
    for path in &sandbox.read_only {
        read_only(path).map_err(SpawnFailure::context(format_args!(
            "make {} read-only (sandbox.read_only)",
            path.as_str()
        )))?;
    }
    for folder in &start.folders {
        if sandbox.read_only.iter().any(|tree| covers(tree, folder)) {
            writable(folder).map_err(SpawnFailure::context("keep its own folder writable"))?;
        }
    }
    if sandbox.private_tmp {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(c"tmpfs", c"/tmp", c"tmpfs", flags, c"mode=1777,size=16m")
            .map_err(SpawnFailure::context("mount a /tmp of its own"))?;
    }
    if sandbox.private_dev {
        let mounted = match &sandbox.devices[..] {
            [] => mount_bind(devices::FOLDER, c"/dev"),
            own => devices::mount_with("/dev", own, start.order.unit.user.user().uid),
        };
        mounted.map_err(SpawnFailure::context("mount a /dev of its own"))?;
    }
    Ok(())
}

/// Makes everything mounted at and under `path` read-only; devices and sockets still work. What is
/// mounted there later is not read-only: such a unit must need the unit that mounts it.
fn read_only(path: &TreePath) -> io::Result<()> {
    if !path.is_all() {
        // Only a mount can be read-only, so the path becomes one.
        mount_bind_recursive(path.as_str(), path.as_str())?;
    }
    set_read_only(&CString::new(path.as_str())?, true)
}

fn writable(path: &str) -> io::Result<()> {
    mount_bind(path, path)?;
    set_read_only(&CString::new(path)?, false)
}

fn covers(tree: &TreePath, path: &str) -> bool {
    tree.is_all()
        || path
            .strip_prefix(tree.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_covers_what_is_under_it() {
        let covers = |tree: &str, path| covers(&TreePath::try_from(tree.to_owned()).unwrap(), path);
        assert!(covers("/", "/data/a"));
        assert!(covers("/data", "/data/a"));
        assert!(covers("/data/a", "/data/a"));
        assert!(!covers("/dat", "/data/a"));
        assert!(!covers("/data/a/b", "/data/a"));
    }
}
