//! The boot as a drawing (SVG): what took how long, and what waited for what.

use std::fmt::Write;

use super::Edge;
use super::report::ms;

/// Pixels of one row, and of the names on the left.
const ROW: u64 = 18;
const LEFT: u64 = 170;

/// Pixels that the time takes.
const WIDTH: u64 = 900;

/// One row: what it is, since when it was being started, and when it was ready.
struct Row {
    name: String,
    kind: &'static str,
    start: u64,
    ready: Option<u64>,
}

/// The drawing, line by line.
pub fn svg(edge: &Edge) -> Vec<String> {
    let phases = edge.boot.reports.iter().map(|report| Row {
        name: report.name.to_owned(),
        kind: "phase",
        start: ms(report.start),
        ready: Some(ms(report.start + report.took)),
    });
    let units = edge.state.units().filter_map(|(_, settings, status)| {
        Some(Row {
            name: settings.name.clone(),
            kind: if settings.base { "base" } else { "unit" },
            // A target has no start of its own.
            start: ms(status.first_started.or(status.first_ready)?),
            ready: status.first_ready.map(ms),
        })
    });
    let mut rows: Vec<Row> = phases.chain(units).collect();
    rows.sort_by_key(|row| row.start);
    draw(&rows, edge.state.ready_at().map(ms))
}

fn draw(rows: &[Row], ready_at: Option<u64>) -> Vec<String> {
    let ends = rows.iter().map(|row| row.ready.unwrap_or(row.start)).chain(ready_at);
    let last = ends.max().unwrap_or(0).max(1);
    let x = |time: u64| LEFT + time * WIDTH / last;
    let (width, height) = (LEFT + WIDTH + 90, ROW * (rows.len() as u64 + 2));
    let mut lines = vec![
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             font-family=\"monospace\" font-size=\"12\">"
        ),
        "<style>.phase{fill:#888}.base{fill:#27a}.unit{fill:#7b5}.never{fill:#c33}\
         .all{stroke:#c33;stroke-dasharray:4}</style>"
            .to_owned(),
        "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>".to_owned(),
    ];
    for (number, row) in rows.iter().enumerate() {
        let y = ROW * (number as u64 + 1);
        let (kind, end, took) = match row.ready {
            Some(ready) => (row.kind, ready, format!("{} ms", ready.saturating_sub(row.start))),
            None => ("never", last, "not ready".to_owned()),
        };
        let (left, right) = (x(row.start), x(end));
        let mut line = format!("<text x=\"4\" y=\"{}\">{}</text>", y + 12, escape(&row.name));
        let _ = write!(
            line,
            "<rect class=\"{kind}\" x=\"{left}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            y + 2,
            right.saturating_sub(left).max(1),
            ROW - 4
        );
        let _ = write!(line, "<text x=\"{}\" y=\"{}\">{took}</text>", right + 4, y + 12);
        lines.push(line);
    }
    if let Some(ready) = ready_at {
        let (x, bottom) = (x(ready), height - ROW);
        lines.push(format!(
            "<line class=\"all\" x1=\"{x}\" y1=\"0\" x2=\"{x}\" y2=\"{bottom}\"/>\
             <text x=\"{LEFT}\" y=\"{}\">ready {ready} ms after the kernel's start</text>",
            height - 5
        ));
    }
    lines.push("</svg>".to_owned());
    lines
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_drawn_to_scale() {
        let row = |name: &str, start, ready| Row { name: name.into(), kind: "unit", start, ready };
        let rows = [row("a<b", 0, Some(500)), row("c", 500, None)];
        let lines = draw(&rows, Some(1000));
        assert!(
            lines[3].contains("a&lt;b") && lines[3].contains("x=\"170\" y=\"20\" width=\"450\"")
        );
        assert!(
            lines[4].contains("class=\"never\" x=\"620\" y=\"38\" width=\"450\""),
            "{}",
            lines[4]
        );
        assert!(lines[5].contains("ready 1000 ms"));
        assert_eq!(draw(&[], None).len(), 4);
    }
}
