//! An entry of the log: one line.

use std::sync::Arc;

/// The unit name of the kernel's lines.
pub const KERNEL: &str = "kernel";

/// The unit name of logd's own lines.
pub const LOGD: &str = "logd";

/// The maximum length of an entry's text, in bytes; a longer line is split.
pub const LONGEST: usize = 4096;

/// The length of the prefix of `text` with at most `most` bytes that ends with a whole character.
/// Bytes that are not UTF-8 count as one character each.
pub fn char_boundary(text: &[u8], most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    // A character has at most four bytes, and the first one defines how many (RFC 3629).
    let cut = (most.saturating_sub(3)..=most).rev().find(|at| text[*at] & 0xc0 != 0x80);
    let Some(cut) = cut.filter(|cut| *cut > 0) else { return most };
    let size = match text[cut] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    // The cut moves to the start of a character only if the whole character is valid.
    let is_whole = text.get(cut..cut + size).is_none_or(|it| std::str::from_utf8(it).is_ok());
    if cut + size > most && is_whole { cut } else { most }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The sequence number: all entries ever are counted from 0.
    pub sequence: u64,
    /// When it was read, in microseconds since 1970 (UTC); it is wrong if the box's clock was.
    pub wall: u64,
    /// When it was read, in microseconds since the kernel started.
    pub uptime: u64,
    pub unit: Arc<str>,
    pub source: LogSource,
    /// The line without the newline; it may be any bytes.
    pub text: Box<[u8]>,
}

impl Entry {
    /// The approximate size in memory, in bytes.
    pub fn cost(&self) -> usize {
        self.text.len() + 192
    }
}

/// The source of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    Output,
    /// The kernel's log, with its level (0 emergency to 7 debug, as in syslog(2)).
    Kernel(u8),
    Logd,
}

impl LogSource {
    /// The code on disk.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Output => 0,
            Self::Logd => 1,
            Self::Kernel(level) => 8 + (level & 7),
        }
    }

    /// The source for a code on disk.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Output),
            1 => Some(Self::Logd),
            8..=15 => Some(Self::Kernel(byte - 8)),
            _ => None,
        }
    }
}
