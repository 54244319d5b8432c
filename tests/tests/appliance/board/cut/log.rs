//! A unit's lines in the log after a power cut: all lines up to at most a second before the cut are
//! there, without a gap.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_machine::{LogLine, Machine, Status, UnitState};
use octet_tests::{RETRY_DELAY, SOON};
use serde_json::json;

use super::writes;

/// The maximum time before the cut whose lines may be lost, in milliseconds.
const LOST: u64 = 1_000;

/// A tolerance for a host that does not schedule the guest, in milliseconds.
const STALL: u64 = 5_000;

/// The unit that prints numbered lines.
pub const NUMBERS: &str = r#"
    name = "numbers"
    exec = "/usr/lib/octet/numbers"
    user = "extra-1"
    needs = ["logd"]
"#;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Numbered {
    boot: String,
    number: u64,
    /// The time of the line, in milliseconds since the kernel's start.
    uptime: u64,
}

impl Numbered {
    fn read(line: &LogLine) -> Option<Self> {
        let (boot, number) = line.text.strip_prefix("boot ")?.split_once(" line ")?;
        Some(Self { boot: boot.into(), number: number.parse().ok()?, uptime: line.uptime })
    }
}

/// The unit's lines in the stored log.
fn numbered(machine: &Machine) -> Vec<Numbered> {
    machine.all_logs("numbers").unwrap().iter().filter_map(Numbered::read).collect()
}

/// The lines of a run, and the number of writes over time.
#[derive(Default)]
pub struct Said {
    lines: Vec<Numbered>,
    /// Times in milliseconds since the kernel's start, each with the number of writes that QEMU has
    /// logged soon after: it logs them at a flush.
    moments: Vec<(u64, usize)>,
}

impl Said {
    /// Records the current number of writes in `log`. Returns the time.
    pub fn note(&mut self, machine: &Machine, log: &Path) -> u64 {
        let uptime = machine.status().unwrap().uptime;
        self.moments.push((uptime, writes(log)));
        uptime
    }

    /// Records it for `run` milliseconds after the first line.
    pub fn note_for(&mut self, machine: &Machine, log: &Path, run: u64) {
        let are_said = |status: &Status| status.unit("numbers").unwrap().state == UnitState::Ready;
        let begin = machine.wait_status("numbers are said", SOON, are_said).unwrap().uptime;
        while self.note(machine, log) <= begin + run {
            sleep(Duration::from_millis(50));
        }
    }

    pub fn end(&mut self, machine: &Machine) {
        self.lines = numbered(machine);
        let first = &self.lines[0].boot;
        assert!(self.lines.iter().all(|line| line.boot == *first), "one boot");
        assert!(self.lines.len() > 50, "{} lines", self.lines.len());
    }

    /// The number of writes before the first line.
    pub fn first(&self) -> usize {
        self.moments[0].1
    }

    /// The last recorded time all of whose writes are among the first `made`: a later flush has
    /// logged no more than these.
    fn cut(&self, made: usize) -> u64 {
        let flushed =
            |place: usize, count| self.moments[place..].iter().find(|(_, it)| *it > count);
        let within = |(place, (_, count)): &(usize, &(u64, usize))| {
            flushed(*place, *count).is_some_and(|(_, counted)| *counted <= made)
        };
        let last = self.moments.iter().enumerate().rfind(within);
        last.map_or(0, |(_, (uptime, _))| *uptime)
    }

    /// The minimum number of lines after this many writes.
    pub fn due(&self, made: usize) -> usize {
        let cut = self.cut(made);
        self.lines.iter().filter(|line| line.uptime + LOST + STALL <= cut).count()
    }

    /// Compares the log of `machine`, which was started after `made` writes, with the printed
    /// lines.
    pub fn is_kept(&self, made: usize, machine: &Machine) {
        // The boot does not wait for the log's disk.
        let deadline = Instant::now() + SOON;
        while machine.call_unit("logd", "stats", json!({})).unwrap()["segments"] == 0 {
            assert!(Instant::now() < deadline, "late: after {made}: the log is not open");
            sleep(RETRY_DELAY);
        }
        let kept = numbered(machine);
        // The log's own messages are printed if a check below fails.
        let of_logd = machine.logs("logd").unwrap();

        let numbers: Vec<u64> = kept.iter().map(|line| line.number).collect();
        let prefix: Vec<u64> = (0..kept.len() as u64).collect();
        assert_eq!(numbers, prefix, "after {made}: a gap; {of_logd:?}");
        assert!(kept.iter().all(|line| line.boot == self.lines[0].boot), "after {made}: {kept:?}");

        let (cut, due) = (self.cut(made), self.due(made));
        println!("after write {made}, at {cut} ms: {} lines kept, {due} due", kept.len());
        assert!(kept.len() >= due, "after {made}: {} lines of {due}; {of_logd:?}", kept.len());
        // Logging continues: the kernel's messages of this boot appear, perhaps with a delay.
        let deadline = Instant::now() + SOON;
        while machine.logs("kernel").unwrap().is_empty() {
            let (all, clock) = (machine.all_logs("kernel"), machine.all_logs("clock"));
            let last = all.as_ref().map(|lines| lines.last());
            assert!(
                Instant::now() < deadline,
                "late: after {made}: the kernel's last: {last:?}; {clock:?}"
            );
            sleep(RETRY_DELAY);
        }
    }
}
