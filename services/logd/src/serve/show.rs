//! Formats entries as answers.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::entry::{Entry, LogSource};
use crate::read::BatchItem;

/// Formats a batch as one item of an answer: `{"lines": […]}` with lines of text, or objects with
/// `fields`.
pub fn show(found: &[BatchItem], fields: bool) -> Value {
    let lines = found.iter().map(|found| match (found, fields) {
        (BatchItem::Entry(entry), false) => line(entry).into(),
        (BatchItem::Entry(entry), true) => object(entry),
        (BatchItem::Missing(count), false) => {
            format!("-- {count} lines are missing here --").into()
        }
        (BatchItem::Missing(count), true) => json!({ "missing": count }),
    });
    json!({ "lines": lines.collect::<Vec<Value>>() })
}

fn line(entry: &Entry) -> String {
    format!("{} {} {}", time(entry.wall), entry.unit, String::from_utf8_lossy(&entry.text))
}

fn object(entry: &Entry) -> Value {
    let (source, level) = match entry.source {
        LogSource::Output => ("output", None),
        LogSource::Logd => ("logd", None),
        LogSource::Kernel(level) => ("kernel", Some(level)),
    };
    json!({
        "sequence": entry.sequence, "time": time(entry.wall), "uptime": entry.uptime / 1000,
        "unit": *entry.unit, "source": source, "level": level,
        "text": String::from_utf8_lossy(&entry.text),
    })
}

/// Formats a time; one out of range, from a wrong clock, is clamped.
fn time(micros: u64) -> String {
    /// The last microsecond of the year 9999, the maximum of RFC 3339.
    const LAST: u64 = 253_402_300_799_999_999;
    let time = UNIX_EPOCH + Duration::from_micros(micros.min(LAST));
    humantime::format_rfc3339_millis(time).to_string()
}

/// Parses a start time to microseconds since 1970: a duration before `now` (`10m`, `1h 30m`), or a
/// date (RFC 3339; UTC; `2026-01-31 12:00:00` and `2026-01-31` are accepted).
pub fn since(text: &str, now: u64) -> Option<u64> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Some(now.saturating_sub(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX)));
    }
    let date = humantime::parse_rfc3339_weak(text)
        .or_else(|_| humantime::parse_rfc3339_weak(&format!("{text} 00:00:00")))
        .ok()?;
    u64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments() {
        let now = 1_800_000_000_000_000;
        assert_eq!(since("10s", now), Some(now - 10_000_000));
        assert_eq!(since("1970-01-02", now), Some(86_400_000_000));
        assert_eq!(since("1970-01-01T00:00:01Z", now), Some(1_000_000));
        assert_eq!(since("1970-01-01 00:00:02", now), Some(2_000_000));
        assert_eq!(since("yesterday", now), None);
        assert_eq!(time(1_500_000), "1970-01-01T00:00:01.500Z");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*", near in "[0-9 :TZhms.+-]{0,25}", micros: u64) {
            since(&text, micros);
            since(&near, micros);
            time(micros);
        }
    }
}
