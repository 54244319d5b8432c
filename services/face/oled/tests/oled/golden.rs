//! Pictures as they are seen, compared pixel by pixel.

use std::fs;
use std::path::Path;

use data_encoding::BASE32_NOPAD;
use octet_oled::{OledController, OledFigures, OledPage, OledSize, SHIFTS, draw};
use rqrr::PreparedImage;

use crate::figures::{KEY, nodes, ready, starting, traffic};
use crate::mock::MockDisplay;

/// The picture on a display, which is the same with both controllers.
fn seen(figures: &OledFigures, size: OledSize, page: OledPage, shift: u8) -> String {
    let on = |controller| {
        let display = MockDisplay::new(controller);
        display.driver(size).show(&draw(figures, size, page, shift)).unwrap();
        display.seen()
    };
    let seen = on(OledController::Ssd1306);
    assert_eq!(seen, on(OledController::Sh1106));
    seen
}

fn check(name: &str, figures: &OledFigures, size: OledSize, page: OledPage) {
    let seen = seen(figures, size, page, 0);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.txt"));
    if std::env::var_os("OCTET_WRITE_GOLDEN").is_some() {
        fs::write(&path, &seen).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap();
    assert!(golden == seen, "not as in golden/{name}.txt:\n{seen}");
}

#[test]
fn a_starting_box() {
    check("starting", &starting(), OledSize::Rows64, OledPage::Identity);
    check("starting-load", &starting(), OledSize::Rows64, OledPage::Load);
}

#[test]
fn name_address_and_code() {
    check("ready", &ready(&[], &[]), OledSize::Rows64, OledPage::Identity);
}

#[test]
fn eight_boards() {
    let (nodes, traffic) = (nodes(8), traffic());
    check("eight", &ready(&nodes, &traffic), OledSize::Rows64, OledPage::Load);
}

#[test]
fn thirty_two_boards() {
    let (nodes, traffic) = (nodes(32), traffic());
    check("boards", &ready(&nodes, &traffic), OledSize::Rows64, OledPage::Load);
}

#[test]
fn an_alarm() {
    let (nodes, traffic) = (nodes(16), traffic());
    let alarm = Some("board 6: lan has failed");
    let figures = OledFigures { alarm, ..ready(&nodes, &traffic) };
    check("alarm", &figures, OledSize::Rows64, OledPage::Load);
    check("alarm-identity", &figures, OledSize::Rows64, OledPage::Identity);
    check("small-alarm", &figures, OledSize::Rows32, OledPage::Load);
}

#[test]
fn thirty_two_rows() {
    let (nodes, traffic) = (nodes(32), traffic());
    let figures = ready(&nodes, &traffic);
    check("small-identity", &figures, OledSize::Rows32, OledPage::Identity);
    check("small-load", &figures, OledSize::Rows32, OledPage::Load);
}

/// The text of the QR code in a picture, by a reader that shares no code with its writer.
fn code_in(seen: &str) -> Option<String> {
    const SCALE: usize = 4;
    let rows: Vec<&[u8]> = seen.lines().map(str::as_bytes).collect();
    let (width, height) = (rows[0].len() * SCALE, rows.len() * SCALE);
    let grey = |x: usize, y: usize| if rows[y / SCALE][x / SCALE] == b'#' { 255 } else { 0 };
    let mut image = PreparedImage::prepare_from_greyscale(width, height, grey);
    image.detect_grids().first()?.decode().ok().map(|(_, text)| text)
}

#[test]
fn the_code_is_the_key() {
    let figures = ready(&[], &[]);
    for shift in 0..SHIFTS {
        let text = code_in(&seen(&figures, OledSize::Rows64, OledPage::Identity, shift)).unwrap();
        assert_eq!(BASE32_NOPAD.decode(text.as_bytes()).unwrap(), KEY);
    }
    let without = seen(&starting(), OledSize::Rows64, OledPage::Identity, 0);
    assert_eq!(code_in(&without), None);
}
