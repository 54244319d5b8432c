//! Text of the box for a page: `maud` escapes it, and this removes what would hide or reorder text.

use std::borrow::Cow;

use octet_control::is_control_or_format;

/// Characters of one text; a longer one is cut.
const MAX_TEXT: usize = 4096;

/// `text` without control and format characters, cut to a length that a page can carry.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT && !text.contains(is_control_or_format) {
        return Cow::Borrowed(text);
    }
    let mut shown = text.chars().filter(|&c| !is_control_or_format(c));
    let mut cut: String = shown.by_ref().take(MAX_TEXT).collect();
    if shown.next().is_some() {
        cut.push('…');
    }
    Cow::Owned(cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_hides_text_is_removed() {
        assert_eq!(clean("a\u{202e}b\u{1b}[2J\u{200b}c"), "ab[2Jc");
        assert!(matches!(clean("Grüße, `a` → b"), Cow::Borrowed(_)));
        assert_eq!(clean(&"é".repeat(MAX_TEXT + 1)).chars().count(), MAX_TEXT + 1);
        assert!(clean(&"é".repeat(MAX_TEXT + 1)).ends_with('…'));
    }

    proptest! {
        #[test]
        fn nothing_is_left_of_them(text: String) {
            prop_assert!(!clean(&text).contains(is_control_or_format));
        }
    }
}
