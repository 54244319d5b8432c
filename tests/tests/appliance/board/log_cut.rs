//! The power goes after any write of a run in which a unit says numbered lines: the log is readable
//! after that, has no gap in it, and reaches to at most a second before the cut.

use std::time::{Duration, Instant};

use octet_machine::{LogLine, Machine, UnitState, WriteLog};
use octet_tests::{DiskFile, Image, READY, Remake, SOON, guest, in_parallel, shipped, soak};
use serde_json::json;

/// How many states are booted.
const STATES: usize = 2;

/// How long the lines are said, in milliseconds.
const RUN: u64 = 15_000;

/// What may be lost, in milliseconds before the cut.
const LOST: u64 = 1_000;

/// How much later the log may be on its disk because the host gives the guest no processor, in milliseconds.
const STALL: u64 = 5_000;

const NUMBERS: &str = r#"
    name = "numbers"
    exec = "/usr/lib/octet/numbers"
    user = "extra-1"
    needs = ["logd"]
"#;

/// A line of the unit `numbers`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Numbered {
    boot: String,
    number: u64,
    /// When it was said, in milliseconds since the kernel's start.
    uptime: u64,
}

impl Numbered {
    fn read(line: &LogLine) -> Option<Self> {
        let (boot, number) = line.text.strip_prefix("boot ")?.split_once(" line ")?;
        Some(Self { boot: boot.into(), number: number.parse().ok()?, uptime: line.uptime })
    }
}

/// All that the log has of `numbers`.
fn numbered(machine: &Machine) -> Vec<Numbered> {
    machine.kept_logs("numbers").unwrap().iter().filter_map(Numbered::read).collect()
}

/// A run to its end: what it has written, what it has said, and when how much was written.
struct Reference {
    log: WriteLog,
    said: Vec<Numbered>,
    /// Moments in milliseconds since the kernel's start, each with how many writes QEMU had counted soon after: it
    /// counts them at a flush.
    moments: Vec<(u64, usize)>,
}

impl Reference {
    /// The last moment all of whose writes are among the first `made`: a flush has come after it, and what was
    /// counted then is no more than that.
    fn cut(&self, made: usize) -> u64 {
        let flushed =
            |place: usize, count| self.moments[place..].iter().find(|(_, it)| *it > count);
        let within = |(place, (_, count)): &(usize, &(u64, usize))| {
            flushed(*place, *count).is_some_and(|(_, counted)| *counted <= made)
        };
        let last = self.moments.iter().enumerate().rfind(within);
        last.map_or(0, |(_, (uptime, _))| *uptime)
    }

    /// How many lines are to be there after so many writes.
    fn due(&self, made: usize) -> usize {
        let cut = self.cut(made);
        self.said.iter().filter(|line| line.uptime + LOST + STALL <= cut).count()
    }
}

fn reference(image: &Image, disk: &DiskFile) -> Reference {
    let path = disk.beside("log");
    let machine = image.machine().disk(disk.disk().log(&path)).cpus(1).start().unwrap();
    machine.wait_ready(READY).unwrap();
    let runs =
        |status: &octet_machine::Status| status.unit("numbers").unwrap().state == UnitState::Ready;
    let begin = machine.wait_status("numbers are said", SOON, runs).unwrap().uptime;
    let mut moments = vec![];
    loop {
        let uptime = machine.status().unwrap().uptime;
        moments.push((uptime, WriteLog::read(&path).unwrap().writes().len()));
        if uptime > begin + RUN {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = numbered(&machine);
    machine.kill().unwrap();
    drop(machine);
    Reference { log: WriteLog::read(&path).unwrap(), said, moments }
}

#[test]
fn after_any_write_of_the_log() {
    let shipped = shipped();
    let image = Remake::of(&shipped).program("numbers", &guest("numbers")).unit(NUMBERS).image();
    // The writes of a first boot are for another test.
    let used = DiskFile::used();

    let run = DiskFile::copy(&used.path());
    let reference = reference(&image, &run);
    let first = &reference.said[0].boot;
    assert!(reference.said.iter().all(|line| line.boot == *first), "one boot");
    assert!(reference.said.len() > 50, "{} lines", reference.said.len());

    // From the first moment on at which lines were said.
    let writes = reference.log.writes().len();
    let from = reference.moments[0].1;
    let count = if soak() { writes - from } else { STATES.min(writes - from) };
    let chosen: Vec<usize> =
        (0..count).map(|place| from + (place + 1) * (writes - from) / count).collect();
    println!("{writes} writes, {from} of them before the first line; cuts after {chosen:?}");
    assert!(count >= STATES, "too few writes to cut after");
    assert!(reference.due(writes) > 0, "nothing would have to be there");
    in_parallel(used.after_writes(&reference.log, &chosen), |(made, disk)| {
        keeps_what_was_said(&shipped, &reference, made, &disk);
    });
}

/// Boots what ships from the state after `made` writes, and holds its log against what was said.
fn keeps_what_was_said(image: &Image, reference: &Reference, made: usize, disk: &DiskFile) {
    let machine = image.machine().disk(disk.disk()).cpus(1).start().unwrap();
    machine.wait_ready(READY).unwrap();
    // The boot does not wait for the log's disk.
    let deadline = Instant::now() + SOON;
    while machine.call_unit("logd", "stats", json!({})).unwrap()["segments"] == 0 {
        assert!(Instant::now() < deadline, "late: after {made}: the log is not open");
        std::thread::sleep(Duration::from_millis(100));
    }
    let kept = numbered(&machine);
    // What the log itself says of that is told if anything below fails.
    let of_logd = machine.logs("logd").unwrap();

    let numbers: Vec<u64> = kept.iter().map(|line| line.number).collect();
    let prefix: Vec<u64> = (0..kept.len() as u64).collect();
    assert_eq!(numbers, prefix, "after {made}: a gap; {of_logd:?}");
    assert!(kept.iter().all(|line| line.boot == reference.said[0].boot), "after {made}: {kept:?}");

    let (cut, due) = (reference.cut(made), reference.due(made));
    println!("after write {made}, at {cut} ms: {} lines kept, {due} due", kept.len());
    assert!(kept.len() >= due, "after {made}: {} lines of {due}; {of_logd:?}", kept.len());
    // It goes on: what the kernel has said in this boot is there, soon if not at once.
    let deadline = Instant::now() + SOON;
    while machine.logs("kernel").unwrap().is_empty() {
        let (all, clock) = (machine.kept_logs("kernel"), machine.kept_logs("clock"));
        let last = all.as_ref().map(|lines| lines.last());
        assert!(
            Instant::now() < deadline,
            "late: after {made}: the kernel's last: {last:?}; {clock:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
