//! PID 1's own words on the console, for the time before the status screen and after it.

use rustix::fs::{Mode, OFlags, open};
use rustix::system::{RebootCommand, reboot};

/// Writes a line to the console. A console that does not take it at once loses it: PID 1 never
/// waits for a terminal.
pub fn say(text: &str) {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(console) = open("/dev/console", flags, Mode::empty()) {
        let _ = rustix::io::write(&console, format!("octet: {text}\n").as_bytes());
    }
}

/// Makes a panic of PID 1 a message and a reboot; the kernel would only stop.
pub fn reboot_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        say(&format!("PID 1 failed, the machine restarts: {panic}"));
        rustix::fs::sync();
        let _ = reboot(RebootCommand::Restart);
    }));
}
