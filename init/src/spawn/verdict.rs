//! Whether a child has executed its unit's program: the pipe between the two. A successful execve
//! closes the child's end; a child that fails writes the reason before it ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::failure::{MAX_MESSAGE, SpawnFailure};
use crate::supervisor::SpawnRefusal;

/// PID 1's end of the pipe.
#[derive(Debug)]
pub struct VerdictSocket(OwnedFd);

impl VerdictSocket {
    pub(super) fn new(reader: OwnedFd) -> Self {
        Self(reader)
    }

    /// `None`: not known yet. A child that was killed before its execve counts as started; its end
    /// is reported like that of any process.
    pub fn read(&self) -> Option<Result<(), SpawnRefusal>> {
        let mut bytes = [0; MAX_MESSAGE];
        match rustix::io::read(&self.0, &mut bytes) {
            Ok(0) => Some(Ok(())),
            Ok(length) => Some(Err(SpawnFailure::from_bytes(&bytes[..length]).refusal())),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(error) => Some(Err(SpawnFailure::new("learn whether it started", error).refusal())),
        }
    }
}

impl AsFd for VerdictSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn silence_an_end_and_words_are_told_apart() {
        let pipe = || pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let (reader, writer) = pipe();
        let verdict = VerdictSocket::new(reader);
        assert_eq!(verdict.read(), None);
        drop(writer);
        assert_eq!(verdict.read(), Some(Ok(())));

        let (reader, writer) = pipe();
        let failure = SpawnFailure::new("enter a network of its own", Errno::NOMEM);
        rustix::io::write(&writer, &failure.to_bytes()).unwrap();
        assert_eq!(VerdictSocket::new(reader).read(), Some(Err(failure.refusal())));
    }
}
