//! Draws rows on a time axis (SVG): how long each step took, and what it waited for.

use std::fmt::Write;

use octet_appliance::is_control_or_format;
use serde::Deserialize;
use serde_json::Value;

/// Height of a row, and width of the names on the left, in pixels.
const ROW_HEIGHT: u64 = 18;
const LABEL_WIDTH: u64 = 170;

/// Width of the time axis in pixels.
const WIDTH: u64 = 900;

/// The content of a drawing; all times are in milliseconds.
#[derive(Deserialize)]
struct Drawing {
    rows: Vec<Row>,
    /// When everything was ready.
    #[serde(default)]
    ready_at: Option<u64>,
}

/// One row: its name, when its start began, and when it was ready.
#[derive(Deserialize)]
struct Row {
    name: String,
    kind: String,
    start: u64,
    #[serde(default)]
    ready: Option<u64>,
}

/// Draws `value`; nothing if it is not a drawing.
pub fn draw(value: &Value) -> String {
    let Ok(Drawing { rows, ready_at }) = Drawing::deserialize(value) else { return String::new() };
    let ends = rows.iter().map(|row| row.ready.unwrap_or(row.start)).chain(ready_at);
    let last = ends.max().unwrap_or(0).max(1);
    let x = |time: u64| LABEL_WIDTH + time.min(last) * WIDTH / last;
    let (width, height) = (LABEL_WIDTH + WIDTH + 90, ROW_HEIGHT * (rows.len() as u64 + 2));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"12\">\n\
         <style>.phase{{fill:#888}}.base{{fill:#27a}}.unit{{fill:#7b5}}.never{{fill:#c33}}\
         .all{{stroke:#c33;stroke-dasharray:4}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (number, row) in rows.iter().enumerate() {
        let y = ROW_HEIGHT * (number as u64 + 1);
        let kind = escape(&row.kind);
        let (kind, end, took) = match row.ready {
            Some(ready) => (&*kind, ready, format!("{} ms", ready.saturating_sub(row.start))),
            None => ("never", last, "not ready".to_owned()),
        };
        let (left, right) = (x(row.start), x(end));
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            svg,
            "<text x=\"4\" y=\"{}\">{}</text>\
             <rect class=\"{kind}\" x=\"{left}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\
             <text x=\"{}\" y=\"{}\">{took}</text>",
            y + 12,
            escape(&row.name),
            y + 2,
            right.saturating_sub(left).max(1),
            ROW_HEIGHT - 4,
            right + 4,
            y + 12
        );
    }
    if let Some(ready) = ready_at {
        let (x, bottom) = (x(ready), height - ROW_HEIGHT);
        let _ = writeln!(
            svg,
            "<line class=\"all\" x1=\"{x}\" y1=\"0\" x2=\"{x}\" y2=\"{bottom}\"/>\
             <text x=\"{LABEL_WIDTH}\" y=\"{}\">ready {ready} ms after the kernel's start</text>",
            height - 5
        );
    }
    svg + "</svg>\n"
}

/// Escapes foreign text, so that it cannot become markup.
pub fn escape(text: &str) -> String {
    let shown = |c: char| if is_control_or_format(c) { '\u{fffd}' } else { c };
    let text: String = text.chars().map(shown).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_row_is_drawn_to_scale() {
        let rows = json!([
            { "name": "a<b", "kind": "unit", "start": 0, "ready": 500 },
            { "name": "c\u{1b}", "kind": "unit", "start": 500, "ready": null },
        ]);
        let svg = draw(&json!({ "rows": rows, "ready_at": 1000 }));
        let lines: Vec<&str> = svg.lines().collect();
        assert!(lines[3].contains("a&lt;b"), "{svg}");
        assert!(lines[3].contains("class=\"unit\" x=\"170\" y=\"20\" width=\"450\""), "{svg}");
        assert!(lines[4].contains("class=\"never\" x=\"620\" y=\"38\" width=\"450\""), "{svg}");
        assert!(lines[4].contains("c\u{fffd}") && lines[5].contains("ready 1000 ms"), "{svg}");
        assert_eq!(draw(&json!({ "rows": [] })).lines().count(), 4);
        let late = json!([{ "name": "a", "kind": "unit", "start": u64::MAX, "ready": 1 }]);
        assert_eq!(draw(&json!({ "rows": late })).lines().count(), 5);
        assert_eq!(draw(&json!("no drawing")), "");
    }
}
