//! Renders answers as text for people: lists of objects as tables, objects as lines.

mod box_drawing;
mod drawing;

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use octet_appliance::is_control_or_format;
use serde_json::Value;

use crate::millionths::show_millionths;
use crate::verb::{ColumnKind, Verb};

pub use box_drawing::{BOX_STYLE, draw_box};

/// Renders the answer `value` of `verb` as text, with a line end.
pub fn render(verb: &Verb, value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) => {
            let width = fields
                .iter()
                .filter(|(_, value)| !is_table(value))
                .map(|(name, _)| name.len())
                .max()
                .unwrap_or(0);
            for (name, value) in fields {
                match value {
                    _ if kind(verb, name) == Some(ColumnKind::Drawing) => {
                        out += &box_drawing::draw(value).unwrap_or_else(|| drawing::draw(value));
                    }
                    Value::Array(lines) if kind(verb, name) == Some(ColumnKind::Lines) => {
                        for line in lines {
                            let _ = writeln!(out, "{}", plain(line));
                        }
                    }
                    Value::String(text) if kind(verb, name) == Some(ColumnKind::Lines) => {
                        for line in text.lines() {
                            let _ = writeln!(out, "{}", plain(&line.into()));
                        }
                    }
                    Value::Array(rows) if is_table(value) => {
                        let _ = write!(out, "\n{}", table(verb, rows));
                    }
                    _ => {
                        let _ = writeln!(out, "{name:width$}  {}", cell(verb, name, value));
                    }
                }
            }
        }
        Value::Array(rows) => out = table(verb, rows),
        Value::String(text) => {
            for line in text.lines() {
                let _ = writeln!(out, "{}", plain(&line.into()));
            }
        }
        Value::Null => {}
        other => {
            let _ = writeln!(out, "{}", plain(other));
        }
    }
    out
}

/// Whether `value` is a list of objects.
pub fn is_table(value: &Value) -> bool {
    matches!(value, Value::Array(rows) if rows.iter().all(Value::is_object))
}

/// Renders rows as columns under their names, in the order of the first row's fields.
fn table(verb: &Verb, rows: &[Value]) -> String {
    let Some(names) = rows.first().and_then(Value::as_object) else {
        return rows.iter().map(|row| plain(row) + "\n").collect();
    };
    let names: Vec<&String> = names.keys().collect();
    let mut lines = vec![names.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>()];
    for row in rows {
        lines.push(names.iter().map(|name| cell(verb, name, &row[name.as_str()])).collect());
    }
    let widths: Vec<usize> = (0..names.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for line in lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(text, &width)| format!("{text:width$}")).collect();
        let _ = writeln!(out, "{}", padded.join("  ").trim_end());
    }
    out
}

/// How the answer's field is shown.
pub fn kind(verb: &Verb, field: &str) -> Option<ColumnKind> {
    verb.columns.iter().find(|column| column.field == field).map(|column| column.kind)
}

/// Renders one value of an answer of `verb` with its unit, in one line. Control characters are replaced.
pub fn cell(verb: &Verb, field: &str, value: &Value) -> String {
    match (kind(verb, field), value) {
        (Some(ColumnKind::Bytes), Value::Number(n)) => bytes(n.as_u64().unwrap_or(0)),
        (Some(ColumnKind::Milliseconds), Value::Number(n)) => {
            format!("{:.3} s", n.as_u64().unwrap_or(0) as f64 / 1000.0)
        }
        (Some(ColumnKind::Millionths), Value::Number(n)) => {
            n.as_i128().map_or_else(|| n.to_string(), show_millionths)
        }
        (Some(ColumnKind::Date), Value::Number(n)) => date(n.as_u64().unwrap_or(0)),
        (_, Value::Object(fields)) => fields
            .iter()
            .map(|(name, value)| {
                format!("{} {}", plain(&name.as_str().into()), cell(verb, name, value))
            })
            .collect::<Vec<_>>()
            .join(", "),
        (_, other) => plain(other),
    }
}

/// Renders a value without quotes; a missing one is `-`. Control characters of the other side never
/// reach the terminal.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::String(text) => {
            let shown = |c| if is_control_or_format(c) && c != '\t' { '\u{fffd}' } else { c };
            text.chars().map(shown).collect()
        }
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Dates end with the last second of the year 9999.
fn date(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let at = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// A number of bytes with a unit.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::operator::Permission;
    use serde_json::json;

    #[test]
    fn objects_and_tables() {
        let verb = Verb::new("status", Permission::Read, "")
            .columns(ColumnKind::Bytes, &["memory"])
            .columns(ColumnKind::Milliseconds, &["since"]);
        let text = render(
            &verb,
            &json!({"state": "ready", "memory": 3_145_728, "units": [
                {"name": "console", "since": 1500, "reason": null},
                {"name": "hi", "since": 20, "reason": "bad\u{1b}[2J"},
            ]}),
        );
        assert_eq!(
            text,
            "state   ready\nmemory  3.0 MiB\n\nNAME     SINCE    REASON\n\
             console  1.500 s  -\nhi       0.020 s  bad\u{fffd}[2J\n"
        );
    }

    #[test]
    fn nothing_is_a_dash() {
        let verb = Verb::new("probe", Permission::Read, "");
        let text = render(
            &verb,
            &json!({"answers": {"10.20.1.2": [], "10.20.3.2": ["icmp"]}, "mac": null}),
        );
        assert_eq!(text, "answers  10.20.1.2 -, 10.20.3.2 icmp\nmac      -\n");
    }

    #[test]
    fn millionths_are_exact() {
        let verb = Verb::new("show", Permission::Read, "").columns(ColumnKind::Millionths, &["n"]);
        for (number, shown) in [
            (json!(0), "0.000000"),
            (json!(7), "0.000007"),
            (json!(-1_250_000), "-1.250000"),
            (json!(u64::MAX), "18446744073709.551615"),
            (json!(i64::MIN), "-9223372036854.775808"),
            (json!(0.5), "0.5"),
            (json!(null), "-"),
        ] {
            assert_eq!(cell(&verb, "n", &number), shown);
        }
    }

    #[test]
    fn a_date_is_a_date() {
        let verb = Verb::new("show", Permission::Read, "").columns(ColumnKind::Date, &["issued"]);
        let text = render(&verb, &json!({"keys": [{"issued": 1_800_000_000}, {"issued": null}]}));
        assert_eq!(text, "\nISSUED\n2027-01-15T08:00:00Z\n-\n");
        assert!(render(&verb, &json!({"issued": u64::MAX})).contains("9999-12-31T23:59:59Z"));
    }

    #[test]
    fn lines_are_shown_as_they_are() {
        let verb = Verb::new("logs", Permission::Read, "").columns(ColumnKind::Lines, &["lines"]);
        assert_eq!(render(&verb, &json!({"lines": ["a", "b  c"]})), "a\nb  c\n");
        assert_eq!(render(&verb, &json!("a b\nc\u{1b}d\n")), "a b\nc\u{fffd}d\n");
        let whole = json!({"sequence": 1, "lines": "a\nb  \u{1b}c\n"});
        assert_eq!(render(&verb, &whole), "sequence  1\na\nb  \u{fffd}c\n");
    }
}
