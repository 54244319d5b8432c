//! The log of the heights at hand: what a validator saw and signed since the last decided block. It is on the disk
//! before any vote that follows from it leaves the node, so that a node that crashed never contradicts itself.
//!
//! The file begins with a header: `octetlg1`, a random number (16 bytes), CRC-32 of both (4). Then follow records: the
//! size of the body (4 bytes), the height (8), CRC-32 of the random number and these (4), the body, and CRC-32 of the
//! random number, size, height and body (4). Numbers are big-endian. All that is written between two syncs is one
//! record, so a power cut damages the last one at most. The random number is secret: whoever has a say in what is
//! logged cannot make bytes that look like a record of this file.
//!
//! A last record that was on the disk and went bad later looks like one that a power cut damaged. No log can tell them
//! apart.

use std::io;

use crc32fast::Hasher;
use octet_node::bytes::Fields;
use octet_node::key::random;
use redb::StorageBackend;

const MAGIC: &[u8; 8] = b"octetlg1";
const HEADER: usize = 8 + 16 + 4;
const PREFIX: usize = 4 + 8 + 4;
const CHECKSUM: usize = 4;

/// The size from which the file is emptied when none of its records is needed, in bytes.
pub const MAX_IDLE: u64 = 1 << 20;

/// The log's file.
#[derive(Debug)]
pub struct HeightLog {
    disk: Box<dyn StorageBackend>,
    secret: [u8; 16],
    size: u64,
    syncs: u64,
}

/// A record: the height, and what [`HeightLog::append`] was given.
pub type LogRecord = (u64, Vec<u8>);

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log cannot be read or written: {0}")]
    Io(#[from] io::Error),
    #[error("the log is damaged at byte {0}, before its last record")]
    Damaged(u64),
}

impl LogError {
    pub fn help(&self) -> &'static str {
        match self {
            Self::Io(_) => "look whether the disk is full or fails",
            Self::Damaged(_) => {
                "the disk fails, or the file was changed: remove the validator's key from the ledger by vote, and \
                 never start it with this key and another log"
            }
        }
    }
}

impl HeightLog {
    /// Opens a log and returns its records. A last record that a power cut damaged is cut off.
    ///
    /// # Errors
    /// The disk fails, or there is damage before the last record.
    pub fn open(disk: Box<dyn StorageBackend>) -> Result<(Self, Vec<LogRecord>), LogError> {
        let mut bytes = vec![0; disk.len()? as usize];
        disk.read(0, &mut bytes)?;
        let mut log = Self { disk, secret: [0; 16], size: HEADER as u64, syncs: 0 };
        let Some(secret) = bytes.get(..HEADER).and_then(secret) else {
            // Nothing was logged before the header was on the disk.
            if bytes.len() > HEADER {
                return Err(LogError::Damaged(0));
            }
            log.restart()?;
            return Ok((log, vec![]));
        };
        log.secret = secret;
        let mut records = vec![];
        let mut at = HEADER;
        while at < bytes.len() {
            let Some((record, size)) = record(&secret, &bytes[at..]) else {
                if !is_last(&secret, &bytes[at..]) {
                    return Err(LogError::Damaged(at as u64));
                }
                log.disk.set_len(at as u64)?;
                log.sync()?;
                break;
            };
            records.push(record);
            at += size;
        }
        log.size = at as u64;
        Ok((log, records))
    }

    /// Appends a record, and returns once it is on the disk.
    ///
    /// # Errors
    /// The disk fails. The caller must end then: what the record has must not be published.
    pub fn append(&mut self, height: u64, body: &[u8]) -> Result<(), LogError> {
        let mut out = (body.len() as u32).to_be_bytes().to_vec();
        out.extend_from_slice(&height.to_be_bytes());
        out.extend_from_slice(&checksum(&self.secret, &[&out]));
        out.extend_from_slice(body);
        out.extend_from_slice(&checksum(&self.secret, &[&out[..12], body]));
        let size = self.size + out.len() as u64;
        self.disk.set_len(size)?;
        self.disk.write(self.size, &out)?;
        self.sync()?;
        self.size = size;
        Ok(())
    }

    /// Whether the file has grown so large that it should be emptied as soon as none of its records is needed.
    pub fn is_large(&self) -> bool {
        self.size >= MAX_IDLE
    }

    /// How often this log waited for the disk.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Empties the file. No record is needed any more, because the heights are decided and on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn restart(&mut self) -> Result<(), LogError> {
        self.disk.set_len(0)?;
        self.sync()?;
        self.secret = random().map_err(io::Error::other)?;
        let mut out = [&MAGIC[..], &self.secret].concat();
        out.extend_from_slice(&checksum(&[], &[&out]));
        self.disk.set_len(HEADER as u64)?;
        self.disk.write(0, &out)?;
        self.sync()?;
        self.size = HEADER as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.syncs += 1;
        Ok(self.disk.sync_data()?)
    }
}

fn checksum(secret: &[u8], parts: &[&[u8]]) -> [u8; CHECKSUM] {
    let mut hasher = Hasher::new();
    hasher.update(secret);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_be_bytes()
}

