//! Measures the supervisor that it runs under. It is the same program for each supervisor, so that
//! none is measured by its own output. It runs as an additional unit, reads the records of the
//! trivial units and /proc, and kills units. Its results are JSON lines with a prefix on the
//! console.
//!
//! The parameters are on the kernel command line: `referee.units` is the number of units,
//! `referee.kills` that of kills, within at most `referee.seconds`, and `referee.quiet` is the
//! duration of idling in seconds.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_guests::processes::{self, Process, field};
use octet_guests::roll::{self, ROLL, Start};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, Signal, kill_process};

/// The timeout for the start of all units.
const LONGEST_BOOT: Duration = Duration::from_secs(240);

/// The timeout of a restart.
const LONGEST_RESTART: Duration = Duration::from_secs(10);

/// The pause between the start of all units and the first measurement. It is longer than the second
/// for which s6 and runit delay a restart, and than the time until freed pages are accounted as
/// free.
const SETTLE: Duration = Duration::from_secs(10);

const BETWEEN: Duration = Duration::from_millis(50);

fn main() {
    if let Err(error) = measure() {
        say(&format!(r#"{{"failed":{{"reason":"{error}"}}}}"#));
    }
    // If it ended, a supervisor would start it again.
    loop {
        rustix::event::pause();
    }
}

fn measure() -> io::Result<()> {
    let line = fs::read_to_string("/proc/cmdline")?;
    let units = option(&line, "units")?;
    let starts = all_up(units)?;
    let last = starts.iter().map(|start| start.at).max().unwrap_or_default();
    say(&format!(r#"{{"up":{{"units":{units},"last_ns":{last}}}}}"#));
    sleep(SETTLE);
    memory(&starts)?;
    idle(&starts, Duration::from_secs(option(&line, "quiet")?))?;
    let within = Duration::from_secs(option(&line, "seconds")?);
    let deaths = kill(&starts, option(&line, "kills")?, within)?;
    for took in &deaths {
        say(&format!(r#"{{"death":{{"ns":{took}}}}}"#));
    }
    say(&format!(r#"{{"done":{{"kills":{}}}}}"#, deaths.len()));
    Ok(())
}

/// Waits until each unit has started. Returns its first instance.
fn all_up(units: u64) -> io::Result<Vec<Start>> {
    let began = Instant::now();
    loop {
        let mut seen = HashSet::new();
        let mut starts = roll::read(Path::new(ROLL))?;
        starts.retain(|start| (1..=units).contains(&start.unit) && seen.insert(start.unit));
        if starts.len() as u64 == units {
            return Ok(starts);
        }
        if began.elapsed() > LONGEST_BOOT {
            return Err(io::Error::other(format!("only {} units came up", starts.len())));
        }
        // The records have the times: polling seldom is sufficient, and takes no CPU time from the
        // units.
        sleep(Duration::from_millis(100));
    }
}

/// PID 1 and its helpers: all processes but the units and this program.
fn supervisors(units: &[Start]) -> io::Result<Vec<Process>> {
    let units: HashSet<u64> = units.iter().map(|start| start.pid).collect();
    processes::all(|pid| units.contains(&pid) || pid == u64::from(std::process::id()))
}

fn memory(units: &[Start]) -> io::Result<()> {
    let all = supervisors(units)?;
    let of_init = |it: fn(&Process) -> u64| all.iter().find(|one| one.pid == 1).map_or(0, it);
    let sum = |it: fn(&Process) -> u64| all.iter().map(it).sum::<u64>();
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let kib = |name| field(&meminfo, name).unwrap_or_default();
    let used = (kib("MemTotal") - kib("MemAvailable")) * 1024;
    let (init, processes) = (of_init(|it| it.rss), all.len());
    let (rss, pss) = (sum(|it| it.rss), sum(|it| it.pss));
    say(&format!(
        r#"{{"memory":{{"processes":{processes},"init":{init},"rss":{rss},"pss":{pss},"used":{used}}}}}"#
    ));
    Ok(())
}

/// Idles for a while, and reports how often the supervisors woke up meanwhile.
fn idle(units: &[Start], quiet: Duration) -> io::Result<()> {
    let count = || Ok::<_, io::Error>(supervisors(units)?.iter().map(|it| it.wakeups).sum::<u64>());
    let (before, began) = (count()?, Instant::now());
    sleep(quiet);
    let (after, seconds) = (count()?, began.elapsed().as_secs_f64());
    let wakeups = after.saturating_sub(before);
    say(&format!(r#"{{"idle":{{"seconds":{seconds:.3},"wakeups":{wakeups}}}}}"#));
    Ok(())
}

/// Kills units one after the other, none twice. Returns the time from each kill to the first action
/// of its replacement, in nanoseconds.
fn kill(units: &[Start], kills: u64, within: Duration) -> io::Result<Vec<u64>> {
    let news = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&news, ROLL, inotify::WatchFlags::MODIFY)?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut read = inotify::Reader::new(&news, &mut buffer);
    let began = Instant::now();
    let mut deaths = vec![];
    // The kills are spread over all units, because the order in which a supervisor searches must
    // not matter.
    let stride = (units.len() as u64 / kills.max(1)).max(1);
    for unit in units.iter().step_by(usize::try_from(stride).unwrap_or(1)).take(to_usize(kills)) {
        if began.elapsed() > within {
            break;
        }
        sleep(BETWEEN);
        let Some(pid) = i32::try_from(unit.pid).ok().and_then(Pid::from_raw) else { continue };
        let died = roll::now();
        kill_process(pid, Signal::KILL)
            .map_err(|_| io::Error::other(format!("unit {} died by itself", unit.unit)))?;
        let deadline = Instant::now() + LONGEST_RESTART;
        let replacement = loop {
            let mut waiting = [PollFd::new(&news, PollFlags::IN)];
            poll(&mut waiting, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))?;
            while read.next().is_ok() {}
            let starts = roll::read(Path::new(ROLL))?;
            let newer = |it: &&Start| it.unit == unit.unit && it.pid != unit.pid;
            if let Some(start) = starts.iter().rev().find(newer) {
                break start.at;
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("unit {} stays dead", unit.unit)));
            }
        };
        deaths.push(replacement.saturating_sub(died));
    }
    Ok(deaths)
}

fn option(line: &str, name: &str) -> io::Result<u64> {
    let key = format!("referee.{name}=");
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(key.as_str()));
    let missing = || io::Error::other(format!("the kernel's command line lacks {key}"));
    value.and_then(|value| value.parse().ok()).ok_or_else(missing)
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Prints a line of its own, even if another process has just begun one.
fn say(json: &str) {
    let line = format!("\nreferee: {json}\n");
    let console = File::options().write(true).open("/dev/console");
    let _ = console.and_then(|mut console| console.write_all(line.as_bytes()));
}
