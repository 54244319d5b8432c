//! How many guests run at once, over all test processes of a user: one per core, and one for those that wait for a
//! watchdog or a trial to end. More only make each other late.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long who waits sleeps between two looks.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The right to run one guest, for as long as the value lives.
#[derive(Debug)]
pub struct Slot {
    _lock: File,
}

impl Slot {
    /// Takes a slot; waits for one if all are taken.
    pub fn take() -> io::Result<Self> {
        let uid = rustix::process::getuid().as_raw();
        let folder = std::env::temp_dir().join(format!("octet-machines-{uid}"));
        let slots = std::thread::available_parallelism().map_or(1, usize::from) + 1;
        Self::take_in(&folder, slots)
    }

    fn take_in(folder: &Path, slots: usize) -> io::Result<Self> {
        own_folder(folder)?;
        // The kernel has no wait for any one of several locks.
        loop {
            for slot in 0..slots {
                let file = open(folder, slot)?;
                match file.try_lock() {
                    Ok(()) => return Ok(Self { _lock: file }),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
            std::thread::sleep(RETRY_DELAY);
        }
    }
}

fn open(folder: &Path, slot: usize) -> io::Result<File> {
    let path: PathBuf = folder.join(format!("slot-{slot}"));
    File::options().create(true).append(true).open(path)
}

/// The folder lies where everybody may write: it must be ours.
fn own_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    if found.is_dir() && found.uid() == rustix::process::getuid().as_raw() {
        return Ok(());
    }
    let message = format!("{} is not a folder of yours: remove it", folder.display());
    Err(io::Error::other(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{TryRecvError, channel};

    #[test]
    fn the_next_one_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slots");
        let first = Slot::take_in(&path, 2).unwrap();
        let second = Slot::take_in(&path, 2).unwrap();
        let (sender, taken) = channel();
        let third = path.clone();
        let waiting = std::thread::spawn(move || {
            let slot = Slot::take_in(&third, 2).unwrap();
            sender.send(()).unwrap();
            drop(slot);
        });
        assert_eq!(taken.try_recv(), Err(TryRecvError::Empty));
        // Whichever becomes free will do.
        drop(first);
        taken.recv().unwrap();
        waiting.join().unwrap();
        drop(second);
    }

    #[test]
    fn a_foreign_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slots");
        std::os::unix::fs::symlink("/", &path).unwrap();
        assert!(Slot::take_in(&path, 1).is_err());
    }
}
