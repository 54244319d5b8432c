//! `octet/board.toml`: which node of a box a flash is for, as a file of its EFI system partition.
//! All nodes use the same image, so this is stored beside the image.

use serde::Deserialize;

use crate::board_id::BoardId;
use crate::document::parse;
use crate::file_error::FileError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardFile {
    pub board: BoardId,
}

impl BoardFile {
    /// Its path on the EFI system partition.
    pub const PATH: &str = "octet/board.toml";

    /// Maximum size in bytes; a reader reads no more.
    pub const MAX_SIZE: usize = 4096;

    /// Parses `text`.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub fn parse(text: &str) -> Result<Self, Box<FileError>> {
        if text.len() > Self::MAX_SIZE {
            let message = format!("it has more than {} bytes", Self::MAX_SIZE);
            let hint = "say `board = 3`, or `board = \"router\"`, and nothing else";
            return Err(FileError::new(Self::PATH, text, 0..0, message, hint));
        }
        parse(Self::PATH, text)
    }

    /// The file's text for this node.
    pub fn render(self) -> String {
        match self.board {
            BoardId::ROUTER => "board = \"router\"\n".to_owned(),
            board => format!("board = {}\n", board.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn says_one_thing() {
        let board = |text: &str| BoardFile::parse(text).map(|file| file.board.number());
        assert_eq!(board("board = 3\n").unwrap(), 3);
        assert_eq!(board("# the one in the corner\nboard = \"router\"").unwrap(), 0);
        for (bad, words) in [
            ("", "missing field `board`"),
            ("board = 0", "1 to 32"),
            ("board = 33", "1 to 32"),
            ("board = -3", "1 to 32"),
            ("board = \"3\"", "1 to 32"),
            ("board = [3]", "1 to 32"),
            ("board = 3\nboards = 4", "unknown field `boards`"),
            ("board = 3\nboard = 3", "duplicate"),
            ("bord = 3", "unknown field `bord`"),
        ] {
            let error = BoardFile::parse(bad).unwrap_err();
            assert!(error.message.contains(words), "{bad}: {error}");
            assert!(!error.hint.is_empty(), "{bad}");
        }
        let long = format!("board = 3\n#{}", "x".repeat(BoardFile::MAX_SIZE));
        assert!(BoardFile::parse(&long).unwrap_err().message.contains("4096 bytes"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in 0u8..=BoardId::MAX) {
            let board = BoardId::board(number.into()).unwrap_or(BoardId::ROUTER);
            let file = BoardFile { board };
            prop_assert_eq!(BoardFile::parse(&file.render()).unwrap(), file);
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = BoardFile::parse(&text);
        }

        #[test]
        fn never_panics_near_the_truth(at in 0usize..18, garbage in "\\PC{0,3}") {
            let good = "board = \"router\"\n";
            let at = at.min(good.len());
            let _ = BoardFile::parse(&format!("{}{garbage}{}", &good[..at], &good[at..]));
        }
    }
}
