//! The loop: sets the clock from the build time, then from the stored time, and reports readiness;
//! then it sleeps until the reservation has to be renewed.

use std::io;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::decide::{Time, TimeSource, decide};
use crate::record::ClockRecord;
use crate::reservation::{AHEAD, BothClocks, Reservation};
use octet_node::boot::BootId;
use octet_node::durable::StoredFile;

/// The timeout to read the stored time; after it the boot continues without the stored time.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout of the last write.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub enum ClockEvent {
    /// The wait is over, or the clock was set.
    Due,
    /// The result of reading the file, and whether an owner has set the clock back once.
    Read(io::Result<StoredFile<ClockRecord>>, bool),
    /// An owner sets the clock back.
    SetBack(SetBack),
    /// The result of writing this reservation.
    Written(Time, io::Result<()>),
    /// The process has to stop.
    Stop,
}

/// A request of an owner to set the clock back.
#[derive(Debug)]
pub struct SetBack {
    /// The current time, as the owner states it.
    pub to: Time,
    /// Receives the result.
    pub done: Sender<Result<(), String>>,
}

/// How long to wait for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Timeout(Duration),
    /// Until the clock shows this time, or is set.
    WallTime(Time),
    /// Until the clock is set.
    ClockSet,
}

/// The interface to the machine.
pub trait ClockMachine {
    fn now(&self) -> BothClocks;

    /// Sets the clock.
    ///
    /// # Errors
    /// The kernel refuses.
    fn set(&mut self, time: Time) -> io::Result<()>;

    fn wait(&mut self, until: Until) -> ClockEvent;

    /// Starts reading the file. Returns whether there is a disk.
    fn read(&mut self) -> bool;

    /// Starts writing `record`.
    fn write(&mut self, record: ClockRecord);

    /// Starts writing `record`, although the stored one is later; from then on the hardware clock
    /// is not trusted.
    fn write_earlier(&mut self, record: ClockRecord);

    fn notify_ready(&mut self);

    /// Writes a log message.
    fn log(&mut self, text: &str);
}

/// Runs until it has to stop.
///
/// # Errors
/// The clock cannot be set although it is necessary.
pub fn run(machine: &mut impl ClockMachine, build: Time, boot: BootId) -> io::Result<()> {
    correct_clock(machine, build, None, false)?;
    let mut reservation: Option<Reservation> = None;
    let mut pending: Option<PendingSetBack> = None;
    let mut ready = false;
    let mut logged = None;
    let mut until = Until::Timeout(TIMEOUT);
    let has_disk = machine.read();
    if !has_disk {
        machine.log("the time is not kept across boots: PID 1 has given no folder to keep it in");
        (ready, until) = (true, Until::ClockSet);
        machine.notify_ready();
    }
    loop {
        match machine.wait(until) {
            ClockEvent::Stop => {
                if let Some(reservation) = reservation {
                    stop(machine, reservation, boot);
                }
                return Ok(());
            }
            ClockEvent::Read(found, untrusted) => {
                reservation = Some(load_reservation(machine, build, boot, (found, untrusted))?);
            }
            ClockEvent::SetBack(asked)
                if pending.is_some() || has_disk && reservation.is_none() =>
            {
                let _ = asked.done.send(Err("the disk is waited for: say it again".to_owned()));
            }
            ClockEvent::SetBack(asked) => pending = begin_set_back(machine, boot, asked, has_disk),
            ClockEvent::Written(time, result)
                if pending.as_ref().is_some_and(|it| it.until == time) =>
            {
                if let Some(pending) = pending.take() {
                    reservation = finish_set_back(machine, pending, result).or(reservation);
                }
            }
            ClockEvent::Written(time, result) => {
                let trouble = result.err().map(|error| error.to_string());
                match (&mut reservation, &trouble) {
                    (Some(reservation), None) => reservation.written(time),
                    (Some(reservation), Some(_)) => reservation.failed(),
                    (None, _) => {}
                }
                log_trouble(machine, &trouble, &mut logged);
            }
            ClockEvent::Due if !ready => {
                machine.log("the disk does not say what time was kept; going on without it");
            }
            ClockEvent::Due => {}
        }
        if !ready {
            machine.notify_ready();
            ready = true;
        }
        until = match &mut reservation {
            // A regular write would store the later time again.
            _ if pending.is_some() => Until::Timeout(TIMEOUT),
            Some(reservation) => renew(machine, reservation, boot),
            None => Until::ClockSet,
        };
    }
}

/// A request of an owner while its record is being written.
struct PendingSetBack {
    /// The reservation to write.
    until: Time,
    /// The clock and the uptime at the request.
    at: BothClocks,
    done: Sender<Result<(), String>>,
}

