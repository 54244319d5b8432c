//! The event sources of the loop.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};

/// An event source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    /// A unit's pipe, by its index.
    Pipe(u32),
    Kernel,
    Signal,
    Wake,
    Listener,
    Client(u32),
}

impl EventSource {
    fn to_data(self) -> EventData {
        let (kind, index) = match self {
            Self::Pipe(index) => (0, index),
            Self::Kernel => (1, 0),
            Self::Signal => (2, 0),
            Self::Wake => (3, 0),
            Self::Listener => (4, 0),
            Self::Client(token) => (5, token),
        };
        EventData::new_u64(kind << 32 | u64::from(index))
    }

    fn from_data(data: u64) -> Option<Self> {
        let index = (data & 0xffff_ffff) as u32;
        Some(match data >> 32 {
            0 => Self::Pipe(index),
            1 => Self::Kernel,
            2 => Self::Signal,
            3 => Self::Wake,
            4 => Self::Listener,
            5 => Self::Client(index),
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Ready {
    pub source: EventSource,
    /// Whether the peer has closed the connection.
    pub hung_up: bool,
}

/// An epoll instance, level-triggered.
pub struct Poll(OwnedFd);

impl Poll {
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Reports `source` while `file` is readable.
    ///
    /// # Errors
    /// `file` does not support epoll.
    pub fn add(&self, file: impl AsFd, source: EventSource) -> io::Result<()> {
        Ok(epoll::add(&self.0, file, source.to_data(), EventFlags::IN)?)
    }

    /// Reports `source` while `file` is readable or writable, as selected.
    pub fn change(
        &self,
        file: impl AsFd,
        source: EventSource,
        read: bool,
        write: bool,
    ) -> io::Result<()> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, read);
        flags.set(EventFlags::OUT, write);
        Ok(epoll::modify(&self.0, file, source.to_data(), flags)?)
    }

    /// Stops reporting `file`.
    pub fn remove(&self, file: impl AsFd) {
        let _ = epoll::delete(&self.0, file);
    }

    /// Waits for an event, or until `timeout` has expired.
    pub fn wait(&self, timeout: Option<Duration>) -> Vec<Ready> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut buffer = [MaybeUninit::uninit(); 64];
        let Ok((events, _)) = epoll::wait(&self.0, &mut buffer, timeout.as_ref()) else {
            return vec![];
        };
        let ready = events.iter().filter_map(|event| {
            let flags = event.flags; // the kernel's struct is packed
            let gone = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            Some(Ready { source: EventSource::from_data(event.data.u64())?, hung_up: gone })
        });
        ready.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_survive_the_kernel() {
        for source in [
            EventSource::Pipe(499),
            EventSource::Kernel,
            EventSource::Signal,
            EventSource::Wake,
            EventSource::Listener,
            EventSource::Client(u32::MAX),
        ] {
            assert_eq!(EventSource::from_data(source.to_data().u64()), Some(source));
        }
    }
}
