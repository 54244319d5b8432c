//! The loop: from the build, then from what was kept, then ready; from then on it sleeps until a
//! reservation is to be renewed.

use std::io;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::decide::{Time, TimeSource, decide};
use crate::keep::{AHEAD, BothClocks, Keeping};
use crate::record::ClockRecord;
use octet_node::boot::BootId;
use octet_node::durable::StoredFile;

/// How long the disk may take to say what was kept before the boot goes on without it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the disk may take for the last time that is kept.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub enum ClockEvent {
    /// What was waited for is over; or the clock was set, and is to be looked at.
    Due,
    /// The disk says what was kept, and whether an owner has set the clock back once.
    Read(io::Result<StoredFile<ClockRecord>>, bool),
    /// An owner sets the clock back.
    SetBack(SetBack),
    /// The disk has kept this, or not.
    Written(Time, io::Result<()>),
    /// This process is to end.
    Stop,
}

/// An owner says that the clock is ahead.
#[derive(Debug)]
pub struct SetBack {
    /// The time that it is.
    pub to: Time,
    /// Whoever waits for what becomes of it.
    pub done: Sender<Result<(), String>>,
}

/// How long to wait for something to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Passed(Duration),
    /// Until the clock shows this, or somebody sets it.
    Shown(Time),
    /// Until somebody sets the clock.
    Set,
}

/// The machine that this runs on.
pub trait ClockMachine {
    fn now(&self) -> BothClocks;

    /// Sets the clock.
    ///
    /// # Errors
    /// The kernel does not let it.
    fn set(&mut self, time: Time) -> io::Result<()>;

    fn wait(&mut self, until: Until) -> ClockEvent;

    /// Has the disk asked what was kept. Returns whether there is a disk at all.
    fn read(&mut self) -> bool;

    /// Has the disk asked to keep `record`.
    fn write(&mut self, record: ClockRecord);

    /// The same, though what was kept is later; from now on the machine's own clock is doubted.
    fn write_back(&mut self, record: ClockRecord);

    fn ready(&mut self);

    /// Puts something into the log.
    fn say(&mut self, text: &str);
}

/// Runs until it is told to stop.
///
/// # Errors
/// The clock cannot be set though it must be.
pub fn run(machine: &mut impl ClockMachine, build: Time, boot: BootId) -> io::Result<()> {
    settle(machine, build, None, false)?;
    let mut keeping: Option<Keeping> = None;
    let mut back: Option<Back> = None;
    let mut ready = false;
    let mut told = None;
    let mut until = Until::Passed(TIMEOUT);
    let has_disk = machine.read();
    if !has_disk {
        machine.say("the time is not kept across boots: PID 1 has given no folder to keep it in");
        (ready, until) = (true, Until::Set);
        machine.ready();
    }
    loop {
        match machine.wait(until) {
            ClockEvent::Stop => {
                if let Some(keeping) = keeping {
                    stop(machine, keeping, boot);
                }
                return Ok(());
            }
            ClockEvent::Read(found, doubted) => {
                keeping = Some(take_over(machine, build, boot, (found, doubted))?);
            }
            ClockEvent::SetBack(asked) if back.is_some() || has_disk && keeping.is_none() => {
                let _ = asked.done.send(Err("the disk is waited for: say it again".to_owned()));
            }
            ClockEvent::SetBack(asked) => back = begin_back(machine, boot, asked, has_disk),
            ClockEvent::Written(time, result)
                if back.as_ref().is_some_and(|it| it.until == time) =>
            {
                if let Some(back) = back.take() {
                    keeping = end_back(machine, back, result).or(keeping);
                }
            }
            ClockEvent::Written(time, result) => {
                let trouble = result.err().map(|error| error.to_string());
                match (&mut keeping, &trouble) {
                    (Some(keeping), None) => keeping.taken(time),
                    (Some(keeping), Some(_)) => keeping.failed(),
                    (None, _) => {}
                }
                tell(machine, &trouble, &mut told);
            }
            ClockEvent::Due if !ready => {
                machine.say("the disk does not say what time was kept; going on without it");
            }
            ClockEvent::Due => {}
        }
        if !ready {
            machine.ready();
            ready = true;
        }
        until = match &mut keeping {
            // What is written now would be later again.
            _ if back.is_some() => Until::Passed(TIMEOUT),
            Some(keeping) => go_on(machine, keeping, boot),
            None => Until::Set,
        };
    }
}

/// What an owner has said, until it is on disk.
struct Back {
    /// What the disk is to keep.
    until: Time,
    /// The time that it was at this uptime.
    at: BothClocks,
    done: Sender<Result<(), String>>,
}

