//! Real processes: a writer that is killed before each step, and the program as PID 1 runs it. The
//! clock of this machine is not changed, because it is later than all times in the tests.

#![cfg(test)]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use octet_clock::file::{NAME, read, write};
use octet_clock::record::ClockRecord;
use octet_node::durable::{StoredFile, WriteStep};
use rustix::process::{Pid, Signal, getpid, kill_process};
use tempfile::TempDir;

/// A timeout that is never reached: a test fails instead of hanging.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The staged file that an interrupted write leaves.
const STAGED: &str = "last.new";

/// The variables of the child process: the folder, and the step before which it is killed.
const FOLDER: &str = "CLOCK_TEST_FOLDER";
const STEP: &str = "CLOCK_TEST_STEP";

fn record(seconds: u64) -> ClockRecord {
    ClockRecord { until: Duration::from_secs(seconds), boot: 7 }
}

#[test]
#[ignore = "`kill_before` runs it, as a process of its own that it may kill"]
fn writes_and_dies() {
    // Without the variable, this is not the child process: the long tests run all ignored tests.
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let last: usize = std::env::var(STEP).unwrap().parse().unwrap();
    let die_before = WriteStep::ALL.get(last).copied();
    let die = |step| {
        if Some(step) == die_before {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        Ok(())
    };
    write(&folder, record(200), die).unwrap();
    kill_process(getpid(), Signal::KILL).unwrap();
}

/// Runs a writer that is killed by SIGKILL before step `last`, or after all steps.
fn kill_before(folder: &Path, last: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "writes_and_dies", "--ignored", "--nocapture"]);
    let output = child.env(FOLDER, folder).env(STEP, last.to_string()).output().unwrap();
    assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()), "{output:?}");
}

#[test]
fn killed_at_every_step() {
    for stale in [false, true] {
        let mut list = vec![];
        for last in 0..=WriteStep::ALL.len() {
            let folder = TempDir::new().unwrap();
            write(folder.path(), record(100), |_| Ok(())).unwrap();
            if stale {
                // A remain of an earlier interruption.
                fs::write(folder.path().join(STAGED), [b'9'; 500]).unwrap();
            }
            kill_before(folder.path(), last);
            let left = matches!(last, 1..=3) || (stale && last == 0);
            assert_eq!(folder.path().join(STAGED).exists(), left, "killed before step {last}");
            let StoredFile::Value(found) = read(folder.path()).unwrap() else {
                panic!("killed before step {last}: neither old nor new");
            };
            list.push(found.until.as_secs());
            // The next write works as usual.
            write(folder.path(), record(300), |_| Ok(())).unwrap();
            assert_eq!(read(folder.path()).unwrap(), StoredFile::Value(record(300)));
            assert!(!folder.path().join(STAGED).exists());
        }
        // Before stage, write, sync and rename the old record is read; after that, the new one.
        assert_eq!(list, [100, 100, 100, 100, 200, 200]);
    }
}

/// Starts the program with the state in `folder`, waits until it is ready and has written a
/// reservation, and ends it by `signal`. Returns the stored records before and after.
fn live(folder: &Path, signal: Signal) -> (ClockRecord, ClockRecord) {
    let state = folder.join("state");
    fs::create_dir_all(&state).unwrap();
    let notify = folder.join("notify");
    let _ = fs::remove_file(&notify);
    let socket = UnixDatagram::bind(&notify).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let before = fs::read(state.join(NAME)).ok();
    let mut child = Command::new(env!("CARGO_BIN_EXE_octet-clock"));
    child.env_clear().env("NOTIFY_SOCKET", &notify).env("STATE_DIRECTORY", &state);
    let mut child = child.spawn().unwrap();
    let mut message = [0; 100];
    let count = socket.recv(&mut message).expect("it does not become ready");
    assert_eq!(&message[..count], b"READY=1");
    let deadline = Instant::now() + TIMEOUT;
    let kept = loop {
        let line = fs::read(state.join(NAME)).ok().filter(|line| Some(line) != before.as_ref());
        if let Some(line) = line {
            break ClockRecord::parse(&line).expect("what has its name is whole");
        }
        assert!(child.try_wait().unwrap().is_none());
        assert!(Instant::now() < deadline, "late: it keeps no time");
        thread::sleep(Duration::from_millis(1));
    };
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.success(), signal == Signal::TERM, "{status}");
    let StoredFile::Value(after) = read(&state).unwrap() else { panic!("it has lost the time") };
    (kept, after)
}

#[test]
fn keeps_the_time_ahead_and_at_its_end_exactly() {
    // On SIGTERM it waits for a slow disk for a limited time only.
    let folder = TempDir::new_in("/dev/shm").unwrap();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let began = now();
    let (ahead, exact) = live(folder.path(), Signal::TERM);
    assert!(ahead.until >= began + Duration::from_secs(120), "{ahead:?}");
    assert!(exact.until >= began && exact.until <= now() + Duration::from_micros(1), "{exact:?}");
    assert!(exact.boot == ahead.boot && exact.boot != 0);
    // On SIGKILL it leaves the reservation.
    let (ahead, after) = live(folder.path(), Signal::KILL);
    assert_eq!(ahead, after);
    assert!(after.until > now() + Duration::from_secs(60));
}
