//! Bars, arrows and the course of the traffic.

use embedded_graphics::geometry::Point;
use embedded_graphics::mono_font::iso_8859_1::FONT_5X8;

use crate::canvas::Canvas;
use crate::words;

/// A name, a bar and its percentage, 60 pixels wide and 8 high.
pub(crate) fn bar(canvas: &mut Canvas, at: Point, name: &str, percent: Option<u8>) {
    const WIDTH: i32 = 22;
    canvas.text(at, 15, &FONT_5X8, name);
    let frame = at + Point::new(16, 0);
    canvas.outline(frame, WIDTH, 7);
    if let Some(percent) = percent {
        let filled = i32::from(percent.min(100)) * (WIDTH - 4) / 100;
        canvas.fill(frame + Point::new_equal(2), filled, 3);
    }
    canvas.text(at + Point::new(18 + WIDTH, 0), 20, &FONT_5X8, &words::percent(percent));
}

/// A rate with an arrow, 52 pixels wide and 8 high.
pub(crate) fn rate(canvas: &mut Canvas, at: Point, is_down: bool, rate: Option<u64>) {
    const ROWS: i32 = 3;
    for row in 0..ROWS {
        let inset = if is_down { row } else { ROWS - 1 - row };
        let start = at + Point::new(inset, 2 + row);
        canvas.line(start, start + Point::new(2 * (ROWS - 1 - inset), 0));
    }
    canvas.text(at + Point::new(7, 0), 45, &FONT_5X8, &words::rate(rate));
}

/// One column for each sample, the newest at the right. The largest one is as high as the chart;
/// one that is not known leaves a gap.
pub(crate) fn sparkline(
    canvas: &mut Canvas,
    at: Point,
    width: i32,
    height: i32,
    samples: &[Option<u64>],
) {
    let columns = usize::try_from(width).unwrap_or(0);
    let shown = &samples[samples.len().saturating_sub(columns)..];
    let largest = shown.iter().flatten().copied().max().unwrap_or(0).max(1);
    for (age, sample) in (1..).zip(shown.iter().rev()) {
        let Some(sample) = *sample else { continue };
        // Less than `height`, so that it fits.
        let above = u128::from(sample) * (height.max(1) - 1) as u128 / u128::from(largest);
        let above = i32::try_from(above).unwrap_or(0);
        let base = at + Point::new(width - age, height - 1);
        canvas.line(base, base - Point::new(0, above));
    }
}
