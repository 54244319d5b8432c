//! Amounts in millionths of a unit, as people read and write them.

/// A number of millionths as a number of units, exactly.
pub fn show_millionths(count: impl Into<i128>) -> String {
    let exact = count.into();
    let (sign, all) = (if exact < 0 { "-" } else { "" }, exact.unsigned_abs());
    format!("{sign}{}.{:06}", all / 1_000_000, all % 1_000_000)
}

/// An amount in millionths, from a decimal number of units with at most six decimals, such as `0.25`.
pub fn parse_millionths(text: &str) -> Option<u64> {
    let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    if !is_number(units) || !is_number(decimals) || decimals.len() > 6 {
        return None;
    }
    let units: u64 = units.parse().ok()?;
    let rest: u64 = format!("{decimals:0<6}").parse().ok()?;
    units.checked_mul(1_000_000)?.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_amount_has_at_most_six_decimals() {
        for (text, amount) in [
            ("0", Some(0)),
            ("6.734307", Some(6_734_307)),
            ("0.25", Some(250_000)),
            ("18446744073709.551615", Some(u64::MAX)),
            ("18446744073709.551616", None),
            ("0.0000001", None),
            ("-1", None),
            ("+1", None),
            ("1.", None),
            (".5", None),
            ("1,5", None),
            ("", None),
        ] {
            assert_eq!(parse_millionths(text), amount, "{text}");
        }
    }

    proptest! {
        /// What is shown can be typed: six decimals.
        #[test]
        fn an_amount_is_read_as_it_is_shown(amount: u64) {
            prop_assert_eq!(parse_millionths(&show_millionths(amount)), Some(amount));
        }

        #[test]
        fn any_text_is_an_amount_or_not(text in "\\PC{0,20}") {
            let _ = parse_millionths(&text);
        }
    }
}
