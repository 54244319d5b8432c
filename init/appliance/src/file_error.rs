//! The error type for mistakes in files that people edit.

use std::ops::Range;

use miette::{Diagnostic, NamedSource, SourceSpan};

/// A mistake in a file: its position, what it is, and what to do.
///
/// `Display` gives `file:line:column: message`, which works without a terminal; with `miette`'s
/// handler the line itself is shown, marked.
#[derive(Debug, Clone, thiserror::Error, Diagnostic)]
#[error("{file}:{line}:{column}: {message}")]
pub struct FileError {
    /// The file, as given by the user.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    pub message: String,
    /// What to do about it.
    #[help]
    pub hint: String,
    #[source_code]
    text: NamedSource<String>,
    #[label("here")]
    at: SourceSpan,
}

impl FileError {
    /// A mistake at the byte range `at` of `text`, the content of `file`.
    pub fn new(
        file: &str,
        text: &str,
        at: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Box<Self> {
        let (start, end) = clamp(text, at);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Box::new(Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            message: message.into(),
            hint: hint.into(),
            text: NamedSource::new(file, text.to_owned()),
            at: (start, end - start).into(),
        })
    }
}

impl FileError {
    /// The message with the line itself, and the mistake marked below, for programs without a
    /// handler of `miette`.
    pub fn marked(&self) -> String {
        let text = self.text.inner();
        let Some(line) = text.lines().nth(self.line - 1) else { return self.to_string() };
        // Tabs and long lines would misplace the mark.
        let line: String =
            line.chars().take(MAX_LINE).map(|c| if c == '\t' { ' ' } else { c }).collect();
        let before = self.column - 1;
        let left = line.chars().count().saturating_sub(before);
        let (start, length) = (self.at.offset(), self.at.len());
        let wide = text[start..start + length].lines().next().map_or(0, |it| it.chars().count());
        let (number, mark) = (self.line, "^".repeat(wide.clamp(1, left.max(1))));
        let margin = " ".repeat(number.to_string().len());
        format!("{self}\n{number} | {line}\n{margin} | {}{mark}", " ".repeat(before.min(MAX_LINE)))
    }
}

/// Maximum number of characters of a line that are shown.
const MAX_LINE: usize = 160;

/// Moves both ends of `at` back to character boundaries inside `text`.
fn clamp(text: &str, at: Range<usize>) -> (usize, usize) {
    let floor = |mut i: usize| {
        i = i.min(text.len());
        while !text.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let start = floor(at.start);
    (start, floor(at.end).max(start))
}

/// The names of `known` that were most likely meant by `wanted`, best first, at most three.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(score, _)| *score > 0.75)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters() {
        let error = FileError::new("a.toml", "x = 1\nyä = 2\n", 9..10, "wrong", "mend it");
        assert_eq!((error.line, error.column), (2, 3));
        assert_eq!(error.to_string(), "a.toml:2:3: wrong");
    }

    #[test]
    fn the_line_is_shown_and_marked() {
        let text = "a = 1\n\tyä = \"two\nlines\"\n";
        let at = text.find("yä").unwrap();
        let marked = |at| FileError::new("box.toml", text, at, "wrong", "").marked();
        assert_eq!(marked(at..at + 3), "box.toml:2:2: wrong\n2 |  yä = \"two\n  |  ^^");
        // The mistake continues in the next line, or is empty.
        assert!(marked(at + 6..text.len()).ends_with("\n  |       ^^^^"));
        assert!(marked(at..at).ends_with("\n  |  ^"));
        assert_eq!(FileError::new("a.toml", "", 0..0, "wrong", "").marked(), "a.toml:1:1: wrong");
        let long = format!("x = {}", "y".repeat(1000));
        let marked = FileError::new("a.toml", &long, 500..600, "wrong", "").marked();
        assert!(marked.lines().all(|line| line.chars().count() < 170), "{marked}");
    }

    #[test]
    fn survives_ranges_outside_the_text() {
        let error = FileError::new("a.toml", "ä", 1..90, "wrong", "");
        assert_eq!((error.line, error.column), (1, 1));
    }

    #[test]
    fn offers_the_likely_names() {
        assert_eq!(nearest("busibox", ["busybox", "bash", "musl"]), ["busybox"]);
        assert!(nearest("zzz", ["busybox"]).is_empty());
    }
}