/// Starts writing the earlier time; the clock is set once that is done. Without a disk it is set at
/// once.
fn begin_set_back(
    machine: &mut impl ClockMachine,
    boot: BootId,
    SetBack { to, done }: SetBack,
    has_disk: bool,
) -> Option<PendingSetBack> {
    let at = BothClocks { wall: to, uptime: machine.now().uptime };
    let pending = PendingSetBack { until: to + AHEAD, at, done };
    if !has_disk {
        finish_set_back(machine, pending, Ok(()));
        return None;
    }
    machine.write_earlier(ClockRecord { until: pending.until, boot });
    Some(pending)
}

/// Handles the result of writing the earlier time. Returns the new state of the reservations if it
/// succeeded.
fn finish_set_back(
    machine: &mut impl ClockMachine,
    pending: PendingSetBack,
    kept: io::Result<()>,
) -> Option<Reservation> {
    let PendingSetBack { until, at, done } = pending;
    let passed = machine.now().uptime.saturating_sub(at.uptime);
    let set = kept.and_then(|()| machine.set(at.wall + passed));
    if set.is_ok() {
        machine.log("set the clock back, as an owner has said");
    }
    let reservation = set.is_ok().then(|| Reservation::new(machine.now(), Some(until), false));
    // The requester may have disconnected.
    let _ = done.send(set.map_err(|error| error.to_string()));
    reservation
}

/// Sets the clock if it is behind the known times, or ahead and not trusted. Returns whether it is
/// implausibly far ahead.
fn correct_clock(
    machine: &mut impl ClockMachine,
    build: Time,
    kept: Option<Time>,
    untrusted: bool,
) -> io::Result<bool> {
    let now = machine.now().wall;
    let decision = decide(now, build, kept, untrusted);
    let whose = match decision.source {
        TimeSource::System => return Ok(decision.far_ahead),
        TimeSource::Build => "the time of the build",
        TimeSource::Stored => "the last time that was kept",
    };
    let step = Duration::from_secs(decision.time.abs_diff(now).as_secs());
    let step = humantime::format_duration(step);
    machine.set(decision.time)?;
    match decision.time >= now {
        true => machine.log(&format!("set the clock {step} ahead, to {whose}")),
        false => machine.log(&format!(
            "set the clock {step} back, to {whose}: an owner has found the machine's own clock to be wrong"
        )),
    }
    Ok(false)
}

/// Uses the stored record.
fn load_reservation(
    machine: &mut impl ClockMachine,
    build: Time,
    boot: BootId,
    (found, untrusted): (io::Result<StoredFile<ClockRecord>>, bool),
) -> io::Result<Reservation> {
    let record = match found {
        Ok(StoredFile::Value(record)) => Some(record),
        Ok(StoredFile::Absent) => {
            machine.log("no time was kept: this is the first boot, or the file is gone");
            None
        }
        Ok(StoredFile::Damaged) => {
            machine.log("the time that was kept is damaged; going on without it");
            None
        }
        Err(error) => {
            machine.log(&format!("the time that was kept cannot be read: {error}"));
            None
        }
    };
    // In the same boot, the clock has run on since, so the reservation itself was not shown.
    let same_boot = boot != 0 && record.is_some_and(|record| record.boot == boot);
    let kept = record.map(|record| record.until);
    let untrusted = untrusted && !same_boot;
    if correct_clock(machine, build, kept.filter(|_| !same_boot), untrusted)? && !same_boot {
        machine.log("the clock is ten years ahead of all that is known; left as it is");
    }
    Ok(Reservation::new(machine.now(), kept, same_boot))
}

/// Starts a write if it is due. Returns how long to wait.
fn renew(machine: &mut impl ClockMachine, reservation: &mut Reservation, boot: BootId) -> Until {
    reservation.update(machine.now());
    if let Some(until) = reservation.next_write() {
        machine.write(ClockRecord { until, boot });
    }
    reservation.due().map_or(Until::ClockSet, Until::WallTime)
}

/// Logs a problem with the disk once, and the end of the problem.
fn log_trouble(
    machine: &mut impl ClockMachine,
    trouble: &Option<String>,
    logged: &mut Option<String>,
) {
    if trouble == logged {
        return;
    }
    match trouble {
        Some(trouble) => machine.log(&format!("the time cannot be kept: {trouble}")),
        None => machine.log("the time is kept again"),
    }
    logged.clone_from(trouble);
}

/// Replaces the reservation by the current time, so that the next boot does not start ahead of it.
fn stop(machine: &mut impl ClockMachine, mut reservation: Reservation, boot: BootId) {
    // A hanging disk is not waited for, and nothing more is written.
    if reservation.is_writing() && !is_written(machine) {
        return;
    }
    reservation.update(machine.now());
    machine.write(ClockRecord { until: reservation.latest_time(), boot });
    if !is_written(machine) {
        machine.log("the disk has not kept the last time; the next boot starts a little ahead");
    }
}

fn is_written(machine: &mut impl ClockMachine) -> bool {
    loop {
        match machine.wait(Until::Timeout(LAST_TIMEOUT)) {
            ClockEvent::Written(_, result) => return result.is_ok(),
            ClockEvent::Due => return false,
            ClockEvent::Read(..) | ClockEvent::SetBack(_) | ClockEvent::Stop => {}
        }
    }
}
