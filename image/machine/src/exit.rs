//! How a machine ended.

use std::fmt;
use std::process::ExitStatus;

use crate::qmp::Shutdown;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub status: ExitStatus,
    /// What QEMU said about it; `None` if it was killed or crashed.
    pub shutdown: Option<Shutdown>,
    pub panicked: bool,
}

impl Exit {
    /// Whether the guest turned itself off, as after `poweroff`.
    pub fn is_power_off(&self) -> bool {
        self.has_reason("guest-shutdown")
    }

    /// Whether the guest rebooted, as after `reboot`, and not because of a panic.
    pub fn is_reboot(&self) -> bool {
        self.has_reason("guest-reset")
    }

    fn has_reason(&self, reason: &str) -> bool {
        let is_reason = self.shutdown.as_ref().is_some_and(|s| s.guest && s.reason == reason);
        is_reason && self.status.success() && !self.panicked
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shutdown {
            _ if self.panicked => f.write_str("the kernel panicked"),
            Some(shutdown) => write!(f, "{shutdown}, QEMU {}", self.status),
            None => write!(f, "QEMU {}", self.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn tells_the_ends_apart() {
        let exit = |status, guest, reason: &str, panicked| Exit {
            status: ExitStatus::from_raw(status),
            shutdown: Some(Shutdown { guest, reason: reason.into() }),
            panicked,
        };
        assert!(exit(0, true, "guest-shutdown", false).is_power_off());
        assert!(exit(0, true, "guest-reset", false).is_reboot());
        for other in [
            exit(0, true, "guest-reset", true),
            exit(9, true, "guest-reset", false),
            exit(0, false, "host-qmp-quit", false),
            Exit { status: ExitStatus::from_raw(9), shutdown: None, panicked: false },
        ] {
            assert!(!other.is_power_off() && !other.is_reboot(), "{other}");
        }
        assert_eq!(exit(0, true, "guest-reset", true).to_string(), "the kernel panicked");
    }
}
