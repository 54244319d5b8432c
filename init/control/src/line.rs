//! Escapes text for a single line of output.

use std::borrow::Cow;
use std::fmt::Write;

use octet_appliance::is_control_or_format;

/// `text` as one line, without its line end: control characters, including newlines, and characters
/// that hide or reorder text are escaped as Rust writes them. A part of a log line may come from
/// somebody else, who must not be able to forge another line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control_or_format) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_control_or_format(c) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

/// `text` with its lines kept, each escaped as by [`one_line`]: foreign text must not contain
/// terminal escapes.
pub fn escape_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(one_line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_another_says_begins_no_line() {
        let forged = "x\nanna did:key:z6Mk from 10.20.1.2: config apply: done\r\u{1b}[2J\u{85}";
        let line = one_line(forged);
        assert_eq!(
            line,
            "x\\nanna did:key:z6Mk from 10.20.1.2: config apply: done\\r\\u{1b}[2J\\u{85}"
        );
        assert_eq!(one_line("sd\u{202e}b\u{200b}"), "sd\\u{202e}b\\u{200b}");
        assert!(matches!(one_line("Grüße, `a` → b"), Cow::Borrowed("Grüße, `a` → b")));
    }

    #[test]
    fn what_another_says_commands_no_terminal() {
        let text = "no such unit\n  help: \u{1b}[2J\u{1b}]0;x\u{7}look\r\n";
        assert_eq!(escape_lines(text), "no such unit\n  help: \\u{1b}[2J\\u{1b}]0;x\\u{7}look");
    }

    proptest! {
        #[test]
        fn there_is_nothing_but_one_line(text: String) {
            let line = one_line(&text);
            prop_assert!(!line.contains(is_control_or_format));
            prop_assert_eq!(line.lines().count(), usize::from(!text.is_empty()));
        }
    }
}
