//! A line of the log, as the verb `logs` gives it with `fields`.

use serde_json::Value;

/// A line that a unit, PID 1 (`init`) or the kernel has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When, in milliseconds since that boot's kernel start.
    pub uptime: u64,
    /// Who has made the line of it: `output` is the unit itself, `logd` speaks of what is missing.
    pub source: String,
    pub text: String,
}

impl LogLine {
    /// The line; `None` if `value` is the place of lines that are missing.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        Some(Self {
            uptime: value["uptime"].as_u64()?,
            source: value["source"].as_str()?.to_owned(),
            text: value["text"].as_str()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_logd_writes() {
        let line = json!({
            "sequence": 7, "time": "2026-01-31T12:00:00.000Z", "uptime": 1500, "unit": "a",
            "source": "output", "level": null, "text": "hello",
        });
        let expected = LogLine { uptime: 1500, source: "output".into(), text: "hello".into() };
        assert_eq!(LogLine::read(&line), Some(expected));
        assert_eq!(LogLine::read(&json!({ "missing": 3 })), None);
    }
}
