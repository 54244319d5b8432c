//! `board-number`: which board of the box this is.

use super::Boot;
use crate::command_line;

/// The highest number a board can have.
const MOST_BOARDS: u8 = 32;

/// The router's number, which it has no board of.
const ROUTER: u8 = 0;

/// Reads `octet.board=N` or `octet.board=router` from the kernel's command line; without it the
/// number stays unknown.
pub fn run(boot: &mut Boot) -> Result<(), String> {
    if let Some(text) = command_line::value("board")? {
        boot.board = Some(number(&text)?);
    }
    Ok(())
}

fn number(text: &str) -> Result<u8, String> {
    match text.parse() {
        _ if text == command_line::ROUTER => Ok(ROUTER),
        Ok(number @ 1..=MOST_BOARDS) => Ok(number),
        _ => Err(format!(
            "octet.board={text} on the kernel's command line is neither 1 to {MOST_BOARDS} nor router"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_of_the_box() {
        assert_eq!((number("3"), number("router")), (Ok(3), Ok(ROUTER)));
        for bad in ["0", "33", "-1", "x", ""] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }
}
