//! `board-number`: which board of the box this is.

use super::Boot;

/// The highest number a board can have.
const MOST_BOARDS: u8 = 32;

/// Reads `octet.board=N` from the kernel's command line; without it the number stays unknown.
pub fn run(boot: &mut Boot) -> Result<(), String> {
    let line = std::fs::read_to_string("/proc/cmdline")
        .map_err(|error| format!("/proc/cmdline: {error}"))?;
    boot.board = from_command_line(&line)?;
    Ok(())
}

fn from_command_line(line: &str) -> Result<Option<u8>, String> {
    let Some(text) = line.split_whitespace().find_map(|word| word.strip_prefix("octet.board="))
    else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number @ 1..=MOST_BOARDS) => Ok(Some(number)),
        _ => Err(format!(
            "octet.board={text} on the kernel's command line is not 1 to {MOST_BOARDS}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_command_line() {
        assert_eq!(from_command_line("quiet octet.board=3 x"), Ok(Some(3)));
        assert_eq!(from_command_line("quiet"), Ok(None));
        for bad in ["0", "33", "-1", "x", ""] {
            assert!(from_command_line(&format!("octet.board={bad}")).is_err(), "{bad}");
        }
    }
}
