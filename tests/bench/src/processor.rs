//! Processor time of a process of this computer.

use std::io;
use std::time::{Duration, Instant};

/// Ticks in a second of what the kernel tells of processes (`USER_HZ`, the same on all of its
/// architectures that we run on).
const TICKS: u64 = 100;

/// What the process uses while `work` is done, and how long that takes.
///
/// # Errors
/// Those of `work`, or there is no such process.
pub fn during(pid: u32, work: impl FnOnce() -> io::Result<()>) -> io::Result<(Duration, Duration)> {
    let (began, before) = (Instant::now(), used(pid)?);
    work()?;
    Ok((used(pid)?.saturating_sub(before), began.elapsed()))
}

/// What it and all its threads have used until now, in user mode and in the kernel.
fn used(pid: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks =
        ticks(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat: {stat}")))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// `utime` and `stime` (proc_pid_stat(5), fields 14 and 15). The name, field 2, may have anything in
/// it, parentheses too.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(|field| field.parse::<u64>().ok());
    Some(fields.next()?? + fields.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 99 0 0 0 250 31 5 6 20 0 4 0 12 9 8\n";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("7 (a) S 1 2"), None);
        assert!(used(std::process::id()).is_ok());
    }
}
