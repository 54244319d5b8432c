//! The pages that a display shows in turn.

use embedded_graphics::geometry::Point;
use embedded_graphics::mono_font::MonoFont;
use embedded_graphics::mono_font::iso_8859_1::{FONT_5X8, FONT_6X10, FONT_7X13_BOLD};

use crate::canvas::{Canvas, WIDTH, columns};
use crate::figures::{OledFigures, OledKey};
use crate::picture::{OledSize, Picture};
use crate::{chart, key_code, squares, words};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OledPage {
    /// Name, address and key.
    Identity,
    /// Nodes, load and traffic.
    Load,
}

impl OledPage {
    /// The page of a number that counts up.
    pub fn numbered(number: u64) -> Self {
        if number.is_multiple_of(2) { Self::Identity } else { Self::Load }
    }
}

/// The number of shifts. A display whose pixels are lit for long at the same place burns in: the
/// caller counts them through, one in a minute or so.
pub const SHIFTS: u8 = 4;

/// Where the picture begins at each shift. The canvas is by as much smaller than the display, so
/// nothing is lost at any of them.
const OFFSETS: [Point; SHIFTS as usize] =
    [Point::new(0, 0), Point::new(2, 0), Point::new(2, 2), Point::new(0, 2)];

/// Draws a page. `shift` counts up; only its remainder by [`SHIFTS`] counts.
pub fn draw(figures: &OledFigures, size: OledSize, page: OledPage, shift: u8) -> Picture {
    let mut canvas = Canvas::new(size, OFFSETS[usize::from(shift % SHIFTS)]);
    match (page, size) {
        (OledPage::Identity, OledSize::Rows32) => small_identity(&mut canvas, figures),
        (OledPage::Identity, OledSize::Rows64) => identity(&mut canvas, figures),
        (OledPage::Load, OledSize::Rows32) => small_load(&mut canvas, figures),
        (OledPage::Load, OledSize::Rows64) => load(&mut canvas, figures),
    }
    canvas.into_picture()
}

const NO_ADDRESS: &str = "no address";
const NO_KEY: &str = "no key";

/// The first 16 characters of a key: enough to tell the box from others, too few to trust it.
fn key_start(key: &OledKey) -> String {
    let text = key.text.strip_prefix("did:key:").unwrap_or(key.text);
    words::cut(text, 16)
}

/// Text at the left, the QR code at the right.
fn identity(canvas: &mut Canvas, figures: &OledFigures) {
    let code_at = Point::new(WIDTH - key_code::WIDTH, 0);
    let width = code_at.x - 2;
    let lines = |canvas: &mut Canvas, y, pitch, font: &MonoFont, lines: (String, String)| {
        canvas.text(Point::new(0, y), width, font, &lines.0);
        canvas.text(Point::new(0, y + pitch), width, font, &lines.1);
    };
    let name = words::two_lines(figures.name, columns(&FONT_7X13_BOLD, width));
    let address = figures.address.unwrap_or(NO_ADDRESS);
    let address = words::address_lines(address, columns(&FONT_6X10, width));
    lines(canvas, 0, 12, &FONT_7X13_BOLD, name);
    lines(canvas, 25, 9, &FONT_6X10, address);
    match &figures.key {
        Some(key) => key_code::draw(canvas, code_at, &key.bytes),
        None => {
            canvas.outline(code_at, key_code::WIDTH, key_code::WIDTH);
            canvas.text(code_at + Point::new(13, 26), 36, &FONT_6X10, NO_KEY);
        }
    }
    // An alarm takes the place of the key's text, whose code is beside it.
    let y = canvas.height() - 18;
    if let Some(alarm) = figures.alarm {
        let (first, second) = words::two_lines(alarm, columns(&FONT_5X8, width - 2));
        canvas.fill(Point::new(0, y), width, 18);
        canvas.dark_text(Point::new(1, y + 1), width - 2, &FONT_5X8, &first);
        canvas.dark_text(Point::new(1, y + 9), width - 2, &FONT_5X8, &second);
    } else if let Some(key) = &figures.key {
        lines(canvas, y - 1, 9, &FONT_6X10, words::two_lines(&key_start(key), 8));
    }
}

/// Squares, bars, rates and the course of the traffic, from the top. The latter takes what is left.
fn load(canvas: &mut Canvas, figures: &OledFigures) {
    let mut y = match squares::draw(canvas, 0, 21, figures.nodes) {
        0 => 0,
        height => height + 2,
    };
    bars(canvas, y, figures);
    y += 9;
    rates(canvas, y, figures);
    y += 9;
    let mut end = canvas.height();
    if let Some(text) = figures.alarm {
        alarm(canvas, text);
        end -= ALARM_HEIGHT + 1;
    }
    let coins = format!("coins/h {}", words::coins(figures.coins_per_hour));
    canvas.text(Point::new(0, y), RIGHT - 1, &FONT_5X8, &coins);
    chart::sparkline(canvas, Point::new(RIGHT, y), WIDTH - RIGHT, end - y, figures.traffic);
}

fn small_identity(canvas: &mut Canvas, figures: &OledFigures) {
    canvas.text(Point::zero(), WIDTH, &FONT_6X10, figures.name);
    canvas.text(Point::new(0, 10), WIDTH, &FONT_6X10, figures.address.unwrap_or(NO_ADDRESS));
    match (figures.alarm, &figures.key) {
        (Some(text), _) => alarm(canvas, text),
        (None, Some(key)) => canvas.text(Point::new(0, 20), WIDTH, &FONT_6X10, &key_start(key)),
        (None, None) => canvas.text(Point::new(0, 20), WIDTH, &FONT_6X10, NO_KEY),
    }
}

fn small_load(canvas: &mut Canvas, figures: &OledFigures) {
    let height = squares::draw(canvas, 0, 13, figures.nodes);
    bars(canvas, height + 1, figures);
    match figures.alarm {
        Some(text) => alarm(canvas, text),
        None => rates(canvas, canvas.height() - 8, figures),
    }
}

const ALARM_HEIGHT: i32 = 9;

/// A line at the bottom.
fn alarm(canvas: &mut Canvas, text: &str) {
    let y = canvas.height() - ALARM_HEIGHT;
    canvas.fill(Point::new(0, y), WIDTH, ALARM_HEIGHT);
    canvas.dark_text(Point::new(1, y + 1), WIDTH - 2, &FONT_5X8, text);
}

/// Where the right one of two figures in a row begins.
const RIGHT: i32 = 66;

fn bars(canvas: &mut Canvas, y: i32, figures: &OledFigures) {
    chart::bar(canvas, Point::new(0, y), "CPU", figures.cpu_percent);
    chart::bar(canvas, Point::new(RIGHT, y), "RAM", figures.memory_percent);
}

fn rates(canvas: &mut Canvas, y: i32, figures: &OledFigures) {
    chart::rate(canvas, Point::new(0, y), true, figures.received);
    chart::rate(canvas, Point::new(RIGHT, y), false, figures.sent);
}
