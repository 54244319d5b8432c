//! The kernel's log: the records of `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::entry::{LONGEST, char_boundary};

/// More than the longest record; the kernel refuses reads to a shorter buffer.
const BUFFER: usize = 16 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRecord<'a> {
    /// The level: 0 emergency to 7 debug.
    pub level: u8,
    /// The sequence number since boot.
    pub sequence: u64,
    /// Microseconds since the kernel started.
    pub uptime: u64,
    /// The text, without properties.
    pub text: &'a [u8],
}

/// Parses a record: `priority,sequence,uptime,flags[,…];text`, a newline, and properties.
pub fn parse(bytes: &[u8]) -> Option<KernelRecord<'_>> {
    let semicolon = bytes.iter().position(|&byte| byte == b';')?;
    let (prefix, text) = (&bytes[..semicolon], &bytes[semicolon + 1..]);
    let mut fields = std::str::from_utf8(prefix).ok()?.split(',');
    let priority: u64 = fields.next()?.parse().ok()?;
    let sequence = fields.next()?.parse().ok()?;
    let uptime = fields.next()?.parse().ok()?;
    let text = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let text = &text[..char_boundary(text, LONGEST)];
    Some(KernelRecord { level: (priority & 7) as u8, sequence, uptime, text })
}

/// A reader of the kernel's log.
pub struct KernelLog {
    file: OwnedFd,
    next: u64,
    buffer: Vec<u8>,
}

pub enum ReadResult<'a> {
    /// A record, and the number of unread records before it that the kernel has overwritten.
    Record(KernelRecord<'a>, u64),
    /// An invalid record, or one that is stored already.
    Other,
    Nothing,
}

impl KernelLog {
    /// Reads `file` from its oldest record; skips those before number `next`.
    pub fn new(file: OwnedFd, next: u64) -> io::Result<Self> {
        // A previous reader may have moved the position. Files that cannot seek have no earlier
        // records.
        let _ = rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0));
        let flags = rustix::fs::fcntl_getfl(&file)?;
        rustix::fs::fcntl_setfl(&file, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self { file, next, buffer: vec![0; BUFFER] })
    }

    pub fn next(&self) -> u64 {
        self.next
    }

    /// Reads one record.
    ///
    /// # Errors
    /// The log is not readable any more.
    pub fn read(&mut self) -> io::Result<ReadResult<'_>> {
        let count = match rustix::io::read(&self.file, &mut self.buffer[..]) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(ReadResult::Nothing),
            Ok(count) => count,
            // Records were overwritten; the next read returns the oldest remaining one, whose
            // number shows how many are missing.
            Err(Errno::PIPE | Errno::INTR) => return Ok(ReadResult::Other),
            Err(error) => return Err(error.into()),
        };
        let Some(record) = parse(&self.buffer[..count]) else { return Ok(ReadResult::Other) };
        let Some(lost) = record.sequence.checked_sub(self.next) else {
            return Ok(ReadResult::Other);
        };
        self.next = record.sequence + 1;
        Ok(ReadResult::Record(record, lost))
    }
}

impl AsFd for KernelLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_of_a_kernel() {
        let bytes = b"6,339,5140900,-,caller=T1;NET: Registered; protocol 10\n SUBSYSTEM=net\n";
        let record = parse(bytes).unwrap();
        assert_eq!((record.level, record.sequence, record.uptime), (6, 339, 5_140_900));
        assert_eq!(record.text, b"NET: Registered; protocol 10");
        // Records of user space have a facility.
        assert_eq!(parse(b"30,1,2,-;x").unwrap().level, 6);
        // A text that is too long is cut between characters.
        let long = format!("6,1,2,-;{}ä\n", "x".repeat(LONGEST - 1));
        assert_eq!(parse(long.as_bytes()).unwrap().text, "x".repeat(LONGEST - 1).as_bytes());
        for bad in [&b""[..], b"6,1;x", b"6,1,2", b"a,1,2,-;x", b"6,-1,2,-;x", b"\xff,1,2,-;x"] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn numbers_tell_what_is_kept_and_what_is_lost() {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let mut kernel = KernelLog::new(ours.into(), 5).unwrap();
        for number in [4u32, 5, 9] {
            theirs.send(format!("6,{number},100,-;text {number}").as_bytes()).unwrap();
        }
        assert!(matches!(kernel.read().unwrap(), ReadResult::Other));
        assert!(
            matches!(kernel.read().unwrap(), ReadResult::Record(record, 0) if record.text == b"text 5")
        );
        assert!(
            matches!(kernel.read().unwrap(), ReadResult::Record(record, 3) if record.text == b"text 9")
        );
        assert!(matches!(kernel.read().unwrap(), ReadResult::Nothing));
        assert_eq!(kernel.next(), 10);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            parse(&bytes);
        }

        #[test]
        fn never_panics_near_the_truth(prefix in "[0-9,]{0,40}", text in "\\PC*") {
            parse(format!("{prefix};{text}").as_bytes());
        }
    }
}
