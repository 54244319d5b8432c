//! Splits bytes into lines.

use crate::entry::{LONGEST, char_boundary};

/// The pending line of a pipe: what was written after the last newline.
#[derive(Debug, Default)]
pub struct Splitter {
    partial: Vec<u8>,
    start: u64,
}

/// A line, with its positions in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Position of the first byte.
    pub start: u64,
    /// Position after the last byte, including the newline.
    pub end: u64,
    /// The line without the newline.
    pub text: Box<[u8]>,
}

impl Splitter {
    /// Adds `bytes`, which start at position `at`, and calls `line` for each complete line. A line
    /// of more than [`LONGEST`] bytes is split.
    pub fn push(&mut self, at: u64, bytes: &[u8], mut line: impl FnMut(Line)) {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            let room = LONGEST - self.partial.len();
            if room == 0 && rest[0] != b'\n' {
                // The line is longer than an entry and is split here; a character that is
                // incomplete so far starts the next entry.
                let begun = [&self.partial[..], &rest[..rest.len().min(3)]].concat();
                let cut = char_boundary(&begun, LONGEST);
                let next = self.partial.split_off(cut);
                let end = at + done as u64 - next.len() as u64;
                line(self.take(end));
                (self.partial, self.start) = (next, end);
                continue;
            }
            let newline = rest.iter().take(room + 1).position(|&byte| byte == b'\n');
            if self.partial.is_empty() {
                self.start = at + done as u64;
            }
            let taken = newline.unwrap_or(rest.len().min(room));
            self.partial.extend_from_slice(&rest[..taken]);
            done += taken + usize::from(newline.is_some());
            // A line of exactly the maximum length may still be followed by its newline.
            if newline.is_some() {
                line(self.take(at + done as u64));
            }
        }
    }

    /// Takes the pending line as one that ends at `end`.
    pub fn finish(&mut self, end: u64) -> Option<Line> {
        (!self.partial.is_empty()).then(|| self.take(end))
    }

    /// The position of the pending line.
    pub fn pending_from(&self) -> Option<u64> {
        (!self.partial.is_empty()).then_some(self.start)
    }

    pub fn pending(&self) -> &[u8] {
        &self.partial
    }

    /// Records that the pending line was moved to position `at`.
    pub fn moved_to(&mut self, at: u64) {
        self.start = at;
    }

    /// Drops the pending line.
    pub fn clear(&mut self) {
        self.partial.clear();
    }

    fn take(&mut self, end: u64) -> Line {
        Line { start: self.start, end, text: std::mem::take(&mut self.partial).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8], piece: usize) -> Vec<Line> {
        let (mut splitter, mut lines, mut at) = (Splitter::default(), vec![], 0);
        for chunk in bytes.chunks(piece) {
            splitter.push(at, chunk, |line| lines.push(line));
            at += chunk.len() as u64;
        }
        lines.extend(splitter.finish(at));
        lines
    }

    #[test]
    fn lines_and_their_places() {
        let lines = split(b"one\n\ntwo", 2);
        let texts: Vec<&[u8]> = lines.iter().map(|line| &line.text[..]).collect();
        assert_eq!(texts, [&b"one"[..], b"", b"two"]);
        assert_eq!(lines.iter().map(|line| line.end).collect::<Vec<_>>(), [4, 5, 8]);
        assert_eq!(lines.iter().map(|line| line.start).collect::<Vec<_>>(), [0, 4, 5]);
    }

    #[test]
    fn a_line_of_the_longest_length_stays_one() {
        let line = vec![b'x'; LONGEST];
        for piece in [1, 7, LONGEST, 3 * LONGEST] {
            assert_eq!(split(&[&line[..], b"\ny\n"].concat(), piece).len(), 2, "{piece}");
            assert_eq!(split(&[&line[..], b"xy\n"].concat(), piece).len(), 2, "{piece}");
        }
    }

    /// A line that is too long for one entry is split, but never within a character.
    #[test]
    fn a_line_is_not_cut_inside_a_character() {
        for character in ["ä", "€", "𝄞"] {
            for before in 0..4 {
                let said = "x".repeat(before) + &character.repeat(4 * LONGEST / character.len());
                for piece in [1, 7, LONGEST, usize::MAX] {
                    let lines = split(said.as_bytes(), piece);
                    let texts: Vec<_> =
                        lines.iter().map(|line| std::str::from_utf8(&line.text).unwrap()).collect();
                    assert_eq!(texts.concat(), said);
                    let least = LONGEST - 3;
                    assert!(texts[..texts.len() - 1].iter().all(|it| it.len() >= least));
                }
            }
        }
        // Bytes that are not UTF-8 are split at the limit.
        for byte in [0x80, 0xc3, 0xff] {
            let lines = split(&vec![byte; 2 * LONGEST], 100);
            assert!(lines.len() <= 3 && lines[0].text.len() >= LONGEST - 3, "{}", lines.len());
        }
    }

    proptest! {
        /// The lines do not depend on how the bytes are divided; none is too long, and together
        /// they are the input.
        #[test]
        fn pieces_do_not_matter(
            bytes in prop::collection::vec(
                prop_oneof![1 => Just(b"\n".to_vec()), 2 => prop::collection::vec(any::<u8>(), 0..50),
                            1 => prop::collection::vec(Just(b'x'), 4000..9000)],
                0..20,
            ).prop_map(|parts| parts.concat()),
            piece in 1usize..10_000,
        ) {
            let lines = split(&bytes, piece);
            prop_assert_eq!(&lines, &split(&bytes, usize::MAX));
            let mut at = 0;
            for line in &lines {
                prop_assert!(line.text.len() <= LONGEST && line.start == at);
                let (start, end) = (line.start as usize, line.end as usize);
                let whole = &bytes[start..end];
                prop_assert!(whole == &line.text[..] || whole.strip_suffix(b"\n") == Some(&line.text[..]));
                at = line.end;
            }
            prop_assert_eq!(at as usize, bytes.len());
        }
    }
}
