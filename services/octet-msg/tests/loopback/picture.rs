//! Renders a terminal to an image, and reads QR codes in it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Sizes of a half character cell, in pixels: the reader misses some codes at one size, and finds
/// them at another.
const DOTS: [usize; 4] = [4, 5, 6, 3];

/// The default colours: light on dark.
const USUAL: (bool, bool) = (true, false);

/// Two rows per line of characters: whether the upper and the lower halves are light. Only the
/// colours of a QR code are implemented (ECMA-48, SGR).
fn rows(coloured: &str) -> Vec<Vec<bool>> {
    let (mut front, mut back) = USUAL;
    let mut rows = vec![];
    for line in coloured.lines() {
        let (mut upper, mut lower) = (vec![], vec![]);
        let mut letters = line.chars();
        while let Some(letter) = letters.next() {
            let (above, below) = match letter {
                '\x1b' => {
                    let said: String =
                        letters.by_ref().take_while(|letter| *letter != 'm').collect();
                    match said.as_str() {
                        "[0" => (front, back) = USUAL,
                        "[30" => front = false,
                        "[39" => front = USUAL.0,
                        "[107" => back = true,
                        "[49" => back = USUAL.1,
                        _ => panic!("{said}"),
                    }
                    continue;
                }
                '█' => (front, front),
                '▀' => (front, back),
                '▄' => (back, front),
                // Other characters count as background.
                _ => (back, back),
            };
            upper.push(above);
            lower.push(below);
        }
        rows.extend([upper, lower]);
    }
    rows
}

/// The code that `zbarimg` reads from an image of this screen; the image is in `folder`.
pub fn code(coloured: &str, folder: &Path) -> String {
    let (rows, path) = (rows(coloured), folder.join("picture.pgm"));
    let read = DOTS.iter().map(|dots| {
        fs::write(&path, picture(&rows, *dots)).unwrap();
        let words = ["--quiet", "--raw", "-Sdisable", "-Sqr.enable"];
        Command::new("zbarimg").args(words).arg(&path).output().unwrap()
    });
    let found = { read }.find(|read| read.status.success()).expect("no code is found");
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

/// An image of these rows (Netpbm, PGM).
fn picture(rows: &[Vec<bool>], dots: usize) -> Vec<u8> {
    let width = rows.iter().map(Vec::len).max().unwrap();
    let mut picture = format!("P5 {} {} 255\n", width * dots, rows.len() * dots).into_bytes();
    for row in rows {
        let lights = (0..width).map(|at| row.get(at).copied().unwrap_or(USUAL.1));
        let bytes = lights.flat_map(|is_light| vec![if is_light { 255 } else { 0 }; dots]);
        picture.extend(bytes.collect::<Vec<u8>>().repeat(dots));
    }
    picture
}
