//! A picture of a terminal, and what a reader of QR codes finds in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::terminal::must;

/// The dots of a letter's half, on each side.
const DOTS: usize = 4;

/// What there is of colours until something else is said: light on dark.
const USUAL: (bool, bool) = (true, false);

/// Of each line of letters two rows, whether their upper and lower halves are light. Of colours it knows those of a code
/// (ECMA-48, SGR); they hold until others are said.
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
                // The strokes of others are no matter.
                _ => (back, back),
            };
            upper.push(above);
            lower.push(below);
        }
        rows.extend([upper, lower]);
    }
    rows
}

/// The codes that `zbarimg` reads from a picture of this screen, which it makes in `folder`.
pub fn codes(coloured: &str, folder: &Path) -> String {
    let rows = rows(coloured);
    let width = rows.iter().map(Vec::len).max().unwrap();
    let mut picture = format!("P5 {} {} 255\n", width * DOTS, rows.len() * DOTS).into_bytes();
    for row in rows {
        let mut dots = vec![];
        for at in 0..width {
            let is_light = row.get(at).copied().unwrap_or(USUAL.1);
            dots.extend([if is_light { 255 } else { 0 }; DOTS]);
        }
        picture.extend(dots.repeat(DOTS));
    }
    let path = folder.join("picture.pgm");
    fs::write(&path, picture).unwrap();
    must(Command::new("zbarimg").args(["--quiet", "--raw"]).arg(path))
}
