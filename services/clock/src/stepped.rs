//! Whether the clock was set in this boot already, also for the program that is started after this one.

use std::path::PathBuf;

use octet_node::boot::BootId;
use octet_node::durable;
use octet_node::say;

/// The file, which holds the boot's number.
const NAME: &str = "stepped";

/// More than it takes, in bytes.
const LONGEST: u64 = 64;

#[derive(Debug)]
pub struct Stepped {
    file: Option<PathBuf>,
    boot: BootId,
    was: bool,
}

impl Stepped {
    /// What the file in `folder` says of `boot`; it may have to wait for the disk.
    pub fn open(folder: Option<PathBuf>, boot: BootId) -> Self {
        let file = folder.map(|folder| folder.join(NAME));
        let kept = file.as_deref().and_then(|file| durable::read(file, LONGEST).ok()?);
        let was = kept.is_some_and(|kept| kept == boot.to_string().as_bytes());
        Self { file, boot, was }
    }

    pub fn was(&self) -> bool {
        self.was
    }

    /// It is about to be.
    pub fn note(&mut self) {
        if !std::mem::replace(&mut self.was, true)
            && let Some(file) = &self.file
        {
            let line = self.boot.to_string();
            if let Err(error) = durable::replace(file, line.as_bytes()) {
                say!("that the clock was set cannot be kept: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_this_boot() {
        let folder = tempfile::TempDir::new().unwrap();
        let open = |boot| Stepped::open(Some(folder.path().to_owned()), boot);
        let mut first = open(7);
        assert!(!first.was());
        first.note();
        assert!(first.was() && open(7).was() && !open(8).was());
        assert!(!Stepped::open(None, 7).was());
    }
}
