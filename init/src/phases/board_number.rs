//! `board-number`: which board of the box this is.

use super::Boot;
use crate::command_line;

/// The highest number a board can have.
const MOST_BOARDS: u8 = 32;

/// Reads `octet.board=N` from the kernel's command line; without it the number stays unknown.
pub fn run(boot: &mut Boot) -> Result<(), String> {
    if let Some(text) = command_line::value("board")? {
        boot.board = Some(number(&text)?);
    }
    Ok(())
}

fn number(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(number @ 1..=MOST_BOARDS) => Ok(number),
        _ => Err(format!(
            "octet.board={text} on the kernel's command line is not 1 to {MOST_BOARDS}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_of_the_box() {
        assert_eq!(number("3"), Ok(3));
        for bad in ["0", "33", "-1", "x", ""] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }
}
