//! The control group of one unit: its processes, their usage, and their end.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use octet_appliance::IoMax;
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use super::settings::io_limit;

/// The sub-folder for processes that start after a kill; see `Group::process_group`.
const RESPAWN_GROUP: &str = "again";

/// The control group of one unit. It holds one descriptor; files are opened when needed.
pub struct Group {
    dir: OwnedFd,
    /// Whether it has the controller `io`.
    io: bool,
    killed: Cell<Killed>,
}

/// Whether the folders in which processes can start were killed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    /// Nothing was killed: the group's own folder can be used.
    Never,
    /// Processes were killed: a new sub-folder is needed.
    JustNow,
    /// Nothing was killed since `again` was made.
    Before,
}

/// The folder for a new process.
pub enum ProcessGroup<'a> {
    Own(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for ProcessGroup<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(dir) => *dir,
            Self::Below(dir) => dir.as_fd(),
        }
    }
}

/// The resource usage of all processes of a unit. Values that the kernel does not count are absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupUsage {
    /// Bytes of memory, including page cache.
    pub memory: Option<u64>,
    /// CPU time in microseconds, since the group was made.
    pub cpu_micros: Option<u64>,
    pub tasks: Option<u64>,
    /// Number of processes killed for lack of memory, since the group was made.
    pub oom_kills: Option<u64>,
}

impl Group {
    /// `is_new`: whether no process can have been killed in it before.
    pub(super) fn new(dir: OwnedFd, io: bool, is_new: bool) -> Self {
        let killed = Cell::new(if is_new { Killed::Never } else { Killed::JustNow });
        Self { dir, io, killed }
    }

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The folder for a new process (`CLONE_INTO_CGROUP`).
    ///
    /// Linux (seen with 6.18) kills every process that is made into a group in which `cgroup.kill`
    /// was ever used: `cgroup_css_set_fork` reads the kill counter before it knows the new
    /// process's group, so it takes the parent's, and `cgroup_post_fork` takes the difference for a
    /// kill. So after a kill the group gets a new sub-folder each time. It has no controllers:
    /// limits and counters stay with the group, and it costs almost nothing.
    ///
    /// # Errors
    /// `EBUSY`: a killed process has not ended yet.
    pub fn process_group(&self) -> rustix::io::Result<ProcessGroup<'_>> {
        match self.killed.get() {
            Killed::Never => return Ok(ProcessGroup::Own(self.dir())),
            Killed::Before => {}
            Killed::JustNow => {
                match unlinkat(&self.dir, RESPAWN_GROUP, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error),
                }
                mkdirat(&self.dir, RESPAWN_GROUP, Mode::from_raw_mode(0o755))?;
                self.killed.set(Killed::Before);
            }
        }
        Ok(ProcessGroup::Below(openat(
            &self.dir,
            RESPAWN_GROUP,
            super::DIRECTORY_FLAGS,
            Mode::empty(),
        )?))
    }

    /// Kills every process in the group, including those that are just being made. An empty group
    /// is not killed, so that it can be used again (see `process_group`): between the two checks only the
    /// caller could add a process. Returns whether it was not empty.
    ///
    /// # Errors
    /// Its files could not be opened: the processes live on.
    pub fn kill(&self) -> rustix::io::Result<bool> {
        let populated = self.events()?;
        if populated {
            write(&self.dir, "cgroup.kill", "1")?;
            self.killed.set(Killed::JustNow);
        }
        Ok(populated)
    }

    /// Whether the group has a process that has not ended. If the kernel does not say, the answer
    /// is no, so that nobody waits for ever.
    pub fn populated(&self) -> bool {
        self.events().unwrap_or(false)
    }

    fn events(&self) -> rustix::io::Result<bool> {
        let mut space = [0; 128];
        let text = read(&self.dir, "cgroup.events", &mut space)?;
        Ok(value(text, "populated") == Some(1))
    }

    pub fn usage(&self) -> GroupUsage {
        let mut space = [0; 1024];
        let mut number = |file| read(&self.dir, file, &mut space).ok()?.trim().parse().ok();
        let (memory, tasks) = (number("memory.current"), number("pids.current"));
        let mut field = |file, name| value(read(&self.dir, file, &mut space).ok()?, name);
        GroupUsage {
            memory,
            cpu_micros: field("cpu.stat", "usage_usec"),
            tasks,
            oom_kills: field("memory.events", "oom_kill"),
        }
    }

    /// Limits reading and writing of the disk `major:minor`, which must be a whole disk.
    ///
    /// # Errors
    /// The kernel refuses. Without the controller nothing is done.
    pub fn limit_io(&self, major: u32, minor: u32, limit: &IoMax) -> rustix::io::Result<()> {
        if !self.io {
            return Ok(());
        }
        write(&self.dir, "io.max", &io_limit(major, minor, limit))
    }
}

/// The number after `name` in a file with lines `name number`.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Writes `text` to a file of the folder `dir`.
pub(super) fn write(dir: impl AsFd, file: &str, text: &str) -> rustix::io::Result<()> {
    let file = openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let written = rustix::io::write(&file, text.as_bytes())?;
    if written == text.len() { Ok(()) } else { Err(Errno::IO) }
}

/// Reads the beginning of a file of the folder `dir`, as much as fits into `space`; the kernel's
/// files are text.
pub(super) fn read<'a>(
    dir: impl AsFd,
    file: &str,
    space: &'a mut [u8],
) -> rustix::io::Result<&'a str> {
    let file = openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let length = rustix::io::read(&file, &mut *space)?;
    str::from_utf8(space.get(..length).unwrap_or_default()).map_err(|_| Errno::ILSEQ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "low 0\noom_kill_x 7\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(value(text, "oom_kill"), Some(3));
        assert_eq!(value(text, "oom"), Some(2));
        assert_eq!(value(text, "kill"), None);
        assert_eq!(value("populated 1\nfrozen 0\n", "populated"), Some(1));
    }
}
