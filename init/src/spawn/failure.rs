//! Why a process could not execute a unit's program: written by the child, and read by PID 1.

use std::fmt::Display;
use std::io;

use rustix::io::Errno;

use crate::supervisor::SpawnRefusal;

/// Maximum message size in bytes: a pipe accepts that much at once or nothing (`PIPE_BUF`).
pub const LONGEST: usize = 4096;

/// What failed, and why.
#[derive(Debug)]
pub struct SpawnFailure {
    reason: String,
    may_pass: bool,
}

impl SpawnFailure {
    /// The kernel refused to `what`.
    pub fn new(what: impl Display, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let may_pass = Errno::from_io_error(&error).is_some_and(may_pass);
        Self { reason: format!("cannot {what}: {error}"), may_pass }
    }

    /// For `map_err`.
    pub fn to<E: Into<io::Error>>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self::new(what, error)
    }

    /// Converts the failure for the supervisor.
    pub fn refusal(self) -> SpawnRefusal {
        SpawnRefusal { reason: self.reason, may_pass: self.may_pass }
    }

    /// Encodes the failure for the pipe.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![if self.may_pass { b'+' } else { b'-' }];
        bytes.extend(self.reason.bytes().take(LONGEST - 1));
        bytes
    }

    /// Decodes the pipe's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (first, reason) = bytes.split_first().unwrap_or((&b'-', b"no reason given"));
        Self { reason: String::from_utf8_lossy(reason).into_owned(), may_pass: *first == b'+' }
    }
}

/// Whether the resource that the kernel lacked may become available: memory, processes, open files,
/// a control group whose killed processes have not ended yet.
fn may_pass(error: Errno) -> bool {
    use Errno as E;

    matches!(error, E::AGAIN | E::NOMEM | E::MFILE | E::NFILE | E::INTR | E::BUSY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_pipe() {
        for (error, may_pass) in [(Errno::NOENT, false), (Errno::AGAIN, true)] {
            let failure = SpawnFailure::new("execute /x", error);
            let read = SpawnFailure::from_bytes(&failure.to_bytes()).refusal();
            assert_eq!(read, failure.refusal());
            assert_eq!(read.may_pass, may_pass);
            assert!(read.reason.starts_with("cannot execute /x: "), "{}", read.reason);
        }
    }

    #[test]
    fn a_long_or_odd_message_is_one_all_the_same() {
        let long = SpawnFailure::new("x".repeat(2 * LONGEST), Errno::NOENT);
        assert_eq!(long.to_bytes().len(), LONGEST);
        assert!(!SpawnFailure::from_bytes(b"").refusal().may_pass);
        assert_eq!(SpawnFailure::from_bytes(b"+\xff").refusal().reason, "\u{fffd}");
    }
}
