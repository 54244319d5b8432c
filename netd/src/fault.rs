//! Faults of netd on demand, from the kernel's command line (`octet.netd=KIND[:STEP]`). Only test
//! builds contain them (feature `fault`); a shipped binary cannot be made to fail.
//!
//! | kind | what it does |
//! |---|---|
//! | `list` | no fault: logs each step of a change |
//! | `die:N` | netd is killed at step N of the first change since boot |
//! | `fail:N` | step N of the first change is refused |
//! | `stall:N` | netd hangs at step N of the first change |
//! | `reversed` | reverses ordered steps: links before rules, flows before policies |
//! | `unguarded` | leaves the guard out |
//! | `bare` | leaves all rules out |

#[cfg(not(feature = "fault"))]
use std::io;

#[cfg(feature = "fault")]
pub use on_demand::{at_step, begin, is};

/// Called where a step of a change begins.
///
/// # Errors
/// None: a shipped binary has no faults on demand.
#[cfg(not(feature = "fault"))]
#[inline]
pub fn at_step(_: &str) -> io::Result<()> {
    Ok(())
}

/// Called where a change begins.
#[cfg(not(feature = "fault"))]
#[inline]
pub fn begin() {}

/// Whether a fault of this kind is configured: never in a shipped binary.
#[cfg(not(feature = "fault"))]
#[inline]
pub fn is(_: &str) -> bool {
    false
}

#[cfg(feature = "fault")]
mod on_demand {
    use std::cell::Cell;
    use std::fs;
    use std::io;
    use std::thread::sleep;
    use std::time::Duration;

    use octet_node::say;
    use rustix::process::{Signal, getpid, kill_process};

    /// A sysctl that netd may write and nothing depends on. Its value marks that a change was made
    /// since boot: it survives the process, but not a reboot.
    const MARKER: &str = "/proc/sys/net/unix/max_dgram_qlen";
    const MARKED: &str = "77\n";

    thread_local! {
        /// Steps of the change so far; `None` outside of the first change since boot.
        static STEPS: Cell<Option<u32>> = const { Cell::new(None) };
    }

    fn wanted() -> Option<(String, u32)> {
        let line = fs::read_to_string("/proc/cmdline").ok()?;
        let word = line.split_whitespace().find_map(|word| word.strip_prefix("octet.netd="))?;
        let (kind, step) = word.split_once(':').unwrap_or((word, "0"));
        Some((kind.to_owned(), step.parse().ok()?))
    }

    /// Whether a fault of this kind is configured.
    pub fn is(kind: &str) -> bool {
        wanted().is_some_and(|wanted| wanted.0 == kind)
    }

    /// Starts to count steps, if no change was made since boot.
    pub fn begin() {
        let is_first = fs::read_to_string(MARKER).is_ok_and(|it| it != MARKED);
        STEPS.set(is_first.then_some(0));
        if is_first && let Err(error) = fs::write(MARKER, MARKED) {
            say!("{MARKER}: {error}");
        }
    }

    /// Counts a step, and triggers the fault if its number is reached.
    pub fn at_step(name: &str) -> io::Result<()> {
        let (Some(before), Some((kind, step))) = (STEPS.get(), wanted()) else { return Ok(()) };
        let now = before + 1;
        STEPS.set(Some(now));
        if kind == "list" {
            say!("step {now}: {name}");
        }
        if now != step {
            return Ok(());
        }
        say!("{kind} at step {now}: {name}");
        // Give the log time to receive the message.
        sleep(Duration::from_millis(200));
        match kind.as_str() {
            "die" => {
                let _ = kill_process(getpid(), Signal::KILL);
                Ok(())
            }
            "fail" => Err(io::Error::other(format!("step {now} is refused, as it is asked"))),
            "stall" => loop {
                sleep(Duration::from_secs(60));
            },
            _ => Ok(()),
        }
    }
}
