//! A database that was not closed is gone through when it is opened, which takes its time on a slow flash: PID 1 is
//! told so.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use octet_control::notify;

use crate::say;

/// How often PID 1 is told, and how much longer it takes each time.
const OFTEN: Duration = Duration::from_secs(10);
const LONGER: Duration = Duration::from_secs(60);

/// What a file of redb begins with, and the bit of the byte behind it that says that the file was not closed (redb,
/// docs/design.md: the god byte).
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
const OPEN: u8 = 2;

/// PID 1 is told for as long as this lives.
#[derive(Debug)]
pub struct Repairing(#[expect(dead_code, reason = "the thread ends with it")] Sender<()>);

/// Has PID 1 wait for as long as the file of redb at `path` is opened, if it was not closed. Whoever hangs is not waited
/// for for ever: PID 1 has a bound.
pub fn repairing(path: &Path) -> Option<Repairing> {
    if !was_not_closed(path) {
        return None;
    }
    say!("{} was not closed: all of it is gone through", path.display());
    let (sender, lives) = channel::<()>();
    let tell = move || {
        loop {
            // Outside the appliance nobody listens.
            let _ = notify::send(&format!("EXTEND_TIMEOUT_USEC={}", LONGER.as_micros()));
            if lives.recv_timeout(OFTEN) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    };
    // Without a thread it has the time that its unit file gives it.
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
