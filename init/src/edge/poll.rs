//! The event sources of PID 1 (epoll).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

use crate::supervisor::UnitId;

/// The source of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    Signals,
    /// A unit has written output, and there is no `logd`.
    Output(UnitId),
    /// PID 1 itself has.
    OwnOutput,
    /// It is known whether a unit's program was executed.
    Verdict(UnitId),
    /// A unit has sent a notification.
    Notify,
    /// A client connects to the control socket.
    Listener,
    /// A client of the control socket or port.
    Client(u32),
}

impl EventSource {
    fn to_data(self) -> epoll::EventData {
        let (kind, index) = match self {
            Self::Signals => (0, 0),
            Self::Output(UnitId(unit)) => (1, unit as u64),
            Self::Notify => (2, 0),
            Self::Listener => (3, 0),
            Self::Client(token) => (4, u64::from(token)),
            Self::OwnOutput => (5, 0),
            Self::Verdict(UnitId(unit)) => (6, unit as u64),
        };
        epoll::EventData::new_u64(kind << 32 | index)
    }

    fn from_data(data: u64) -> Option<Self> {
        let index = data & 0xffff_ffff;
        Some(match data >> 32 {
            0 => Self::Signals,
            1 => Self::Output(UnitId(usize::try_from(index).ok()?)),
            2 => Self::Notify,
            3 => Self::Listener,
            4 => Self::Client(u32::try_from(index).ok()?),
            5 => Self::OwnOutput,
            6 => Self::Verdict(UnitId(usize::try_from(index).ok()?)),
            _ => return None,
        })
    }
}

pub struct Poll(OwnedFd);

impl Poll {
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Reports `source` as long as `file` is readable (level-triggered).
    pub fn add(&self, file: impl AsFd, source: EventSource) -> io::Result<()> {
        Ok(epoll::add(&self.0, file, source.to_data(), epoll::EventFlags::IN)?)
    }

    /// Reports `source` once for every change of `file`: readable, writable or hung up
    /// (edge-triggered).
    pub fn add_for_changes(&self, file: impl AsFd, source: EventSource) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        Ok(epoll::add(&self.0, file, source.to_data(), flags)?)
    }

    /// Stops reporting `file`.
    pub fn remove(&self, file: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, file)?)
    }

    /// Waits for events, at most `timeout`; without one, indefinitely.
    pub fn wait(&self, timeout: Option<Duration>) -> Vec<EventSource> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut buffer = [MaybeUninit::uninit(); 64];
        match epoll::wait(&self.0, &mut buffer, timeout.as_ref()) {
            Ok((events, _)) => {
                events.iter().filter_map(|event| EventSource::from_data(event.data.u64())).collect()
            }
            Err(_) => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_survive_the_kernel() {
        for source in [
            EventSource::Signals,
            EventSource::Output(UnitId(499)),
            EventSource::Notify,
            EventSource::Listener,
            EventSource::Client(u32::MAX),
            EventSource::OwnOutput,
            EventSource::Verdict(UnitId(3)),
        ] {
            assert_eq!(EventSource::from_data(source.to_data().u64()), Some(source));
        }
    }
}
