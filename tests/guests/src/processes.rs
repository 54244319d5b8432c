//! The processes of a guest, from /proc.

use std::fs;
use std::io;

/// A process, with its memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: u64,
    pub rss: u64,
    /// The proportional set size: shared pages are divided among the processes.
    pub pss: u64,
    /// The number of voluntary context switches: the process was woken after each.
    pub wakeups: u64,
}

/// All processes but kernel threads and those for which `skip` is true. A process that ends
/// meanwhile is left out.
pub fn all(skip: impl Fn(u64) -> bool) -> io::Result<Vec<Process>> {
    let mut all = vec![];
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if !skip(pid) {
            all.extend(one(pid));
        }
    }
    Ok(all)
}

fn one(pid: u64) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // Kernel threads have no memory of their own.
    let rss = field(&status, "VmRSS")? * 1024;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let pss = field(&rollup, "Pss").unwrap_or_default() * 1024;
    let wakeups = field(&status, "voluntary_ctxt_switches").unwrap_or_default();
    Some(Process { pid, rss, pss, wakeups })
}

/// The number in the line `name:` of such a file; for memory it is in KiB.
pub fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_field() {
        let text = "Name:\tit\nVmRSS:\t     788 kB\nvoluntary_ctxt_switches:\t150\n";
        assert_eq!(field(text, "VmRSS"), Some(788));
        assert_eq!(field(text, "voluntary_ctxt_switches"), Some(150));
        assert_eq!(field(text, "Vm"), None);
    }

    #[test]
    fn finds_this_process() {
        let own = u64::from(std::process::id());
        let found = all(|pid| pid != own).unwrap();
        assert!(found.len() == 1 && found[0].pid == own, "{found:?}");
        assert!(found[0].rss >= found[0].pss && found[0].pss > 0, "{found:?}");
    }
}
