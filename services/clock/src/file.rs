//! The file of the stored time.

use std::io;
use std::path::Path;

use octet_node::durable::{self, ExistingFile, StoredFile, WriteStep};

use crate::record::ClockRecord;

pub const NAME: &str = "last";

/// The marker file that an owner has set the clock back once.
const DOUBTED: &str = "doubted";

/// The maximum size of a record, in bytes.
const LONGEST: u64 = 200;

/// Reads the file in `folder`.
///
/// # Errors
/// Reading fails.
pub fn read(folder: &Path) -> io::Result<StoredFile<ClockRecord>> {
    durable::load(&folder.join(NAME), LONGEST, ClockRecord::parse)
}

/// Whether an owner has set the clock back once.
pub fn is_untrusted(folder: &Path) -> bool {
    folder.join(DOUBTED).exists()
}

/// Records that an owner sets the clock back: `record` replaces the stored one, and the hardware
/// clock is no longer trusted. After a power cut in between, the hardware clock is not trusted if
/// it is ahead of the stored time, which is still the earlier record.
///
/// # Errors
/// Writing fails.
pub fn set_back(folder: &Path, record: ClockRecord) -> io::Result<()> {
    durable::replace(&folder.join(DOUBTED), b"1\n")?;
    write(folder, record, |_| Ok(()))
}

/// Writes `record` to `folder`; it is on disk when this returns. `before` is called before each
/// step, and can abort it.
///
/// # Errors
/// Writing fails; the folder has the old file or the new one then.
pub fn write(
    folder: &Path,
    record: ClockRecord,
    before: impl FnMut(WriteStep) -> io::Result<()>,
) -> io::Result<()> {
    durable::write(&folder.join(NAME), record.to_line().as_bytes(), ExistingFile::Replace, before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tempfile::TempDir;

    #[test]
    fn there_or_damaged_or_absent() {
        let folder = TempDir::new().unwrap();
        let record = |seconds| ClockRecord { until: Duration::from_secs(seconds), boot: 7 };
        assert_eq!(read(folder.path()).unwrap(), StoredFile::Absent);
        for seconds in [5, 4, 600] {
            write(folder.path(), record(seconds), |_| Ok(())).unwrap();
            assert_eq!(read(folder.path()).unwrap(), StoredFile::Value(record(seconds)));
        }
        for bad in [&b""[..], b"600", &[0; 64], &[b'1'; 10_000]] {
            std::fs::write(folder.path().join(NAME), bad).unwrap();
            assert_eq!(read(folder.path()).unwrap(), StoredFile::Damaged);
        }
        std::fs::remove_file(folder.path().join(NAME)).unwrap();
        std::fs::create_dir(folder.path().join(NAME)).unwrap();
        assert!(read(folder.path()).is_err());
        assert!(write(folder.path(), record(1), |_| Ok(())).is_err());
    }
}
