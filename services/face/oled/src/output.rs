//! A picture for people without a display.

use std::fmt::Write;

use crate::picture::{COLUMNS, Picture};

/// The picture in a terminal, two rows of pixels in one of characters. A lit pixel has the colour of
/// the text.
pub fn half_blocks(picture: &Picture) -> String {
    let character = |x, y| match (picture.is_lit(x, y), picture.is_lit(x, y + 1)) {
        (false, false) => ' ',
        (true, false) => '▀',
        (false, true) => '▄',
        (true, true) => '█',
    };
    let line = |y| (0..COLUMNS).map(move |x| character(x, y)).chain(['\n']);
    (0..picture.size().rows()).step_by(2).flat_map(line).collect()
}

/// The picture as an SVG image: one path, with a line for each run of lit pixels.
pub fn svg(picture: &Picture) -> String {
    let mut path = String::new();
    let rows = picture.size().rows();
    for y in 0..rows {
        let mut x = 0;
        while x < COLUMNS {
            let length = (x..COLUMNS).take_while(|&x| picture.is_lit(x, y)).count();
            if length > 0 {
                // Writing to a text cannot fail.
                let _ = write!(path, "M{x} {y}h{length}");
            }
            x += length + 1;
        }
    }
    // A line is drawn around its coordinates: pixels begin half a row above them.
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 -.5 {COLUMNS} {rows}\" \
         shape-rendering=\"crispEdges\"><path d=\"M0 -.5h{COLUMNS}v{rows}H0z\"/>\
         <path stroke=\"#fff\" d=\"{path}\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::OledSize;

    fn picture() -> Picture {
        let mut picture = Picture::new(OledSize::Rows32);
        for (x, y) in [(0, 0), (1, 0), (1, 1), (2, 1), (127, 31)] {
            picture.set(x, y, true);
        }
        picture
    }

    #[test]
    fn a_terminal_has_two_rows_in_one() {
        let drawn = half_blocks(&picture());
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines.len(), 16);
        assert!(lines.iter().all(|line| line.chars().count() == 128));
        assert!(lines[0].starts_with("▀█▄ "));
        assert!(lines[15].ends_with(" ▄"));
    }

    #[test]
    fn svg_has_a_line_for_each_run() {
        let drawn = svg(&picture());
        assert!(drawn.contains("d=\"M0 0h2M1 1h2M127 31h1\""), "{drawn}");
        assert!(drawn.contains("viewBox=\"0 -.5 128 32\""), "{drawn}");
    }
}
