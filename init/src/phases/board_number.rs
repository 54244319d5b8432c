//! `board-number`: finds out which board of the box this is.

use std::fmt;

use octet_appliance::{BoardFile, BoardId};

use super::BootFacts;
use crate::command_line;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BoardNumber {
    /// Nobody has set it yet.
    #[default]
    Unknown,
    /// It is set as long as the box runs.
    Configured(BoardId, NumberSource),
    /// It is the number of the port that the board is plugged into.
    Assigned(BoardId),
}

/// Who sets the board's number; the first one takes precedence over the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberSource {
    CommandLine,
    /// A file on its flash.
    Flash,
}

impl BoardNumber {
    /// The number, if it is known; 0 is the router.
    pub fn get(self) -> Option<u8> {
        match self {
            Self::Unknown => None,
            Self::Configured(board, _) | Self::Assigned(board) => Some(board.number()),
        }
    }

    /// The flash sets `board`. Returns the resulting number.
    #[must_use]
    pub fn with_flash(self, board: BoardId) -> Self {
        match self {
            Self::Configured(_, NumberSource::CommandLine) => self,
            _ => Self::Configured(board, NumberSource::Flash),
        }
    }

    /// The port has the number of `board`. Returns the resulting number.
    ///
    /// # Errors
    /// Another source has set another number; it is returned with its source.
    pub fn with_port(self, board: BoardId) -> Result<Self, (BoardId, NumberSource)> {
        match self {
            Self::Configured(said, source) if said != board => Err((said, source)),
            Self::Configured(..) => Ok(self),
            Self::Unknown | Self::Assigned(_) => Ok(Self::Assigned(board)),
        }
    }
}

impl fmt::Display for NumberSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("the kernel's command line"),
            Self::Flash => write!(f, "`{}` of its flash", BoardFile::PATH),
        }
    }
}

/// Reads `octet.board=N` or `octet.board=router` from the kernel's command line; without it the
/// number stays unknown until the flash sets it, or netd reports it.
pub fn run(boot: &mut BootFacts) -> Result<(), String> {
    if let Some(text) = command_line::value("board")? {
        let board = text.parse::<BoardId>();
        let board = board.map_err(|error| format!("octet.board on the command line: {error}"))?;
        boot.board = BoardNumber::Configured(board, NumberSource::CommandLine);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_it_first_has_the_last_word() {
        let [three, four] = [3, 4].map(|number| BoardId::board(number).unwrap());
        let unknown = BoardNumber::default();
        let told = unknown.with_port(three).unwrap();
        assert_eq!((unknown.get(), told.get()), (None, Some(3)));
        assert_eq!(
            told.with_port(four),
            Ok(BoardNumber::Assigned(four)),
            "it was plugged in elsewhere"
        );
        let flash = BoardNumber::Configured(BoardId::ROUTER, NumberSource::Flash);
        for before in [unknown, told, flash] {
            assert_eq!(before.with_flash(BoardId::ROUTER), flash);
        }
        assert_eq!(flash.with_port(three), Err((BoardId::ROUTER, NumberSource::Flash)));
        let line = BoardNumber::Configured(three, NumberSource::CommandLine);
        assert_eq!(line.with_flash(four), line);
        assert_eq!(
            (line.with_port(three), line.with_port(four)),
            (Ok(line), Err((three, NumberSource::CommandLine)))
        );
    }
}
