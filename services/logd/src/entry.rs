//! One line of the log.

use std::sync::Arc;

/// The name under which lines of the kernel are kept.
pub const KERNEL: &str = "kernel";

/// The name under which lines of logd itself are kept.
pub const LOGD: &str = "logd";

/// The longest text of an entry, in bytes; a longer line becomes several.
pub const LONGEST: usize = 4096;

/// How many bytes of `text`, `most` at most, are whole characters. Of what is no UTF-8 every byte is one.
pub fn whole_characters(text: &[u8], most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    // A character has four bytes at most, of which the first says how many (RFC 3629).
    let cut = (most.saturating_sub(3)..=most).rev().find(|at| text[*at] & 0xc0 != 0x80);
    let Some(cut) = cut.filter(|cut| *cut > 0) else { return most };
    let size = match text[cut] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    // The byte before which it would be cut belongs to a character that begins before, and that is as long as it says.
    let is_whole = text.get(cut..cut + size).is_none_or(|it| std::str::from_utf8(it).is_ok());
    if cut + size > most && is_whole { cut } else { most }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counts every line that was ever kept, from 0.
    pub sequence: u64,
    /// When it was read, in microseconds since 1970 (UTC), as far as the box knew the time.
    pub wall: u64,
    /// The same in microseconds since the kernel started.
    pub uptime: u64,
    pub unit: Arc<str>,
    pub source: LogSource,
    /// The line without its end; any bytes.
    pub text: Box<[u8]>,
}

impl Entry {
    /// About what it costs to hold, in bytes.
    pub fn cost(&self) -> usize {
        self.text.len() + 192
    }
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// A unit's standard output or error.
    Output,
    /// The kernel, with its level (0 emergency to 7 debug, as syslog(2)).
    Kernel(u8),
    Logd,
}

impl LogSource {
    /// As a number on disk.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Output => 0,
            Self::Logd => 1,
            Self::Kernel(level) => 8 + (level & 7),
        }
    }

    /// The source that `byte` stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Output),
            1 => Some(Self::Logd),
            8..=15 => Some(Self::Kernel(byte - 8)),
            _ => None,
        }
    }
}