/// Has the disk keep the earlier time, and then sets the clock; without a disk it is set at once.
fn begin_back(
    machine: &mut impl ClockMachine,
    boot: BootId,
    SetBack { to, done }: SetBack,
    has_disk: bool,
) -> Option<Back> {
    let at = BothClocks { wall: to, uptime: machine.now().uptime };
    let back = Back { until: to + AHEAD, at, done };
    if !has_disk {
        end_back(machine, back, Ok(()));
        return None;
    }
    machine.write_back(ClockRecord { until: back.until, boot });
    Some(back)
}

/// The disk has kept the earlier time, or not. What is kept from now on, if it has.
fn end_back(machine: &mut impl ClockMachine, back: Back, kept: io::Result<()>) -> Option<Keeping> {
    let Back { until, at, done } = back;
    let passed = machine.now().uptime.saturating_sub(at.uptime);
    let set = kept.and_then(|()| machine.set(at.wall + passed));
    if set.is_ok() {
        machine.say("set the clock back, as an owner has said");
    }
    let keeping = set.is_ok().then(|| Keeping::new(machine.now(), Some(until), false));
    // Whoever has asked may have gone.
    let _ = done.send(set.map_err(|error| error.to_string()));
    keeping
}

/// Sets the clock if it is behind what is known, or ahead and doubted. Returns whether it is strangely far ahead.
fn settle(
    machine: &mut impl ClockMachine,
    build: Time,
    kept: Option<Time>,
    doubted: bool,
) -> io::Result<bool> {
    let now = machine.now().wall;
    let decision = decide(now, build, kept, doubted);
    let whose = match decision.source {
        TimeSource::System => return Ok(decision.far_ahead),
        TimeSource::Build => "the time of the build",
        TimeSource::Kept => "the last time that was kept",
    };
    let step = Duration::from_secs(decision.time.abs_diff(now).as_secs());
    let step = humantime::format_duration(step);
    machine.set(decision.time)?;
    match decision.time >= now {
        true => machine.say(&format!("set the clock {step} ahead, to {whose}")),
        false => machine.say(&format!(
            "set the clock {step} back, to {whose}: an owner has found the machine's own clock to be wrong"
        )),
    }
    Ok(false)
}

/// Takes over what the disk has.
fn take_over(
    machine: &mut impl ClockMachine,
    build: Time,
    boot: BootId,
    (found, doubted): (io::Result<StoredFile<ClockRecord>>, bool),
) -> io::Result<Keeping> {
    let record = match found {
        Ok(StoredFile::Value(record)) => Some(record),
        Ok(StoredFile::Absent) => {
            machine.say("no time was kept: this is the first boot, or the file is gone");
            None
        }
        Ok(StoredFile::Damaged) => {
            machine.say("the time that was kept is damaged; going on without it");
            None
        }
        Err(error) => {
            machine.say(&format!("the time that was kept cannot be read: {error}"));
            None
        }
    };
    // In the same boot the clock has been running since; what was reserved was not shown.
    let same_boot = boot != 0 && record.is_some_and(|record| record.boot == boot);
    let kept = record.map(|record| record.until);
    let doubted = doubted && !same_boot;
    if settle(machine, build, kept.filter(|_| !same_boot), doubted)? && !same_boot {
        machine.say("the clock is ten years ahead of all that is known; left as it is");
    }
    Ok(Keeping::new(machine.now(), kept, same_boot))
}

/// Has kept what must be, and says how long there is nothing to do then.
fn go_on(machine: &mut impl ClockMachine, keeping: &mut Keeping, boot: BootId) -> Until {
    keeping.see(machine.now());
    if let Some(until) = keeping.ask() {
        machine.write(ClockRecord { until, boot });
    }
    keeping.due().map_or(Until::Set, Until::Shown)
}

/// Says what is wrong with the disk, once, and that it is right again.
fn tell(machine: &mut impl ClockMachine, trouble: &Option<String>, told: &mut Option<String>) {
    if trouble == told {
        return;
    }
    match trouble {
        Some(trouble) => machine.say(&format!("the time cannot be kept: {trouble}")),
        None => machine.say("the time is kept again"),
    }
    told.clone_from(trouble);
}

/// Replaces the reservation by the time that it is, so that the next boot does not start ahead.
fn stop(machine: &mut impl ClockMachine, mut keeping: Keeping, boot: BootId) {
    // A disk that hangs is not waited for, and is asked nothing further.
    if keeping.is_asked() && !is_written(machine) {
        return;
    }
    keeping.see(machine.now());
    machine.write(ClockRecord { until: keeping.exact(), boot });
    if !is_written(machine) {
        machine.say("the disk has not kept the last time; the next boot starts a little ahead");
    }
}

fn is_written(machine: &mut impl ClockMachine) -> bool {
    loop {
        match machine.wait(Until::Passed(LAST_TIMEOUT)) {
            ClockEvent::Written(_, result) => return result.is_ok(),
            ClockEvent::Due => return false,
            ClockEvent::Read(..) | ClockEvent::SetBack(_) | ClockEvent::Stop => {}
        }
    }
}
