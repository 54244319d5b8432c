//! Texts that become a line.

use std::borrow::Cow;
use std::fmt::Write;

use octet_appliance::is_control_or_format;

/// `text` as one line, without its end: control characters in it, newlines too, and what hides or turns text beside it are
/// escaped as Rust writes them. A part of
/// what is written down may be another's words, and nobody may write a line in somebody else's name.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control_or_format) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_control_or_format(c) {
            // A string takes everything.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

/// `text` with its lines as they are, each as [`one_line`] writes it: what another says commands no terminal.
pub fn lines(text: &str) -> String {
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
        assert_eq!(lines(text), "no such unit\n  help: \\u{1b}[2J\\u{1b}]0;x\\u{7}look");
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
