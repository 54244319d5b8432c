//! The pipes for the output of units.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

/// The pipe of one unit. PID 1 holds both ends for as long as it runs, so that nothing is lost when
/// the unit or `logd` restarts.
pub struct Output {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Output {
    /// A pipe with a non-blocking read end. Its write end blocks: a unit waits while the pipe is
    /// full.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(Self { reader, writer })
    }

    /// A pipe with both ends non-blocking, for PID 1's own messages.
    pub fn for_init() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer })
    }

    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// Discards pending data, a limited amount at once. Returns the number of bytes.
    pub fn drain(&self) -> u64 {
        const DRAIN_LIMIT: usize = 16 << 10;
        let mut bytes = [0; DRAIN_LIMIT];
        rustix::io::read(&self.reader, &mut bytes).map_or(0, |count| count as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pipe_of_init_does_not_hold_it_up() {
        let output = Output::for_init().unwrap();
        let line = [b'x'; 4096];
        let written = (0..1000).take_while(|_| rustix::io::write(output.writer(), &line).is_ok());
        let written = written.count() as u64;
        assert!((1..1000).contains(&written));
        let drained: u64 = std::iter::repeat_with(|| output.drain()).take_while(|&n| n > 0).sum();
        assert_eq!(drained, written * 4096);
    }
}
