//! The QR code of a node's key.

use data_encoding::BASE32_NOPAD;
use embedded_graphics::geometry::Point;
use qrcode::{Color, EcLevel, QrCode, Version};

use crate::canvas::Canvas;

const MODULE: i32 = 2;

/// A standard quiet zone is four times as wide; the display has no more rows, and readers do with
/// this.
const QUIET: i32 = 2;

/// Of version 3, which has 29 modules in each direction.
pub(crate) const WIDTH: i32 = 29 * MODULE + 2 * QUIET;

/// Draws the key in upper-case base32 without padding (RFC 4648), which is all of the alphanumeric
/// mode. Dark modules are pixels that are not lit.
pub(crate) fn draw(canvas: &mut Canvas, at: Point, key: &[u8; 32]) {
    let text = BASE32_NOPAD.encode(key);
    // The 52 characters fit version 3 at level M, which takes 61.
    let Ok(code) = QrCode::with_version(text, Version::Normal(3), EcLevel::M) else { return };
    canvas.fill(at, WIDTH, WIDTH);
    let width = code.width();
    for (index, color) in code.into_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let module = Point::new((index % width) as i32, (index / width) as i32);
            canvas.darken(at + Point::new_equal(QUIET) + module * MODULE, MODULE, MODULE);
        }
    }
}
