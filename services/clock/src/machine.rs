//! The real machine: the kernel's clocks, a timer, a signal, and a disk.

use octet_node::say;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use octet_node::boot::uptime;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_settime,
    timerfd_create, timerfd_settime,
};

use crate::decide::Time;
use crate::disk::ClockDisk;
use crate::record::ClockRecord;
use crate::reservation::BothClocks;
use crate::run::{ClockEvent, ClockMachine, SetBack, Until};

/// A time that no clock reaches: in the year 2200.
const NEVER: Time = Duration::from_secs(7_258_118_400);

#[derive(Debug)]
pub struct SystemClock {
    timer: OwnedFd,
    signal: UnixStream,
    wake: Arc<OwnedFd>,
    disk: Option<ClockDisk>,
    requests: Receiver<SetBack>,
}

/// Passes requests to set the clock back to the loop.
#[derive(Debug)]
pub struct SetBackSender {
    sender: Sender<SetBack>,
    wake: Arc<OwnedFd>,
}

impl SetBackSender {
    /// Requests to set the clock back to `to`, and waits for the result.
    pub fn set_back(&self, to: Time) -> Result<(), String> {
        let ended = "the clock is not kept any more";
        let (done, outcome) = channel();
        self.sender.send(SetBack { to, done }).map_err(|_| ended)?;
        notify(&self.wake);
        outcome.recv().map_err(|_| ended)?
    }
}

fn notify(wake: &OwnedFd) {
    // It fails only if the counter would overflow; the loop is woken then, too.
    let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
}

impl SystemClock {
    /// Creates the machine with the file in `folder`, if given, and the handle for requests.
    ///
    /// # Errors
    /// No descriptor or thread can be created.
    pub fn new(folder: Option<PathBuf>) -> io::Result<(Self, SetBackSender)> {
        let (signal, sender) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, sender)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let bell = wake.clone();
        let disk =
            folder.map(|folder| ClockDisk::start(folder, move || notify(&bell))).transpose()?;
        let (sender, asked) = channel();
        let asking = SetBackSender { sender, wake: wake.clone() };
        Ok((Self { timer, signal, wake, disk, requests: asked }, asking))
    }

    /// Arms the timer: it fires when the clock reaches `time`, or is set.
    fn arm(&self, time: Time) -> Result<(), Errno> {
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        // A time of zero would disarm the timer.
        let at = Itimerspec {
            it_interval: timespec(Time::ZERO),
            it_value: timespec(time.max(Duration::from_nanos(1))),
        };
        timerfd_settime(&self.timer, flags, &at).map(drop)
    }

    fn disarm(&self) {
        let never = timespec(Time::ZERO);
        let never = Itimerspec { it_interval: never, it_value: never };
        // No event is missed: the timer is not in use now.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &never);
    }
}

impl ClockMachine for SystemClock {
    fn now(&self) -> BothClocks {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        BothClocks { wall, uptime: uptime() }
    }

    fn set(&mut self, time: Time) -> io::Result<()> {
        Ok(clock_settime(ClockId::Realtime, timespec(time))?)
    }

    fn wait(&mut self, until: Until) -> ClockEvent {
        let shown = match until {
            Until::Timeout(_) => None,
            Until::WallTime(time) => Some(time),
            Until::ClockSet => Some(NEVER),
        };
        let timeout = match (until, shown.map(|time| self.arm(time))) {
            (Until::Timeout(time), _) => Some(timespec(time)),
            (_, Some(Err(Errno::CANCELED))) => return ClockEvent::Due, // the clock was set
            // Without a timer, the loop sleeps for the time left, and does not notice if the clock
            // is set.
            (Until::WallTime(time), Some(Err(_))) => {
                Some(timespec(time.saturating_sub(self.now().wall)))
            }
            _ => None,
        };
        loop {
            if let Some(event) = self.disk.as_ref().and_then(ClockDisk::done) {
                self.disarm();
                return event;
            }
            if let Ok(asked) = self.requests.try_recv() {
                self.disarm();
                return ClockEvent::SetBack(asked);
            }
            let mut files = [
                PollFd::from_borrowed_fd(self.signal.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.timer.as_fd(), PollFlags::IN),
            ];
            let count = poll(&mut files, timeout.as_ref());
            let [signal, wake, timer] = files.map(|file| !file.revents().is_empty());
            if signal {
                let _ = rustix::io::read(&self.signal, &mut [0; 8]);
                return ClockEvent::Stop;
            }
            if wake {
                let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
            }
            if timer {
                // The value is the number of expirations, or an error if the clock was set; neither
                // is needed.
                let _ = rustix::io::read(&self.timer, &mut [0; 8]);
            }
            if timer || count == Ok(0) {
                return ClockEvent::Due;
            }
        }
    }

    fn read(&mut self) -> bool {
        self.disk.as_ref().inspect(|disk| disk.read()).is_some()
    }

    fn write(&mut self, record: ClockRecord) {
        if let Some(disk) = &self.disk {
            disk.write(record);
        }
    }

    fn write_earlier(&mut self, record: ClockRecord) {
        if let Some(disk) = &self.disk {
            disk.set_back(record);
        }
    }

    fn notify_ready(&mut self) {
        if let Err(error) = octet_node::notify_ready() {
            self.log(&format!("cannot notify PID 1: {error}"));
        }
    }

    fn log(&mut self, text: &str) {
        say!("{text}");
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::durable::StoredFile;
    use tempfile::TempDir;

    /// Everything but setting the clock, which would affect this machine.
    #[test]
    fn waits_for_what_comes_first() {
        let folder = TempDir::new().unwrap();
        let (mut system, asking) = SystemClock::new(Some(folder.path().to_owned())).unwrap();
        let hour = Duration::from_secs(3600);
        assert!(system.read());
        assert!(matches!(
            system.wait(Until::Timeout(hour)),
            ClockEvent::Read(Ok(StoredFile::Absent), false)
        ));
        let record = ClockRecord { until: Duration::from_secs(5), boot: 7 };
        system.write(record);
        let later = system.now().wall + hour;
        match system.wait(Until::WallTime(later)) {
            ClockEvent::Written(time, Ok(())) => assert_eq!(time, record.until),
            other => panic!("{other:?}"),
        }
        assert!(system.read());
        match system.wait(Until::ClockSet) {
            ClockEvent::Read(Ok(StoredFile::Value(found)), false) => assert_eq!(found, record),
            other => panic!("{other:?}"),
        }
        system.write_earlier(record);
        assert!(matches!(system.wait(Until::ClockSet), ClockEvent::Written(..)));
        assert!(
            system.read() && matches!(system.wait(Until::ClockSet), ClockEvent::Read(Ok(_), true))
        );
        let asks = std::thread::spawn(move || asking.set_back(Duration::from_secs(9)));
        match system.wait(Until::ClockSet) {
            ClockEvent::SetBack(SetBack { to, done }) => {
                assert_eq!(to, Duration::from_secs(9));
                done.send(Err("not now".to_owned())).unwrap();
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(asks.join().unwrap(), Err("not now".to_owned()));
        let soon = system.now();
        assert!(matches!(system.wait(Until::WallTime(soon.wall)), ClockEvent::Due));
        assert!(matches!(system.wait(Until::WallTime(Time::ZERO)), ClockEvent::Due));
        let pause = Duration::from_millis(20);
        assert!(matches!(system.wait(Until::WallTime(soon.wall + pause)), ClockEvent::Due));
        assert!(matches!(system.wait(Until::Timeout(pause)), ClockEvent::Due));
        assert!(system.now().uptime >= soon.uptime + pause);
    }
}
