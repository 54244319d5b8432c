//! PID 1's own words on the console, for the time before the status screen and after it.

use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::system::{RebootCommand, reboot};

use crate::sys;

/// Writes a line to the console. A console that does not take it at once loses it: PID 1 never
/// waits for a terminal.
pub fn say(text: &str) {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(console) = open("/dev/console", flags, Mode::empty()) {
        let _ = rustix::io::write(
            &console,
            format!("octet: {}\n", octet_control::one_line(text)).as_bytes(),
        );
    }
}

/// How long the disks have to take what is still in memory when PID 1 has failed.
const TIME_TO_SYNC: Duration = Duration::from_secs(1);

/// Makes a panic or a fatal signal of PID 1 a message and a reboot; the kernel would only stop.
pub fn reboot_on_fault() {
    if let Err(error) = sys::on_fatal_signal() {
        say(&format!("signals of PID 1's own faults are not handled: {error}"));
    }
    std::panic::set_hook(Box::new(|panic| {
        say(&format!("PID 1 failed, the machine restarts: {panic}"));
        // A disk that does not answer is not waited for: what was promised to anyone is on it.
        std::thread::spawn(rustix::fs::sync);
        std::thread::sleep(TIME_TO_SYNC);
        let _ = reboot(RebootCommand::Restart);
    }));
}

/// Says that PID 1 dies of `signal`, on the console and in the kernel's log, and has the machine
/// start again. Only system calls: this runs in a signal handler.
pub fn last_words(signal: &str) {
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
