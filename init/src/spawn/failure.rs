//! Why a process could not execute a unit's program: written by the child, and read by PID 1.

use std::fmt::Display;
use std::io;

use rustix::io::Errno;

use crate::supervisor::SpawnRefusal;

/// Maximum message size in bytes: a pipe accepts that much at once or nothing (`PIPE_BUF`).
pub const MAX_MESSAGE: usize = 4096;

/// What failed, and why.
#[derive(Debug)]
pub struct SpawnFailure {
    reason: String,
    transient: bool,
}

impl SpawnFailure {
    /// The kernel refused to `what`.
    pub fn new(what: impl Display, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let transient = Errno::from_io_error(&error).is_some_and(is_transient);
        Self { reason: format!("cannot {what}: {error}"), transient }
    }

    /// For `map_err`.
    pub fn context<E: Into<io::Error>>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self::new(what, error)
    }

    /// Converts the failure for the supervisor.
    pub fn refusal(self) -> SpawnRefusal {
        SpawnRefusal { reason: self.reason, transient: self.transient }
    }

    /// Encodes the failure for the pipe.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![if self.transient { b'+' } else { b'-' }];
        bytes.extend(self.reason.bytes().take(MAX_MESSAGE - 1));
        bytes
    }

    /// Decodes the pipe's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (first, reason) = bytes.split_first().unwrap_or((&b'-', b"no reason given"));
        Self { reason: String::from_utf8_lossy(reason).into_owned(), transient: *first == b'+' }
    }
}

/// Whether the resource that the kernel lacked may become available: memory, processes, open files,
/// a control group whose killed processes have not ended yet.
fn is_transient(error: Errno) -> bool {
    use Errno as E;

    matches!(error, E::AGAIN | E::NOMEM | E::MFILE | E::NFILE | E::INTR | E::BUSY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_pipe() {
        for (error, transient) in [(Errno::NOENT, false), (Errno::AGAIN, true)] {
            let failure = SpawnFailure::new("execute /x", error);
            let read = SpawnFailure::from_bytes(&failure.to_bytes()).refusal();
            assert_eq!(read, failure.refusal());
            assert_eq!(read.transient, transient);
            assert!(read.reason.starts_with("cannot execute /x: "), "{}", read.reason);
        }
    }

    #[test]
    fn a_long_or_odd_message_is_one_all_the_same() {
        let long = SpawnFailure::new("x".repeat(2 * MAX_MESSAGE), Errno::NOENT);
        assert_eq!(long.to_bytes().len(), MAX_MESSAGE);
        assert!(!SpawnFailure::from_bytes(b"").refusal().transient);
        assert_eq!(SpawnFailure::from_bytes(b"+\xff").refusal().reason, "\u{fffd}");
    }
}
