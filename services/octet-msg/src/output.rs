//! Formats messages for the terminal, without control characters.

use std::time::{Duration, UNIX_EPOCH};

use octet_messages::history::HistoryEntry;
use octet_node::control::is_control_or_format;

/// A line of the history with the contact `name`.
pub fn entry(entry: &HistoryEntry, name: &str) -> String {
    let written = UNIX_EPOCH.checked_add(Duration::from_secs(entry.written.min(253_402_300_799)));
    let written = humantime::format_rfc3339_seconds(written.unwrap_or(UNIX_EPOCH));
    let who = if entry.received { format!("{name}:") } else { format!("to {name}:") };
    format!("{written} {who} {}", plain(&entry.text))
}

/// `text` without terminal controls, and with further lines indented.
pub fn plain(text: &str) -> String {
    let plain = |letter: char| match letter {
        '\n' => "\n    ".to_owned(),
        '\t' => " ".to_owned(),
        // This includes characters that hide text or change the writing direction.
        letter if is_control_or_format(letter) => char::REPLACEMENT_CHARACTER.to_string(),
        letter => letter.to_string(),
    };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::key::PrivateKey;

    #[test]
    fn a_letter_does_not_command_the_terminal() {
        let peer = PrivateKey::generate().unwrap().public();
        let text = "one\x1b[2J\ntwo\u{202e}\u{9b}".to_owned();
        let line = HistoryEntry { peer, received: true, number: 1, written: 0, text };
        let shown = entry(&line, "ben");
        assert_eq!(shown, "1970-01-01T00:00:00Z ben: one\u{fffd}[2J\n    two\u{fffd}\u{fffd}");
        let joined = HistoryEntry {
            text: "👩\u{200d}🚀 می\u{200c}خواهم\u{200b}".to_owned(),
            ..line.clone()
        };
        assert!(entry(&joined, "ben").ends_with("👩\u{200d}🚀 می\u{200c}خواهم\u{fffd}"));
        let far = HistoryEntry { written: u64::MAX, ..line };
        assert!(entry(&far, "ben").starts_with("9999-12-31T23:59:59Z"));
    }
}
