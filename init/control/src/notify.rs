//! Notifications of services to PID 1, as `sd_notify(3)` sends them: datagrams of `KEY=VALUE`
//! lines.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// Maximum datagram size in bytes; a longer one is truncated.
pub const MAX_DATAGRAM: usize = 4096;

/// Maximum size of `STATUS` in bytes.
const MAX_STATUS: usize = 512;

/// The content of a datagram. Unknown keys are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notification {
    /// `READY=1`: the service is ready.
    pub ready: bool,
    /// `WATCHDOG=1`: the service still makes progress.
    pub alive: bool,
    /// `EXTEND_TIMEOUT_USEC=…`: it needs this much more time, from now on, for its current step.
    pub extend: Option<Duration>,
    /// `STATUS=…`: its status, in one line for people.
    pub status: Option<String>,
}

impl Notification {
    /// Parses a datagram. Invalid UTF-8 is replaced.
    pub fn parse(datagram: &[u8]) -> Self {
        let mut notification = Self::default();
        for line in datagram.split(|&byte| byte == b'\n') {
            match line {
                b"READY=1" => notification.ready = true,
                b"WATCHDOG=1" => notification.alive = true,
                _ => {
                    if let Some(digits) = line.strip_prefix(b"EXTEND_TIMEOUT_USEC=") {
                        let number =
                            std::str::from_utf8(digits).ok().and_then(|it| it.parse().ok());
                        notification.extend = number.map(Duration::from_micros);
                    } else if let Some(text) = line.strip_prefix(b"STATUS=") {
                        let text = &text[..text.len().min(MAX_STATUS)];
                        notification.status = Some(String::from_utf8_lossy(text).into_owned());
                    }
                }
            }
        }
        notification
    }
}

/// Sends `lines` to PID 1's notification socket (`$NOTIFY_SOCKET`). Outside the appliance, where
/// there is none, nothing is sent.
///
/// # Errors
/// The datagram could not be sent.
pub fn send(lines: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    UnixDatagram::unbound()?.send_to(lines.as_bytes(), path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_key_is_a_line_of_its_own() {
        assert!(Notification::parse(b"READY=1").ready);
        let all = Notification::parse(b"STATUS=up\nWATCHDOG=1\nREADY=1\nMAINPID=1\n");
        assert_eq!((all.ready, all.alive, all.status.as_deref()), (true, true, Some("up")));
        let longer = Notification::parse(b"EXTEND_TIMEOUT_USEC=30000000").extend;
        assert_eq!(longer, Some(Duration::from_secs(30)));
        for not in [
            &b""[..],
            b"EXTEND_TIMEOUT_USEC=-1",
            b"EXTEND_TIMEOUT_USEC=",
            b"READY=0",
            b"XREADY=1",
            b"READY=11",
            b"WATCHDOG=trigger",
        ] {
            assert_eq!(Notification::parse(not), Notification::default());
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..1000)) {
            let status = Notification::parse(&bytes).status;
            // Replacing invalid UTF-8 grows it threefold.
            prop_assert!(status.is_none_or(|status| status.len() <= 3 * MAX_STATUS));
        }
    }
}
