//! Extends PID 1's start timeout while a database is repaired that was not closed, which is slow on some flash.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use octet_control::notify;

use crate::say;

/// The interval of notifications, and the extension that each requests.
const OFTEN: Duration = Duration::from_secs(10);
const LONGER: Duration = Duration::from_secs(60);

/// The magic of a redb file, and the bit in the next byte that marks a file that was not closed (redb,
/// docs/design.md: the god byte).
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
const OPEN: u8 = 2;

/// Notifies PID 1 as long as it exists.
#[derive(Debug)]
pub struct Repairing(#[expect(dead_code, reason = "the thread ends with it")] Sender<()>);

/// Extends the start timeout while the redb file at `path` is opened, if it was not closed. PID 1 bounds the
/// extension, so a hanging service still fails.
pub fn repairing(path: &Path) -> Option<Repairing> {
    if !was_not_closed(path) {
        return None;
    }
    say!("{} was not closed: all of it is checked", path.display());
    let (sender, lives) = channel::<()>();
    let tell = move || {
        loop {
            // Outside the appliance there is no receiver.
            let _ = notify::send(&format!("EXTEND_TIMEOUT_USEC={}", LONGER.as_micros()));
            if lives.recv_timeout(OFTEN) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    };
    // Without a thread the unit file's timeout applies.
    thread::Builder::new().name("repairing".into()).spawn(tell).ok()?;
    Some(Repairing(sender))
}

fn was_not_closed(path: &Path) -> bool {
    let mut head = [0; MAGIC.len() + 1];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head.starts_with(MAGIC) && head[MAGIC.len()] & OPEN != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_closed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        assert!(repairing(&file).is_none());
        for (byte, is_open) in [(0, false), (1, false), (2, true), (3, true)] {
            std::fs::write(&file, [MAGIC, &[byte, 0, 0]].concat()).unwrap();
            assert_eq!(was_not_closed(&file), is_open, "{byte}");
        }
        assert!(repairing(&file).is_some());
        std::fs::write(&file, b"redb").unwrap();
        assert!(repairing(&file).is_none());
    }
}
