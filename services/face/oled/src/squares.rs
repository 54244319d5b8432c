//! The nodes of a box as small squares.

use embedded_graphics::geometry::Point;
use embedded_graphics::mono_font::iso_8859_1::FONT_4X6;

use crate::canvas::Canvas;
use crate::figures::{NodeCondition, OledNode};

/// A kind of square, in pixels.
struct Square {
    width: i32,
    height: i32,
    /// In one row.
    columns: usize,
    /// A wider gap follows each group, so that squares without numbers can be counted.
    group: usize,
}

/// With a number in it.
const LARGE: Square = Square { width: 12, height: 10, columns: 9, group: usize::MAX };

/// Two rows are enough for 34 nodes.
const SMALL: Square = Square { width: 6, height: 6, columns: 17, group: 4 };

const GAP: i32 = 1;
const GROUP_GAP: i32 = 2;
const ROWS: usize = 2;

/// Draws the squares from row `y` on, and returns their height: at most `height`, if that is at
/// least 13.
pub(crate) fn draw(canvas: &mut Canvas, y: i32, height: i32, nodes: &[OledNode]) -> i32 {
    let height_of = |square: &Square| {
        let rows = nodes.len().div_ceil(square.columns).min(ROWS) as i32;
        (rows * (square.height + GAP) - GAP).max(0)
    };
    let is_large = nodes.len() <= LARGE.columns * ROWS && height_of(&LARGE) <= height;
    let square = if is_large { LARGE } else { SMALL };
    let rows = nodes.len().div_ceil(square.columns).clamp(1, ROWS);
    // Rows of the same length.
    let columns = nodes.len().div_ceil(rows).clamp(1, square.columns);
    for (row, nodes) in nodes.chunks(columns).take(ROWS).enumerate() {
        let y = y + row as i32 * (square.height + GAP);
        for (column, node) in nodes.iter().enumerate() {
            let groups = (column / square.group) as i32;
            let x = column as i32 * (square.width + GAP) + groups * GROUP_GAP;
            draw_node(canvas, Point::new(x, y), &square, node);
        }
    }
    height_of(&square)
}

fn draw_node(canvas: &mut Canvas, at: Point, square: &Square, node: &OledNode) {
    let Square { width, height, .. } = *square;
    let is_large = width == LARGE.width;
    match node.condition {
        NodeCondition::Ready => {
            canvas.fill(at, width, height);
            if is_large {
                let (at, number) = number(at, node.number);
                canvas.dark_text(at, width, &FONT_4X6, &number);
            }
        }
        NodeCondition::NotHeard => {
            canvas.outline(at, width, height);
            if is_large {
                let (at, number) = number(at, node.number);
                canvas.text(at, width, &FONT_4X6, &number);
            }
        }
        NodeCondition::Trouble => {
            let end = at + Point::new(width - 1, height - 1);
            // In a small square the frame would fill the gaps of the cross.
            if is_large {
                canvas.outline(at, width, height);
            }
            canvas.line(at, end);
            canvas.line(Point::new(at.x, end.y), Point::new(end.x, at.y));
        }
        NodeCondition::Off | NodeCondition::Empty => {
            canvas.fill(at + Point::new(width / 2 - 1, height / 2 - 1), 2, 2);
        }
    }
}

/// A number in the middle of a large square. One of three digits has no place there.
fn number(at: Point, number: u8) -> (Point, String) {
    let text = if number < 100 { number.to_string() } else { String::new() };
    // Digits are 3 x 5 pixels, with a gap between two of them.
    let width = text.len() as i32 * 4 - 1;
    (at + Point::new((LARGE.width - width) / 2, (LARGE.height - 5) / 2), text)
}
