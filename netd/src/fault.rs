//! Faults of netd on demand, as the kernel's command line says (`octet.netd=KIND[:STEP]`). Only builds
//! for tests have them (feature `fault`); what ships cannot be told to fail.
//!
//! | kind | what it does |
//! |---|---|
//! | `list` | nothing, but tells each step of a change |
//! | `die:N` | is killed at step N of the first change since the machine started |
//! | `fail:N` | step N of the first change is refused |
//! | `stall:N` | stands still at step N of the first change |
//! | `reversed` | does in reverse what has an order: links before rules, flows before lines |
//! | `unguarded` | leaves the guard out |
//! | `bare` | leaves all rules out |

#[cfg(not(feature = "fault"))]
use std::io;

#[cfg(feature = "fault")]
pub use on_demand::{at_step, begin, is};

/// Is called where a step of a change begins.
///
/// # Errors
/// None: nothing fails on demand in what ships.
#[cfg(not(feature = "fault"))]
#[inline]
pub fn at_step(_: &str) -> io::Result<()> {
    Ok(())
}

/// Is called where a change begins.
#[cfg(not(feature = "fault"))]
#[inline]
pub fn begin() {}

/// Whether a fault of this kind is wanted: never.
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

    /// Any number that netd may write and nothing depends on: it outlives the process, and no boot.
    const MARKER: &str = "/proc/sys/net/unix/max_dgram_qlen";
    const MARKED: &str = "77\n";

    thread_local! {
        /// Steps of the change so far; `None` outside of the first change.
        static STEPS: Cell<Option<u32>> = const { Cell::new(None) };
    }

    fn wanted() -> Option<(String, u32)> {
        let line = fs::read_to_string("/proc/cmdline").ok()?;
        let word = line.split_whitespace().find_map(|word| word.strip_prefix("octet.netd="))?;
        let (kind, step) = word.split_once(':').unwrap_or((word, "0"));
        Some((kind.to_owned(), step.parse().ok()?))
    }

    /// Whether a fault of this kind is wanted.
    pub fn is(kind: &str) -> bool {
        wanted().is_some_and(|wanted| wanted.0 == kind)
    }

    /// Counts steps from here on, if no change was made since the machine started.
    pub fn begin() {
        let is_first = fs::read_to_string(MARKER).is_ok_and(|it| it != MARKED);
        STEPS.set(is_first.then_some(0));
        if is_first && let Err(error) = fs::write(MARKER, MARKED) {
            say!("{MARKER}: {error}");
        }
    }

    /// Counts a step, and fails if it is the one.
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
        // So that the log has it.
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
