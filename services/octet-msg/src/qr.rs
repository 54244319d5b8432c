//! Draws an invitation as a QR code in the terminal.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// Black on white, whatever the terminal's colours are (ECMA-48 SGR, with the common extension of
/// bright colours).
const BLACK_ON_WHITE: &str = "\x1b[30;107m";

const RESET: &str = "\x1b[0m";

/// The QR code of `line` in black on white, with two modules per character; `None` if `line` is too
/// long.
pub fn render(line: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(line, EcLevel::L).ok()?;
    let drawn =
        code.render::<Dense1x2>().dark_color(Dense1x2::Dark).light_color(Dense1x2::Light).build();
    let black_on_white = |line: &str| format!("{BLACK_ON_WHITE}{line}{RESET}\n");
    Some(drawn.lines().map(black_on_white).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rqrr::PreparedImage;

    /// Two rows of modules per line of characters: whether they are black.
    fn dots(drawn: &str) -> Vec<Vec<bool>> {
        let rows = drawn.lines().flat_map(|line| {
            let line = line.strip_prefix(BLACK_ON_WHITE).unwrap().strip_suffix(RESET).unwrap();
            let half =
                |upper: char| line.chars().map(|letter| letter == '█' || letter == upper).collect();
            [half('▀'), half('▄')]
        });
        rows.collect()
    }

    #[test]
    fn is_read_from_the_terminal() {
        let line = format!("OCTET-MSG:{}", "A7".repeat(63));
        let dots = dots(&render(&line).unwrap());
        let (width, height) = (dots[0].len(), dots.len());
        let grey = |x: usize, y: usize| if dots[y / 4][x / 4] { 0 } else { 255 };
        let mut image = PreparedImage::prepare_from_greyscale(width * 4, height * 4, grey);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        assert_eq!(grids[0].decode().unwrap().1, line);
    }

    #[test]
    fn fits_a_terminal() {
        // An invitation with one mailbox and one IPv4 address.
        let drawn = render(&format!("OCTET-MSG:{}", "A".repeat(126))).unwrap();
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(lines.len() <= 24, "{}", lines.len());
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap();
        assert!(width <= 80, "{width}");
        assert!(render(&"A".repeat(5000)).is_none());
    }
}
