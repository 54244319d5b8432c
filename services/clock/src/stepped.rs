//! Records whether the clock was stepped far in this boot; a restarted process reads it.

use std::path::PathBuf;

use octet_node::boot::BootId;
use octet_node::durable;
use octet_node::say;

/// The name of the file, which has the boot id.
const NAME: &str = "stepped";

/// The maximum size of the file, in bytes.
const LONGEST: u64 = 64;

#[derive(Debug)]
pub struct Stepped {
    file: Option<PathBuf>,
    boot: BootId,
    was: bool,
}

impl Stepped {
    /// Reads the file in `folder` for `boot`; this may block on the disk.
    pub fn open(folder: Option<PathBuf>, boot: BootId) -> Self {
        let file = folder.map(|folder| folder.join(NAME));
        let kept = file.as_deref().and_then(|file| durable::read(file, LONGEST).ok()?);
        let was = kept.is_some_and(|kept| kept == boot.to_string().as_bytes());
        Self { file, boot, was }
    }

    pub fn is_stepped(&self) -> bool {
        self.was
    }

    /// Records that the clock is about to be stepped.
    pub fn record(&mut self) {
        if !std::mem::replace(&mut self.was, true)
            && let Some(file) = &self.file
        {
            let line = self.boot.to_string();
            if let Err(error) = durable::replace(file, line.as_bytes()) {
                say!("the record of the clock's change cannot be stored: {error}");
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
        assert!(!first.is_stepped());
        first.record();
        assert!(first.is_stepped() && open(7).is_stepped() && !open(8).is_stepped());
        assert!(!Stepped::open(None, 7).is_stepped());
    }
}
