//! The CPU time of a process that ends, and of all its children, guests among them.

use std::fs;
use std::io;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Waits until `child` ends. The kernel knows what its children took, once it has waited for them.
///
/// # Errors
/// It cannot be waited for, or the kernel does not say what it took.
pub fn wait(child: &mut Child) -> io::Result<(ExitStatus, Duration)> {
    let pid = Pid::from_child(child);
    // It stays until it is waited for below, and so does its line.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(error) = waitid(WaitId::Pid(pid), options) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    let line = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let ticks = ticks(&line).ok_or_else(|| io::Error::other(format!("no CPU time in {line:?}")))?;
    let took = Duration::from_millis(ticks * 1000 / clock_ticks_per_second());
    Ok((child.wait()?, took))
}

/// The sum of `utime`, `stime`, `cutime` and `cstime`: fields 14 to 17 (proc_pid_stat(5)). The name, field 2, may have
/// blanks and brackets.
fn ticks(line: &str) -> Option<u64> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<u64> =
        rest.split_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    (fields.len() == 4).then(|| fields.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_childs_children_count() {
        let busy = "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done";
        let took = |script: &str| {
            let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
            let (status, took) = wait(&mut child).unwrap();
            assert!(status.success());
            took
        };
        let nothing = took("sleep 0.2; true");
        let of_child = took(&format!("sh -c '{busy}'; true"));
        assert!(of_child > nothing, "{nothing:?} {of_child:?}");
    }

    #[test]
    fn fields_are_counted_after_the_name() {
        let line = "7 (a) b) Z 1 7 7 0 -1 4 1 2 3 4 10 20 300 4000 20 0 1 0 9 0 0";
        assert_eq!(ticks(line), Some(4330));
        assert_eq!(ticks("7 (a) Z 1 7"), None);
        assert_eq!(ticks(""), None);
    }
}
