//! The last lines of a unit's output, in memory.

use std::collections::VecDeque;
use std::os::fd::AsFd;

/// How much output is kept of each unit, in bytes.
const KEPT: usize = 16 << 10;

/// A longer line is cut into several of this many bytes.
const LONGEST_LINE: usize = 1024;

/// How much is read at once: a unit that floods its log gets no more of PID 1's time than this
/// per turn, and waits.
const AT_ONCE: usize = 16 << 10;

/// What one line costs besides its text.
const OVERHEAD: usize = size_of::<String>();

/// The last lines of one unit.
#[derive(Debug, Default)]
pub struct LogRing {
    lines: VecDeque<String>,
    size: usize,
    partial: Vec<u8>,
}

impl LogRing {
    /// Takes what there is to read, once.
    pub fn read_from(&mut self, output: impl AsFd) {
        let mut bytes = [0; AT_ONCE];
        if let Ok(count) = rustix::io::read(output, &mut bytes) {
            self.push(&bytes[..count]);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.partial.push(byte);
            }
            if byte == b'\n' || self.partial.len() >= LONGEST_LINE {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial.clear();
        self.size += line.len() + OVERHEAD;
        self.lines.push_back(line);
        while self.size > KEPT {
            let Some(gone) = self.lines.pop_front() else {
                break;
            };
            self.size -= gone.len() + OVERHEAD;
        }
    }

    /// The last `count` lines, oldest first; a line that is not ended yet counts as one.
    pub fn last(&self, count: usize) -> Vec<String> {
        let partial =
            (!self.partial.is_empty()).then(|| String::from_utf8_lossy(&self.partial).into());
        let all: Vec<String> = self.lines.iter().cloned().chain(partial).collect();
        all[all.len().saturating_sub(count)..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_come_out_as_they_went_in() {
        let mut ring = LogRing::default();
        ring.push(b"one\ntw");
        ring.push(b"o\nthree");
        assert_eq!(ring.last(10), ["one", "two", "three"]);
        assert_eq!(ring.last(2), ["two", "three"]);
    }

    proptest! {
        /// Whatever a unit writes, memory is bounded and what is kept is the end.
        #[test]
        fn bounded(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..30)) {
            let mut ring = LogRing::default();
            for chunk in &chunks {
                ring.push(chunk);
                let real: usize = ring.lines.iter().map(|line| line.len() + OVERHEAD).sum();
                prop_assert_eq!(real, ring.size);
                // Bytes that are no UTF-8 grow threefold when shown.
                prop_assert!(ring.size <= KEPT && ring.partial.len() < LONGEST_LINE);
            }
        }
    }
}
