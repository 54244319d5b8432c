//! PID 1's own messages on the console, before the status screen starts and after it ends.

use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::system::{RebootCommand, reboot};

use crate::sys;

/// Writes a line to the console. If the console does not accept it at once, the line is lost: PID 1
/// never waits for a terminal.
pub fn write_line(text: &str) {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(console) = open("/dev/console", flags, Mode::empty()) {
        let _ = rustix::io::write(
            &console,
            format!("octet: {}\n", octet_control::one_line(text)).as_bytes(),
        );
    }
}

/// How long disks have to write pending data after PID 1 has failed.
const SYNC_TIMEOUT: Duration = Duration::from_secs(1);

/// Turns a panic or a fatal signal of PID 1 into a message and a reboot; the kernel would only
/// stop.
pub fn reboot_on_fault() {
    if let Err(error) = sys::on_fatal_signal() {
        write_line(&format!("signals of PID 1's own faults are not handled: {error}"));
    }
    std::panic::set_hook(Box::new(|panic| {
        write_line(&format!("PID 1 failed, the machine restarts: {panic}"));
        // A disk that does not answer is not waited for: data that a unit has confirmed was synced
        // before.
        std::thread::spawn(rustix::fs::sync);
        std::thread::sleep(SYNC_TIMEOUT);
        let _ = reboot(RebootCommand::Restart);
    }));
}

/// Reports on the console and in the kernel's log that PID 1 dies of `signal`, and restarts the
/// machine. It uses only system calls, because it runs in a signal handler.
pub fn report_fatal_signal(signal: &str) {
    let pieces = ["octet: PID 1 failed, the machine restarts: ", signal, "\n"];
    let mut line = [0; 80];
    let mut length = 0;
    for piece in pieces {
        let room = &mut line[length..];
        let count = piece.len().min(room.len());
        room[..count].copy_from_slice(&piece.as_bytes()[..count]);
        length += count;
    }
    for place in [c"/dev/console", c"/dev/kmsg"] {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(file) = open(place, flags, Mode::empty()) {
            let _ = rustix::io::write(&file, &line[..length]);
        }
    }
    let _ = reboot(RebootCommand::Restart);
}
