//! Figures as short texts.

/// Shown in place of a value that is not known.
pub(crate) const UNKNOWN: &str = "-";

/// The first `columns` characters. Those that the fonts lack (ISO 8859-1, without its control
/// characters) become `?`.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    let in_font = |c: char| matches!(c, ' '..='~' | '\u{a0}'..='\u{ff}');
    text.chars().take(columns).map(|c| if in_font(c) { c } else { '?' }).collect()
}

/// Two lines of at most `columns` characters, broken at a space if one is there.
pub(crate) fn two_lines(text: &str, columns: usize) -> (String, String) {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= columns {
        return (text.to_owned(), String::new());
    }
    let space = letters.iter().take(columns + 1).rposition(|&c| c == ' ').filter(|&at| at > 0);
    let (end, next) = space.map_or((columns, columns), |at| (at, at + 1));
    let part = |letters: &[char]| letters.iter().take(columns).collect();
    (part(&letters[..end]), part(&letters[next..]))
}

/// An IPv4 address that is longer than `columns` is broken after its second number.
pub(crate) fn address_lines(address: &str, columns: usize) -> (String, String) {
    let second_dot = address.match_indices('.').nth(1).map(|(at, _)| at + 1);
    match second_dot.filter(|_| address.len() > columns) {
        Some(at) => (address[..at].to_owned(), address[at..].to_owned()),
        None => two_lines(address, columns),
    }
}

pub(crate) fn percent(value: Option<u8>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{}%", value.min(100)))
}

/// At most 9 characters.
pub(crate) fn rate(bytes_per_second: Option<u64>) -> String {
    let Some(mut value) = bytes_per_second else { return UNKNOWN.to_owned() };
    let mut tenths = None;
    let mut units = ["B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s", "EB/s"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while value >= 1000 {
        let Some(larger) = units.next() else { break };
        unit = larger;
        tenths = Some(value % 1000 / 100);
        value /= 1000;
    }
    match tenths.filter(|_| value < 100) {
        Some(tenths) => format!("{value}.{tenths} {unit}"),
        None => format!("{value} {unit}"),
    }
}

/// At most 5 characters.
pub(crate) fn coins(per_hour: Option<f64>) -> String {
    let Some(value) = per_hour.filter(|value| value.is_finite()) else {
        return UNKNOWN.to_owned();
    };
    let from_exact = [
        format!("{value:.2}"),
        format!("{value:.1}"),
        format!("{value:.0}"),
        format!("{:.0}k", value / 1e3),
        format!("{:.0}M", value / 1e6),
        format!("{value:.0e}"),
    ];
    let short = from_exact.into_iter().find(|text| text.len() <= 5);
    short.unwrap_or_else(|| UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_of_the_font() {
        assert_eq!(cut("küche\n箱 7", 7), "küche??");
        assert_eq!(cut("", 7), "");
    }

    #[test]
    fn lines_are_broken_where_a_word_ends() {
        let lines = |text| two_lines(text, 10);
        assert_eq!(lines("kitchen"), ("kitchen".into(), String::new()));
        assert_eq!(lines("kitchen box one"), ("kitchen".into(), "box one".into()));
        assert_eq!(lines("0123456789 x"), ("0123456789".into(), "x".into()));
        assert_eq!(lines("octet-kitchen"), ("octet-kitc".into(), "hen".into()));
        assert_eq!(lines(" 0123456789"), (" 012345678".into(), "9".into()));
        assert_eq!(address_lines("10.1.2.3", 10), ("10.1.2.3".into(), String::new()));
        assert_eq!(address_lines("192.168.100.200", 10), ("192.168.".into(), "100.200".into()));
    }

    #[test]
    fn a_value_that_is_not_known_is_a_dash() {
        assert_eq!([percent(None), rate(None), coins(None), coins(Some(f64::NAN))], ["-"; 4]);
        assert_eq!([percent(Some(0)), rate(Some(0)), coins(Some(0.0))], ["0%", "0 B/s", "0.00"]);
    }

    #[test]
    fn rates_have_three_digits() {
        let shown = |value| rate(Some(value));
        assert_eq!(shown(999), "999 B/s");
        assert_eq!(shown(1_000), "1.0 kB/s");
        assert_eq!(shown(12_399), "12.3 kB/s");
        assert_eq!(shown(999_999), "999 kB/s");
        assert_eq!(shown(u64::MAX), "18.4 EB/s");
        assert_eq!(percent(Some(255)), "100%");
    }

    #[test]
    fn coins_stay_short() {
        let shown = |value| coins(Some(value));
        assert_eq!(shown(1.256), "1.26");
        assert_eq!(shown(99.996), "100.0");
        assert_eq!(shown(-12.34), "-12.3");
        assert_eq!(shown(123_456.0), "123k");
        assert_eq!(shown(2.5e8), "250M");
        assert_eq!(shown(1e300), "1e300");
    }
}
