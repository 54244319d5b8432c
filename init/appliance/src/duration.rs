//! Durations as people write them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration with its unit: `"250ms"`, `"5s"`, `"2m"`, `"1h"`. At most 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(Duration);

/// Text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration: write a whole number and ms, s, m or h, at most 24h, such as \"5s\""
)]
pub struct InvalidSpan(String);

const MAX_SPAN: Duration = Duration::from_secs(24 * 60 * 60);

impl TimeSpan {
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    pub const fn from_secs(s: u64) -> Self {
        Self(Duration::from_secs(s))
    }

    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = InvalidSpan;

    fn try_from(text: String) -> Result<Self, InvalidSpan> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let ms_per_unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(InvalidSpan(text)),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(ms_per_unit))
            .map(Duration::from_millis)
            .filter(|span| *span <= MAX_SPAN)
            .map(Self)
            .ok_or(InvalidSpan(text))
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> String {
        span.to_string()
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0s"),
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1000) => write!(f, "{}s", ms / 1000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_has_no_unit() {
        for bad in ["", "5", "s", "-1s", "1.5s", "25h", "1d", "99999999999999999999s", "5 s"] {
            assert!(TimeSpan::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn prints_what_it_parses(ms in 0u64..=86_400_000) {
            let span = TimeSpan::from_millis(ms);
            prop_assert_eq!(TimeSpan::try_from(span.to_string()), Ok(span));
        }
    }
}
