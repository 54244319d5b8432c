//! Control groups, version 2 (Linux, Documentation/admin-guide/cgroup-v2.rst): that of a unit is
//! `units/<name>`. No process of a unit can leave it, however it forks.
//!
//! PID 1 stays in the root group, in which every process begins: moving a process is slow in the
//! kernel, and as a sibling of `units` PID 1 gets as much of a busy CPU as all units together.
//!
//! A box whose kernel has no cgroups still runs: its units then have no limits, and a unit's
//! processes are those of its initial process group.

mod group;
mod settings;

pub use group::Group;

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};

use octet_appliance::Limits;
use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process_group};

const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// The controllers, in the order of `Controllers`.
const CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", IO];

const IO: &str = "io";

const DIRECTORY_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Controllers {
    cpu: bool,
    memory: bool,
    pids: bool,
    io: bool,
}

impl Controllers {
    /// The controllers in the kernel's list.
    fn parse(list: &str) -> Self {
        let [cpu, memory, pids, io] =
            CONTROLLERS.map(|name| list.split_ascii_whitespace().any(|word| word == name));
        Self { cpu, memory, pids, io }
    }

    /// The names of the available ones, and those of the missing ones.
    fn names(self) -> (Vec<&'static str>, Vec<&'static str>) {
        let has = [self.cpu, self.memory, self.pids, self.io];
        let named = |wanted: bool| {
            let pairs = CONTROLLERS.into_iter().zip(has);
            pairs.filter(|(_, has)| *has == wanted).map(|(name, _)| name).collect()
        };
        (named(true), named(false))
    }
}

/// The groups of all units.
pub struct Cgroups {
    root: OwnedFd,
    units: OwnedFd,
    controllers: Controllers,
    /// Whether units have the controller `io`. It costs memory for each group, so it is enabled for
    /// the first unit that has a limit.
    io: Cell<bool>,
}

impl Cgroups {
    /// Mounts the hierarchy and makes `units`.
    ///
    /// # Errors
    /// The kernel has no cgroup v2, or refuses: there are no groups then.
    pub fn mount() -> Result<Self, String> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(c"cgroup2", MOUNT_POINT, c"cgroup2", flags, c"nsdelegate,memory_recursiveprot")
            .map_err(|error| format!("cgroup2: {error}"))?;
        Self::set_up().map_err(|error| format!("{MOUNT_POINT}: {error}"))
    }

    fn set_up() -> rustix::io::Result<Self> {
        let root = open(MOUNT_POINT, DIRECTORY_FLAGS, Mode::empty())?;
        let mut space = [0; 512];
        let list = group::read(&root, "cgroup.controllers", &mut space)?;
        let controllers = Controllers::parse(list);
        let (units, _) = open_or_create(&root, "units")?;
        let (available, _) = controllers.names();
        let cgroups = Self { root, units, controllers, io: Cell::new(false) };
        cgroups.enable(available.into_iter().filter(|name| *name != IO))?;
        Ok(cgroups)
    }

    fn enable(&self, names: impl Iterator<Item = &'static str>) -> rustix::io::Result<()> {
        let enable: Vec<String> = names.map(|name| format!("+{name}")).collect();
        if !enable.is_empty() {
            // At both levels: a group can enable for its children only what its parent has enabled.
            for level in [&self.root, &self.units] {
                group::write(level, "cgroup.subtree_control", &enable.join(" "))?;
            }
        }
        Ok(())
    }

    /// The missing controllers in words, if any.
    pub fn problem(&self) -> Option<String> {
        let (_, missing) = self.controllers.names();
        let missing = missing.join(", ");
        (!missing.is_empty()).then(|| {
            format!("the kernel has no cgroup controller {missing}: such limits do not hold")
        })
    }

    /// Makes the group of the unit `name`, with its limits except `io.max`, which needs the number
    /// of a disk (`Group::limit_io`).
    ///
    /// # Errors
    /// The file that could not be made or written.
    pub fn unit(&self, name: &str, limits: &Limits) -> Result<Group, String> {
        let at = |what: &str| {
            let place = format!("{MOUNT_POINT}/units/{name}{what}");
            move |error: Errno| format!("{place}: {error}")
        };
        let (dir, is_new) = open_or_create(&self.units, name).map_err(at(""))?;
        if limits.io_max.is_some() && self.controllers.io && !self.io.replace(true) {
            self.enable([IO].into_iter()).map_err(at(": io"))?;
        }
        let group = Group::new(dir, self.io.get(), is_new);
        for setting in settings::settings(limits, self.controllers) {
            // A new group has the kernel's defaults, and every write slows the boot down.
            if !is_new || setting.differs {
                let failed = at(&format!("/{}", setting.file));
                group::write(group.dir(), setting.file, &setting.value).map_err(failed)?;
            }
        }
        Ok(group)
    }
}

/// Kills every process of a unit: those in its group, or without one those of the process group
/// that `leader` leads or led. The kernel does not reuse a process group's number while the group
/// has members. Returns whether there may be some that have not ended yet.
pub fn kill_all(group: Option<&Group>, leader: Pid) -> bool {
    match group.map(Group::kill) {
        Some(Ok(killed)) => killed,
        refused => {
            let _ = kill_process_group(leader, Signal::KILL);
            refused.is_some()
        }
    }
}

/// Opens a folder, and makes it if it does not exist; returns whether it was made.
fn open_or_create(parent: impl AsFd, name: &str) -> rustix::io::Result<(OwnedFd, bool)> {
    let is_new = match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error),
    };
    Ok((openat(parent, name, DIRECTORY_FLAGS, Mode::empty())?, is_new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let all = Controllers::parse("cpuset cpu io memory hugetlb pids rdma\n");
        assert_eq!(all.names(), (CONTROLLERS.to_vec(), vec![]));
        // `cpuset` is not `cpu`.
        let some = Controllers::parse("cpuset memory pids");
        assert_eq!(some.names(), (vec!["memory", "pids"], vec!["cpu", "io"]));
        assert_eq!(Controllers::parse(""), Controllers::default());
    }
}
