//! Ended processes. PID 1 is the parent of all processes whose own parent has ended, so one that it
//! did not start is an orphan, which a unit has left behind.

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::supervisor::ProcessExit;
use crate::sys::wait_for_any;

/// A process that has ended but was not reaped, so it can still be identified.
#[derive(Debug)]
pub struct EndedProcess {
    /// Its process id, which is not reused until it is reaped.
    pub pid: Pid,
    pub exit: ProcessExit,
}

/// An ended process that PID 1 did not start.
#[derive(Debug, PartialEq, Eq)]
pub struct Orphan {
    pub pid: Pid,
    /// Its program, as the kernel names it (15 bytes at most), or `?`.
    pub name: String,
    /// The unit in whose control group it was.
    pub unit: Option<String>,
    pub exit: ProcessExit,
}

/// The next ended process. It must be reaped, or it stays the next one.
pub fn next_ended() -> Option<EndedProcess> {
    let waited = wait_for_any()?;
    let exit = if waited.exited {
        ProcessExit::Status(waited.status)
    } else {
        ProcessExit::Signal(waited.status)
    };
    Some(EndedProcess { pid: waited.pid, exit })
}

impl EndedProcess {
    /// Reaps the process.
    pub fn reap(self) {
        let _ = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    /// Identifies a process that is not a unit's own.
    pub fn orphan(&self) -> Orphan {
        let about = |file: &str| {
            let bytes = std::fs::read(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let name = match about("comm").trim_end() {
            "" => "?".to_owned(),
            name => name.to_owned(),
        };
        let unit = unit_of(&about("cgroup"));
        Orphan { pid: self.pid, name, unit, exit: self.exit }
    }
}

/// The unit in the content of `/proc/PID/cgroup` (cgroups(7)).
fn unit_of(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let name = path.strip_prefix("/units/")?.split(['/', ' ']).next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_in_the_groups_path() {
        for (groups, unit) in [
            ("0::/units/cache\n", Some("cache")),
            ("4:memory:/x\n0::/units/cache\n", Some("cache")),
            ("0::/units/cache/below\n", Some("cache")),
            ("0::/units/cache (deleted)\n", Some("cache")),
            ("0::/init\n", None),
            ("0::/units/\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit_of(groups).as_deref(), unit, "{groups}");
        }
    }
}
