//! Unsafe characters in foreign text that is shown to people.

/// Whether a character controls a terminal, or reorders, hides or breaks the text beside it:
/// control characters (Cc), and of format characters and separators (Cf, Zl, Zp) those for text
/// direction (UAX #9), those of zero width, and tags. Joiners (U+200C and U+200D) are allowed:
/// emoji and Persian need them.
pub fn is_control_or_format(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_there() {
        let bad = "\u{1b}\n\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\u{e0041}\u{ad}";
        assert!(bad.chars().all(is_control_or_format));
        for good in ["Grüße → b", "می\u{200c}خواهم", "👩\u{200d}🚀", "עברית", "𝕏 ½"]
        {
            assert!(!good.contains(is_control_or_format), "{good}");
        }
    }
}
