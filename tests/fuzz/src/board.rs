//! `octet/board.toml` of a flash.

use octet_appliance::{BoardFile, BoardId};

/// A file is refused with a position and a hint, or it describes a possible node of a box, and is
/// the same after it was written again.
pub fn board(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match BoardFile::parse(text) {
        Ok(file) => {
            assert!(text.len() <= BoardFile::MAX_SIZE && file.board.number() <= BoardId::MAX);
            assert_eq!(BoardFile::parse(&file.render()).expect("our own text"), file);
        }
        Err(error) => {
            assert!(error.line >= 1 && error.line <= text.lines().count() + 1, "{error}");
            assert!(error.column >= 1 && !error.hint.is_empty(), "{error}");
        }
    }
}
