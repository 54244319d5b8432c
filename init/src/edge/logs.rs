//! The output of units, on its way to `logd`.
//!
//! PID 1 reads none of it. It holds the pipes, and passes their read ends to `logd` at each start;
//! while `logd` restarts, output waits in them. Only if there is no `logd`, or it has failed for
//! good, PID 1 empties the pipes, so that no unit blocks for ever, and counts the lost bytes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};

use super::output::Output;
use super::poll::{EventSource, Poll};
use crate::supervisor::{UnitId, UnitState};

/// Everything that `logd` is passed, besides the units' pipes.
pub struct Logs {
    /// PID 1's own messages.
    own: Output,
    /// The kernel's log. The descriptor keeps the read position: the next `logd` continues where
    /// the last one ended.
    kernel: Option<OwnedFd>,
    /// Memory of `logd` that outlives its process.
    journal: Option<OwnedFd>,
    /// `logd`, if the image has it.
    logger: Option<UnitId>,
    drained_here: bool,
    dropped: BTreeMap<String, u64>,
}

impl Logs {
    pub fn new(logger: Option<UnitId>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(Self {
            own: Output::for_init()?,
            kernel: open("/dev/kmsg", flags, Mode::empty()).ok(),
            journal: memfd_create("journal", MemfdFlags::CLOEXEC).ok(),
            logger,
            drained_here: false,
            dropped: BTreeMap::new(),
        })
    }

    /// Whether `unit` is `logd`.
    pub fn is_logger(&self, unit: UnitId) -> bool {
        self.logger == Some(unit)
    }

    /// The unit `logd`, if the image has it.
    pub fn logger(&self) -> Option<UnitId> {
        self.logger
    }

    /// Writes a message of PID 1. If the pipe is full, the message is dropped and counted.
    pub fn log(&mut self, text: &str) {
        let line = format!("{}\n", octet_control::one_line(text));
        if rustix::io::write(self.own.writer(), line.as_bytes()).is_err() {
            self.count(octet_control::INIT, line.len() as u64);
        }
    }

    /// The descriptors that `logd` is passed, by name, with the pipes of `units`.
    pub fn descriptors<'a>(
        &'a self,
        units: impl Iterator<Item = (&'a str, &'a Output)>,
    ) -> Vec<(String, BorrowedFd<'a>)> {
        let special = [("kmsg", &self.kernel), ("journal", &self.journal)];
        let special = special
            .into_iter()
            .filter_map(|(name, file)| Some((name.to_owned(), file.as_ref()?.as_fd())));
        let own = (octet_control::INIT, &self.own);
        let outputs = std::iter::once(own)
            .chain(units)
            .map(|(name, output)| (format!("output/{name}"), output.reader()));
        special.chain(outputs).collect()
    }

    /// What was dropped since the last call, as `OCTET_LOST` passes it to `logd`.
    pub fn take_dropped(&mut self) -> String {
        let mut text = String::new();
        for (unit, bytes) in std::mem::take(&mut self.dropped) {
            let _ = write!(text, "{unit}={bytes} ");
        }
        text.trim_end().to_owned()
    }

    /// Starts or stops emptying the pipes here, according to the state of `logd`.
    pub fn update_draining<'a>(
        &mut self,
        logger: Option<UnitState>,
        units: impl Iterator<Item = (UnitId, &'a Output)>,
        poll: &Poll,
    ) {
        let is_logger_down =
            logger.is_none_or(|state| matches!(state, UnitState::Failed | UnitState::Stopped));
        if is_logger_down == self.drained_here {
            return;
        }
        self.drained_here = is_logger_down;
        let own = (EventSource::OwnOutput, &self.own);
        let outputs = units.map(|(unit, output)| (EventSource::Output(unit), output));
        for (source, output) in std::iter::once(own).chain(outputs) {
            // If a pipe cannot be polled, only its own unit blocks.
            let _ = if is_logger_down {
                poll.add(output.reader(), source)
            } else {
                poll.remove(output.reader())
            };
        }
    }

    /// Drops pending output of `unit`.
    pub fn drain(&mut self, unit: &str, output: &Output) {
        let bytes = output.drain();
        self.count(unit, bytes);
    }

    /// Drops pending messages of PID 1.
    pub fn drain_own(&mut self) {
        let bytes = self.own.drain();
        self.count(octet_control::INIT, bytes);
    }

    fn count(&mut self, unit: &str, bytes: u64) {
        if bytes > 0 {
            *self.dropped.entry(unit.to_owned()).or_default() += bytes;
        }
    }
}
