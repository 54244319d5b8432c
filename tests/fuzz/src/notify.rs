//! Notifications to PID 1.

use octet_control::notify::Notification;

/// The lines of a notification are independent of their order; the displayed text is bounded.
pub fn notify(bytes: &[u8]) {
    let said = Notification::parse(bytes);
    let has = |wanted: &[u8]| bytes.split(|&byte| byte == b'\n').any(|line| line == wanted);
    assert_eq!((said.ready, said.alive), (has(b"READY=1"), has(b"WATCHDOG=1")));
    assert!(said.status.is_none_or(|status| status.len() < 2048 && !status.contains('\n')));
}
