//! The log of the heights at hand: what a validator saw and signed since the last decided block. It is on the disk
//! before any vote that follows from it leaves the node, so that a node that crashed never contradicts itself.
//!
//! The file begins with two headers, at bytes 0 and 4096: `octetlg2`, how often the file was emptied (8 bytes), the
//! floor (8), a random number (16), CRC-32 of all this (4). The one that was written last counts: the file is emptied
//! by writing the other one, so a power cut leaves one that is whole, and its records. From byte 8192 on there are records: the
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

const MAGIC: &[u8; 8] = b"octetlg2";
const HEADER: usize = 8 + 8 + 8 + 16 + 4;

/// Where the two headers are. No disk has sectors that are larger.
const HEADERS: [usize; 2] = [0, 4096];

/// Where the records begin, in bytes: the size of a log without one.
pub const RECORDS: usize = 8192;
const PREFIX: usize = 4 + 8 + 4;
const CHECKSUM: usize = 4;

/// The size from which the file is emptied when none of its records is needed, in bytes.
pub const MAX_IDLE: u64 = 1 << 20;

/// The log's file.
#[derive(Debug)]
pub struct HeightLog {
    disk: Box<dyn StorageBackend>,
    header: LogHeader,
    size: u64,
    syncs: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogHeader {
    /// How often the file was emptied before.
    emptied: u64,
    floor: u64,
    secret: [u8; 16],
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
        if bytes.len() < RECORDS {
            // Nothing was logged before both headers were on the disk.
            let header = LogHeader { emptied: 0, floor: 0, secret: new_secret()? };
            let mut log = Self { disk, header, size: RECORDS as u64, syncs: 0 };
            for at in HEADERS {
                log.put_header(at)?;
            }
            log.cut_off(RECORDS as u64)?;
            return Ok((log, vec![]));
        }
        let headers = HEADERS.map(|at| LogHeader::decode(&bytes[at..at + HEADER]));
        let newest = headers.into_iter().flatten().max_by_key(|it| it.emptied);
        let header = newest.ok_or(LogError::Damaged(0))?;
        let secret = header.secret;
        let damaged = headers.iter().position(Option::is_none);
        // A power cut damages a header while the records of the other one are there. Without them the newest is lost.
        if let Some(at) = damaged.filter(|_| record(&secret, &bytes[RECORDS..]).is_none()) {
            return Err(LogError::Damaged(HEADERS[at] as u64));
        }
        let mut log = Self { disk, header, size: RECORDS as u64, syncs: 0 };
        let mut records = vec![];
        let mut at = RECORDS;
        while at < bytes.len() {
            let Some((record, size)) = record(&secret, &bytes[at..]) else {
                if !is_last(&secret, &bytes[at..]) {
                    return Err(LogError::Damaged(at as u64));
                }
                log.cut_off(at as u64)?;
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
        out.extend_from_slice(&checksum(&self.header.secret, &[&out]));
        out.extend_from_slice(body);
        out.extend_from_slice(&checksum(&self.header.secret, &[&out[..12], body]));
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

    /// The height before which nothing may be voted upon: when the file was emptied last, all those were decided.
    pub fn floor(&self) -> u64 {
        self.header.floor
    }

    /// Empties the file. No record is needed any more, because the heights before `floor` are decided and on the disk.
    /// A power cut leaves either the records or the new floor.
    ///
    /// # Errors
    /// The disk fails.
    pub fn restart(&mut self, floor: u64) -> Result<(), LogError> {
        let emptied = self.header.emptied + 1;
        self.header = LogHeader { emptied, floor, secret: new_secret()? };
        self.put_header(HEADERS[usize::from(emptied % 2 == 1)])?;
        self.cut_off(RECORDS as u64)
    }

    fn put_header(&mut self, at: usize) -> Result<(), LogError> {
        let end = (at + HEADER) as u64;
        if self.disk.len()? < end {
            self.disk.set_len(end)?;
        }
        self.disk.write(at as u64, &self.header.encode())?;
        self.sync()
    }

    /// Sets the size of the file.
    fn cut_off(&mut self, size: u64) -> Result<(), LogError> {
        self.disk.set_len(size)?;
        self.size = size;
        self.sync()
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

fn new_secret() -> io::Result<[u8; 16]> {
    random().map_err(io::Error::other)
}

impl LogHeader {
    fn encode(&self) -> Vec<u8> {
        let (emptied, floor) = (self.emptied.to_be_bytes(), self.floor.to_be_bytes());
        let mut out = [&MAGIC[..], &emptied, &floor, &self.secret].concat();
        out.extend_from_slice(&checksum(&[], &[&out]));
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.strip_prefix(MAGIC)?);
        let header = Self { emptied: fields.u64()?, floor: fields.u64()?, secret: fields.array()? };
        (header.encode() == bytes).then_some(header)
    }
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
        for at in RECORDS..ends[1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let error = HeightLog::open(disk(&damaged)).unwrap_err();
            assert!(matches!(error, LogError::Damaged(_)), "{at}: {error}");
        }
    }

    #[test]
    fn a_file_that_a_power_cut_left_unfinished_is_written_anew() {
        let (whole, ..) = three();
        for cut in 0..RECORDS {
            let (log, none) = HeightLog::open(disk(&whole[..cut])).unwrap();
            assert!(none.is_empty());
            assert_eq!((log.size as usize, log.floor()), (RECORDS, 0));
        }
    }

    /// A log that was emptied at height 7 for the second time, as it was before and as it is.
    fn emptied() -> (Vec<u8>, Vec<u8>) {
        let (mut log, _) = HeightLog::open(disk(&[])).unwrap();
        log.restart(2).unwrap();
        log.append(6, &[6; 100]).unwrap();
        let before = bytes(&log);
        log.restart(7).unwrap();
        (before, bytes(&log))
    }

    #[test]
    fn a_power_cut_while_the_file_is_emptied_leaves_the_records_or_the_floor() {
        let (before, after) = emptied();
        let header = HEADERS[0]..HEADERS[0] + HEADER;
        for end in header.clone() {
            // A part of the new header is on the disk.
            let mut torn = before.clone();
            torn[header.start..=end].copy_from_slice(&after[header.start..=end]);
            // Its last bytes, of the checksum, may by chance be those that were there.
            let is_new = torn[header.clone()] == after[header.clone()];
            let (mut log, records) = HeightLog::open(disk(&torn)).unwrap();
            let expected = if is_new { vec![] } else { vec![(6, vec![6; 100])] };
            assert_eq!((records, log.floor()), (expected, if is_new { 7 } else { 2 }), "{end}");
            log.restart(9).unwrap();
            log.append(9, b"next").unwrap();
            let (log, records) = HeightLog::open(disk(&bytes(&log))).unwrap();
            assert_eq!((records, log.floor()), (vec![(9, b"next".to_vec())], 9));
            // The file is cut off once the whole header is there. So this one was damaged later.
            if torn[header.clone()] != before[header.clone()] && !is_new {
                let opened = HeightLog::open(disk(&torn[..RECORDS]));
                assert!(matches!(opened, Err(LogError::Damaged(0))), "{end}");
            }
        }
    }

    #[test]
    fn the_newest_header_is_not_replaced_by_the_older_one() {
        let (before, after) = emptied();
        let (mut log, _) = HeightLog::open(disk(&after)).unwrap();
        log.append(7, b"new").unwrap();
        for (file, newest) in [(&before, 1), (&after, 0), (&bytes(&log), 0)] {
            HeightLog::open(disk(file)).unwrap();
            for at in HEADERS[newest]..HEADERS[newest] + HEADER {
                for value in [file[at] ^ 1, 0] {
                    let mut damaged = file.clone();
                    damaged[at] = value;
                    if damaged != *file {
                        let error = HeightLog::open(disk(&damaged)).unwrap_err();
                        assert!(matches!(error, LogError::Damaged(_)), "{at}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_large_file_is_emptied() {
        let (mut log, _) = HeightLog::open(disk(&[])).unwrap();
        log.append(1, &vec![0; MAX_IDLE as usize]).unwrap();
        let old = log.header.secret;
        assert!(log.is_large());
        log.restart(2).unwrap();
        assert_eq!((log.size as usize, log.floor()), (RECORDS, 2));
        assert_ne!(log.header.secret, old);
        log.append(2, b"new").unwrap();
        assert_eq!(HeightLog::open(disk(&bytes(&log))).unwrap().1, [(2, b"new".to_vec())]);
    }
}
