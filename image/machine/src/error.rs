//! What can go wrong with a machine. Where there is a guest, the error carries its last words.

use std::fmt;
use std::io;
use std::time::Duration;

use octet_control::CallError;

use crate::exit::Exit;

/// The last lines of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail(pub String);

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("The console said nothing.");
        }
        f.write_str("The console's last lines:")?;
        self.0.lines().try_for_each(|line| write!(f, "\n  | {line}"))
    }
}

/// Why a machine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A program of the host that is needed.
    #[error(
        "`{program}` is not in PATH: install the Debian package {package}, or let `cargo image run --setup` do it"
    )]
    Missing { program: &'static str, package: &'static str },
    /// A file of the host that is needed.
    #[error(
        "{} is missing: install the Debian package {package}, or let `cargo image run --setup` do it",
        file.display()
    )]
    MissingFile { file: std::path::PathBuf, package: &'static str },
    #[error("{what}: {source}")]
    Host {
        what: String,
        /// Why it did not work.
        source: io::Error,
    },
    /// QEMU did not come up.
    #[error("QEMU did not start ({exit}): {output}")]
    NotStarted { exit: String, output: String },
    /// QEMU ended while something else was awaited.
    #[error("the machine ended ({exit}) before {awaited}\n{tail}")]
    Ended { awaited: String, exit: Exit, tail: Tail },
    #[error("late: {awaited}: not within {} s\n{tail}", within.as_secs())]
    Late {
        awaited: String,
        /// How long it could have taken.
        within: Duration,
        tail: Tail,
    },
    /// PID 1 says that something that is needed does not work.
    #[error("the appliance is degraded: {reason}\n{tail}")]
    Degraded { reason: String, tail: Tail },
    /// A verb was refused, or the control port carries something else.
    #[error("`{verb}`: {source}\n{tail}")]
    Call { verb: String, source: CallError, tail: Tail },
    /// QEMU refused a QMP command, or broke the connection.
    #[error("QMP `{command}`: {reason}\n{tail}")]
    Qmp { command: String, reason: String, tail: Tail },
}

impl MachineError {
    /// For `map_err` on what the host refuses.
    pub(crate) fn host(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Host { what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_the_tail() {
        let tail = Tail("one\ntwo".into());
        let awaited = "`ready`".into();
        let error = MachineError::Late { awaited, within: Duration::from_secs(3), tail };
        let text = error.to_string();
        assert_eq!(
            text,
            "late: `ready`: not within 3 s\nThe console's last lines:\n  | one\n  | two"
        );
    }

    #[test]
    fn says_what_to_install() {
        let error = MachineError::Missing { program: "qemu", package: "qemu-system-x86" };
        assert!(error.to_string().contains("--setup"), "{error}");
    }
}
