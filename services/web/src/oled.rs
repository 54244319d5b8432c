//! The pictures of an OLED display, which the unit `face` answers as text (`face display`): two rows of pixels in a line of
//! half blocks. They become SVG here, because nothing that a box answers is taken as markup.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};
use serde_json::Value;

use crate::text::clean;

/// The largest display, in columns and lines of text.
const MAX_COLUMNS: usize = 128;
const MAX_LINES: usize = 32;

/// The answer of `face display`.
pub fn section(display: &Value) -> Markup {
    let state = display["state"].as_str().unwrap_or_default();
    let pictures = ["identity", "load"].map(|page| (page, picture(display[page].as_str())));
    html! {
        h2 { "Display" }
        p { "What an OLED display of this node shows, in turn. State: " (clean(state)) "." }
        @for (page, picture) in &pictures {
            @if let Some(lines) = picture { (svg(page, lines)) }
        }
    }
}

/// The lines of a picture; `None` if they are none.
fn picture(text: Option<&str>) -> Option<Vec<&str>> {
    let lines: Vec<&str> = text?.lines().collect();
    let is_line = |line: &&str| {
        line.chars().count() <= MAX_COLUMNS && line.chars().all(|it| " ▀▄█".contains(it))
    };
    (lines.len() <= MAX_LINES && !lines.is_empty() && lines.iter().all(is_line)).then_some(lines)
}

/// A picture as one path, with a line for each run of lit pixels.
fn svg(page: &str, lines: &[&str]) -> Markup {
    let mut path = String::new();
    let columns = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let halves = lines
        .iter()
        .enumerate()
        .flat_map(|(row, line)| [(2 * row, *line, "▀█"), (2 * row + 1, *line, "▄█")]);
    for (y, line, lit) in halves {
        let mut begin = None;
        for (x, character) in line.chars().chain([' ']).enumerate() {
            match (lit.contains(character), begin) {
                (true, None) => begin = Some(x),
                (false, Some(from)) => {
                    // Writing to a string cannot fail.
                    let _ = write!(path, "M{from} {y}h{}", x - from);
                    begin = None;
                }
                _ => {}
            }
        }
    }
    let rows = 2 * lines.len();
    // A line is drawn around its coordinates: pixels begin half a row above them.
    PreEscaped(format!(
        "<svg class=\"oled\" viewBox=\"0 -.5 {columns} {rows}\" shape-rendering=\"crispEdges\" role=\"img\" \
         aria-label=\"The page {page} of the display\"><path d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn half_blocks_are_pixels() {
        let display =
            json!({ "state": "shown on <i2c-0>", "identity": " ▀█\n▄  \n", "load": "<script>" });
        let html = section(&display).into_string();
        assert!(
            html.contains("d=\"M1 0h2M2 1h1M0 3h1\"") && html.contains("viewBox=\"0 -.5 3 4\""),
            "{html}"
        );
        assert!(
            html.contains("shown on &lt;i2c-0&gt;") && html.matches("<svg").count() == 1,
            "{html}"
        );
        assert!(!html.contains("<script"), "{html}");
    }

    proptest! {
        #[test]
        fn nothing_else_is_drawn(text in "[ ▀▄█\n<>a]{0,60}", other in "\\PC{0,40}") {
            for text in [text, other] {
                let html = section(&json!({ "state": null, "identity": text, "load": 7 })).into_string();
                let is_picture = text.lines().next().is_some() && text.chars().all(|it| " ▀▄█\n".contains(it)) && text.lines().count() <= MAX_LINES;
                prop_assert_eq!(html.contains("<svg"), is_picture, "{}", text);
            }
        }
    }
}
