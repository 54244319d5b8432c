//! The answer of any verb as HTML: objects as definition lists, lists of objects as tables, each field as its
//! [`ColumnKind`] says.

use maud::{Markup, html};
use octet_control::render::{cell, is_table, kind};
use octet_control::{ColumnKind, Verb};
use serde_json::{Map, Value};

use crate::text::clean;

/// Rows of a table on a page, and lines of a text.
const MAX_ROWS: usize = 256;
const MAX_LINES: usize = 1000;

/// Objects in objects are shown as lists down to this depth; deeper ones in one line.
const MAX_DEPTH: usize = 3;

/// The answer `value` of `verb`; an unknown verb has no columns.
pub fn answer(verb: Option<&Verb>, value: &Value) -> Markup {
    let plain = Verb::new("", octet_control::Permission::Read, "");
    nested(verb.unwrap_or(&plain), value, 0)
}

fn nested(verb: &Verb, value: &Value, depth: usize) -> Markup {
    match value {
        Value::Object(fields) => object(verb, fields, depth),
        Value::Array(rows) if is_table(value) && !rows.is_empty() => table(verb, rows),
        Value::Array(items) if items.is_empty() => html! { p { "Nothing." } },
        Value::Array(items) => html! {
            ul { @for item in items.iter().take(MAX_ROWS) { li { (value_text(verb, "", item)) } } }
            (more(items.len(), MAX_ROWS))
        },
        Value::String(text) => lines(text.lines().map(str::to_owned).collect()),
        Value::Null => html! {},
        other => html! { p { (value_text(verb, "", other)) } },
    }
}

/// The fields with one value as a list, and below it those with several.
fn object(verb: &Verb, fields: &Map<String, Value>, depth: usize) -> Markup {
    let is_large = |name: &str, value: &Value| {
        kind(verb, name) == Some(ColumnKind::Lines)
            || matches!(value, Value::Array(rows) if is_table(value) && !rows.is_empty())
            || (depth < MAX_DEPTH && matches!(value, Value::Object(inner) if !inner.is_empty()))
    };
    let small = || fields.iter().filter(|(name, value)| !is_large(name, value));
    let large = fields.iter().filter(|(name, value)| is_large(name, value));
    html! {
        @if small().next().is_some() {
            dl {
                @for (name, value) in small() { dt { (label(name)) } dd { (value_text(verb, name, value)) } }
            }
        }
        @for (name, value) in large {
            h3 { (label(name)) }
            @match (kind(verb, name), value) {
                (Some(ColumnKind::Lines), Value::Array(all)) => (lines(all.iter().map(line_text).collect())),
                (Some(ColumnKind::Lines), Value::String(text)) => (lines(text.lines().map(str::to_owned).collect())),
                _ => (nested(verb, value, depth + 1)),
            }
        }
    }
}

fn table(verb: &Verb, rows: &[Value]) -> Markup {
    // A field that only some rows have is a column, too.
    let mut names: Vec<&String> = Vec::new();
    for name in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    html! {
        div.wide tabindex="0" {
            table {
                thead { tr { @for name in &names { th scope="col" { (label(name)) } } } }
                tbody {
                    @for row in rows.iter().take(MAX_ROWS) {
                        tr {
                            @for (index, name) in names.iter().enumerate() {
                                @let text = value_text(verb, name, &row[name.as_str()]);
                                @if index == 0 { th scope="row" { (text) } } @else { td { (text) } }
                            }
                        }
                    }
                }
            }
        }
        (more(rows.len(), MAX_ROWS))
    }
}

/// Lines of a log or of a report, unchanged but for characters that would hide text.
pub fn lines(all: Vec<String>) -> Markup {
    let from = all.len().saturating_sub(MAX_LINES);
    html! {
        @if from > 0 { p { "Only the last " (MAX_LINES) " of " (all.len()) " lines." } }
        @if all.is_empty() { p { "Nothing." } } @else {
            pre tabindex="0" { @for line in &all[from..] { (clean(line)) "\n" } }
        }
    }
}

pub fn line_text(line: &Value) -> String {
    line.as_str().map_or_else(|| line.to_string(), str::to_owned)
}

fn more(count: usize, shown: usize) -> Markup {
    html! { @if count > shown { p { (count - shown) " more are not shown." } } }
}

/// A field's name as a person reads it.
fn label(name: &str) -> String {
    clean(name).replace('_', " ")
}

/// One value in one line; `-` if it is missing.
pub fn value_text(verb: &Verb, name: &str, value: &Value) -> String {
    match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) if kind(verb, name).is_none() => clean(text).into_owned(),
        other => clean(&cell(verb, name, other)).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_control::Permission;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn fields_are_shown_by_their_kind() {
        let verb = Verb::new("stats", Permission::Read, "")
            .columns(ColumnKind::Bytes, &["free"])
            .columns(ColumnKind::Date, &["since"])
            .columns(ColumnKind::Milliseconds, &["took"])
            .columns(ColumnKind::Lines, &["report"]);
        let value = json!({
            "free": 3_145_728, "since": 1_800_000_000, "took": 1500, "is_on": true, "gone": null,
            "report": ["a <b>", "c"], "rows": [{ "name": "x", "free": 1024 }, { "name": "y", "note": "late" }],
            "inner": { "free": 1 }, "none": [],
        });
        let page = answer(Some(&verb), &value).into_string();
        for part in [
            "<dt>free</dt><dd>3.0 MiB</dd>",
            "<dd>2027-01-15T08:00:00Z</dd>",
            "<dd>1.500 s</dd>",
            "<dt>is on</dt><dd>yes</dd>",
            "<dt>gone</dt><dd>-</dd>",
            "<dt>none</dt><dd>-</dd>",
            "a &lt;b&gt;\nc\n</pre>",
            "<th scope=\"col\">note</th>",
            "<tr><th scope=\"row\">x</th><td>1.0 KiB</td><td>-</td></tr>",
            "<h3>inner</h3><dl><dt>free</dt><dd>1 B</dd></dl>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert_eq!(answer(None, &Value::Null).into_string(), "");
        assert_eq!(lines(vec![]).into_string(), "<p>Nothing.</p>");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever a box answers, its text is neither markup nor hidden.
        #[test]
        fn no_answer_is_markup(value in any_value()) {
            let hostile = json!({ "a": value, "<script>": "<script>\u{202e}" });
            let page = answer(None, &hostile).into_string();
            prop_assert!(!page.contains("<script"));
            let hides = |c| octet_control::is_control_or_format(c) && c != '\n';
            prop_assert!(!page.contains(hides));
        }
    }
}