fn secret(header: &[u8]) -> Option<[u8; 16]> {
    let (body, sum) = header.split_at_checked(HEADER - CHECKSUM)?;
    let is_whole = body.starts_with(MAGIC) && checksum(&[], &[body]) == sum;
    is_whole.then_some(body[MAGIC.len()..].try_into().ok()?)
}

/// The size of the body of the record with which `bytes` begin, and its height, if its prefix is whole.
fn prefix(secret: &[u8; 16], bytes: &[u8]) -> Option<(usize, u64)> {
    let mut fields = Fields(bytes);
    let (size, height, sum) = (fields.u32()?, fields.u64()?, fields.array()?);
    (checksum(secret, &[&bytes[..12]]) == sum).then_some((size as usize, height))
}

/// The record with which `bytes` begin, and its size on the disk.
fn record(secret: &[u8; 16], bytes: &[u8]) -> Option<(LogRecord, usize)> {
    let (size, height) = prefix(secret, bytes)?;
    let (body, rest) = bytes.get(PREFIX..)?.split_at_checked(size)?;
    let sum = rest.get(..CHECKSUM)?;
    let is_whole = checksum(secret, &[&bytes[..12], body]) == sum;
    is_whole.then(|| ((height, body.to_vec()), PREFIX + size + CHECKSUM))
}

/// Whether the damaged record with which `bytes` begin is the last one.
fn is_last(secret: &[u8; 16], bytes: &[u8]) -> bool {
    if let Some((size, _)) = prefix(secret, bytes) {
        return bytes.len() <= PREFIX + size + CHECKSUM;
    }
    (1..bytes.len()).all(|at| record(secret, &bytes[at..]).is_none())
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    fn disk(bytes: &[u8]) -> Box<dyn StorageBackend> {
        let disk = InMemoryBackend::new();
        disk.set_len(bytes.len() as u64).unwrap();
        disk.write(0, bytes).unwrap();
        Box::new(disk)
    }

    fn bytes(log: &HeightLog) -> Vec<u8> {
        let mut bytes = vec![0; log.disk.len().unwrap() as usize];
        log.disk.read(0, &mut bytes).unwrap();
        bytes
    }

    fn three() -> (Vec<u8>, [usize; 3], Vec<LogRecord>) {
        let (mut log, none) = HeightLog::open(disk(&[])).unwrap();
        assert!(none.is_empty());
        let records: Vec<LogRecord> = (1..4).map(|at| (at, vec![at as u8; 100])).collect();
        let ends = [0, 1, 2].map(|at: usize| {
            log.append(records[at].0, &records[at].1).unwrap();
            log.size as usize
        });
        (bytes(&log), ends, records)
    }

    #[test]
    fn a_torn_last_record_is_cut_off_at_every_byte() {
        let (whole, ends, records) = three();
        assert_eq!(HeightLog::open(disk(&whole)).unwrap().1, records);
        for cut in ends[1]..ends[2] {
            let zeros = [&whole[..cut], &vec![0; ends[2] - cut]].concat();
            let mut flipped = whole.clone();
            flipped[cut] ^= 1;
            for torn in [whole[..cut].to_vec(), zeros, flipped] {
                let (mut log, read) = HeightLog::open(disk(&torn)).unwrap();
                if torn != whole {
                    assert_eq!(read, records[..2], "{cut}");
                    assert_eq!(log.size as usize, ends[1]);
                }
                log.append(9, b"next").unwrap();
                let (_, again) = HeightLog::open(disk(&bytes(&log))).unwrap();
                assert_eq!(again.last(), Some(&(9, b"next".to_vec())));
            }
        }
    }

    #[test]
    fn damage_before_the_last_record_is_an_error() {
        let (whole, ends, _) = three();
        for at in 0..ends[1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let error = HeightLog::open(disk(&damaged)).unwrap_err();
            assert!(matches!(error, LogError::Damaged(_)), "{at}: {error}");
        }
    }

    #[test]
    fn a_header_that_a_power_cut_damaged_is_written_anew() {
        let (whole, ..) = three();
        for cut in 0..=HEADER {
            let (log, none) = HeightLog::open(disk(&whole[..cut])).unwrap();
            assert!(none.is_empty());
            assert_eq!(log.size as usize, HEADER);
        }
        assert!(HeightLog::open(disk(&[0; HEADER])).is_ok());
    }

    #[test]
    fn a_large_file_is_emptied() {
        let (mut log, _) = HeightLog::open(disk(&[])).unwrap();
        log.append(1, &vec![0; MAX_IDLE as usize]).unwrap();
        let old = log.secret;
        assert!(log.is_large());
        log.restart().unwrap();
        assert_eq!(log.size as usize, HEADER);
        assert_ne!(log.secret, old);
        log.append(2, b"new").unwrap();
        assert_eq!(HeightLog::open(disk(&bytes(&log))).unwrap().1, [(2, b"new".to_vec())]);
    }
}
