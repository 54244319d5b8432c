//! The hardware watchdog: it restarts the machine unless it is fed, and it is fed only while the
//! core makes progress.

use std::fs::{File, OpenOptions};
use std::io::Write;

use crate::supervisor::Moment;
use crate::sys;

/// The first watchdog of the machine, if its driver is loaded.
const DEVICE: &str = "/dev/watchdog0";

/// Seconds without feeding after which it restarts the machine: the first that it supports. Those of
/// boards count to 15 or 16 (Linux, drivers/watchdog: bcm2835_wdt.c, sunxi_wdt.c).
const TIMEOUTS: [i32; 2] = [30, 15];

/// The interval of feeding: a third of the shortest timeout.
const FEED_INTERVAL: Moment = Moment::from_secs(5);

/// The minimum interval of looking for it, when PID 1 is awake anyway.
const PROBE_INTERVAL: Moment = Moment::from_secs(1);

/// The watchdog, once it was found.
#[derive(Default)]
pub struct Watchdog {
    device: Option<File>,
    /// When it is to be fed, or may be looked for, next.
    next: Moment,
}

impl Watchdog {
    /// Starts the watchdog, if it exists and is not started yet. From then on only feeding it keeps
    /// the machine up: it is never disarmed.
    pub fn probe(&mut self, now: Moment) -> Option<String> {
        if self.device.is_some() || now < self.next {
            return None;
        }
        self.next = now + PROBE_INTERVAL;
        let mut device = OpenOptions::new().write(true).open(DEVICE).ok()?;
        let [long, short] = TIMEOUTS;
        let timeout = sys::set_watchdog_timeout(&device, long)
            .or_else(|_| sys::set_watchdog_timeout(&device, short));
        let fed = device.write(b"\0");
        self.device = Some(device);
        self.next = now + FEED_INTERVAL;
        Some(match (timeout, fed) {
            (Ok(seconds), Ok(_)) => {
                format!("the watchdog restarts the machine if PID 1 stands still for {seconds} s")
            }
            (Err(error), _) | (_, Err(error)) => format!("the watchdog does not listen: {error}"),
        })
    }

    /// When it is to be fed next.
    pub fn next(&self) -> Option<Moment> {
        self.device.is_some().then_some(self.next)
    }

    /// Feeds it if that is due. `due` is the core's next deadline: if it lies in the past although
    /// the core has just run, the core makes no progress, and the watchdog is not fed.
    pub fn feed(&mut self, now: Moment, due: Option<Moment>) {
        let stuck = due.is_some_and(|due| due + FEED_INTERVAL < now);
        if let Some(device) = &mut self.device
            && self.next <= now
            && !stuck
        {
            let _ = device.write(b"\0");
            self.next = now + FEED_INTERVAL;
        }
    }
}
