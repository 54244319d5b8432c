//! The records that every instance of a trivial unit writes at its start: whole records are
//! appended to a file in memory, so that no daemon affects the measurement.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

pub const ROLL: &str = "/run/roll";

/// The size of a record in bytes: unit, time and process, each in 64 bits, little-endian.
pub const RECORD: usize = 24;

/// One instance of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The number of the unit, from 1.
    pub unit: u64,
    /// The time of the record, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    pub pid: u64,
}

impl Start {
    /// The calling process, as an instance of `unit`.
    pub fn now(unit: u64) -> Self {
        Self { unit, at: now(), pid: std::process::id().into() }
    }

    /// Appends the record. Records of several processes are not mixed, because the kernel holds the
    /// file's lock during a write.
    ///
    /// # Errors
    /// Writing fails.
    pub fn append(&self, path: &Path) -> io::Result<()> {
        let bytes = [self.unit, self.at, self.pid].map(u64::to_le_bytes).concat();
        File::options().create(true).append(true).open(path)?.write_all(&bytes)
    }
}

/// All records, the oldest first; empty if the file does not exist.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<Start>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        bytes => Ok(parse(&bytes?)),
    }
}

fn parse(bytes: &[u8]) -> Vec<Start> {
    let (words, _) = bytes.as_chunks::<8>();
    let (records, _) = words.as_chunks::<3>();
    records
        .iter()
        .map(|record| record.map(u64::from_le_bytes))
        .map(|[unit, at, pid]| Start { unit, at, pid })
        .collect()
}

/// `CLOCK_MONOTONIC` in nanoseconds: the time since the boot.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order() {
        let path = std::env::temp_dir().join(format!("octet-roll-{}", std::process::id()));
        assert_eq!(read(&path).unwrap(), []);
        let starts = [Start::now(7), Start::now(500)];
        starts.iter().for_each(|start| start.append(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().len(), 2 * RECORD as u64);
        assert_eq!(read(&path).unwrap(), starts);
        assert!(starts[0].at <= starts[1].at && starts[0].pid > 0);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_not_whole_yet_is_left_out() {
        assert_eq!(parse(&[0; RECORD + 5]).len(), 1);
    }
}
