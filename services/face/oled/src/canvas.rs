//! The part of a picture that is drawn on, with what is drawn on it.

use std::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Line, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Baseline, Text};

use crate::picture::{COLUMNS, OledSize, Picture};
use crate::words;

/// How much smaller the canvas is than the picture, so that it can be moved.
pub(crate) const MARGIN: i32 = 2;

pub(crate) const WIDTH: i32 = COLUMNS as i32 - MARGIN;

/// A canvas has coordinates of its own, so that nothing drawn on it depends on where it is.
pub(crate) struct Canvas {
    picture: Picture,
    /// Where the canvas begins in the picture, at most [`MARGIN`] in each direction.
    offset: Point,
}

impl Canvas {
    pub fn new(size: OledSize, offset: Point) -> Self {
        Self { picture: Picture::new(size), offset }
    }

    pub fn into_picture(self) -> Picture {
        self.picture
    }

    pub fn height(&self) -> i32 {
        self.picture.size().rows() as i32 - MARGIN
    }

    /// Writes the beginning of `text` that fits into `width`. The point is the upper left corner.
    pub fn text(&mut self, at: Point, width: i32, font: &MonoFont, text: &str) {
        self.colored_text(at, width, font, text, BinaryColor::On);
    }

    pub fn dark_text(&mut self, at: Point, width: i32, font: &MonoFont, text: &str) {
        self.colored_text(at, width, font, text, BinaryColor::Off);
    }

    fn colored_text(
        &mut self,
        at: Point,
        width: i32,
        font: &MonoFont,
        text: &str,
        color: BinaryColor,
    ) {
        let text = words::cut(text, columns(font, width));
        let style = MonoTextStyle::new(font, color);
        let Ok(_) = Text::with_baseline(&text, at, style, Baseline::Top).draw(self);
    }

    pub fn fill(&mut self, at: Point, width: i32, height: i32) {
        let Ok(()) = area(at, width, height)
            .into_styled(PrimitiveStyle::with_fill(BinaryColor::On))
            .draw(self);
    }

    pub fn outline(&mut self, at: Point, width: i32, height: i32) {
        let Ok(()) = area(at, width, height)
            .into_styled(PrimitiveStyle::with_stroke(BinaryColor::On, 1))
            .draw(self);
    }

    pub fn line(&mut self, from: Point, to: Point) {
        let Ok(()) = Line::new(from, to)
            .into_styled(PrimitiveStyle::with_stroke(BinaryColor::On, 1))
            .draw(self);
    }

    pub fn darken(&mut self, at: Point, width: i32, height: i32) {
        let Ok(()) = area(at, width, height)
            .into_styled(PrimitiveStyle::with_fill(BinaryColor::Off))
            .draw(self);
    }
}

/// How many characters fit into `width`.
pub(crate) fn columns(font: &MonoFont, width: i32) -> usize {
    let character = (font.character_size.width + font.character_spacing).max(1) as usize;
    usize::try_from(width).unwrap_or(0) / character
}

fn area(at: Point, width: i32, height: i32) -> Rectangle {
    let size = Size::new(width.max(0).unsigned_abs(), height.max(0).unsigned_abs());
    Rectangle::new(at, size)
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(WIDTH.unsigned_abs(), self.height().unsigned_abs())
    }
}

impl DrawTarget for Canvas {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        let bounds = self.bounding_box();
        for Pixel(at, color) in pixels {
            // What is cut off here would be missing in the picture.
            debug_assert!(bounds.contains(at), "{at} is outside of the canvas");
            let moved = at + self.offset;
            if let (true, Ok(x), Ok(y)) =
                (bounds.contains(at), usize::try_from(moved.x), usize::try_from(moved.y))
            {
                self.picture.set(x, y, color.is_on());
            }
        }
        Ok(())
    }
}
