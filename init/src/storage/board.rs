//! Which node of a box this flash is for, according to a file of the EFI system partition: the only
//! difference between the flash of a router and that of a board.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use octet_appliance::{BoardFile, BoardId};
use serde_json::json;

use super::disk::at;
use super::esp::MountedEsp;
use crate::command_line;
use crate::facts;
use crate::kernel_modules::{Afterwards, load_list};

/// The modules that the unit `first-modules` loads, and those that a router needs besides.
const FIRST_MODULES: &str = "/usr/lib/octet/modules.first";
const ROUTER_MODULES: &str = "/usr/lib/octet/modules.router";

/// Records the content of the file for PID 1. An invalid file is logged, and otherwise treated like
/// a missing one: a board that does not know its number still starts.
pub fn record(esp: &MountedEsp) {
    match read(&esp.path(BoardFile::PATH)) {
        Ok(None) => {}
        Ok(Some(board)) => {
            facts::write(facts::BOARD, &json!({ "board": board.number() }));
            become_router(board);
        }
        Err(problem) => {
            eprintln!("ALARM: {problem}");
            facts::write(facts::BOARD, &json!({ "problem": problem }));
        }
    }
}

/// Loads the kernel modules of a router, if it was not known before that this is one.
/// `first-modules` may load its own list at the same time: a module that is loaded already is no
/// error.
fn become_router(board: BoardId) {
    if board == BoardId::ROUTER && matches!(command_line::value("board"), Ok(None)) {
        for list in [FIRST_MODULES, ROUTER_MODULES] {
            for failure in load_list(list.as_ref(), Afterwards::Forget) {
                eprintln!("{failure}");
            }
        }
    }
}

/// The board in the file at `path`, if it exists.
fn read(path: &Path) -> Result<Option<BoardId>, String> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(at(path))?,
    };
    let mut text = vec![];
    file.take(BoardFile::MAX_SIZE as u64 + 1).read_to_end(&mut text).map_err(at(path))?;
    let text = String::from_utf8(text).map_err(|_| {
        format!("{} is no text; write it anew, for instance `board = 3`", BoardFile::PATH)
    })?;
    let file = BoardFile::parse(&text);
    file.map(|file| Some(file.board)).map_err(|error| format!("{error}; {}", error.hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn says_it_or_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("board.toml");
        assert_eq!(read(&path), Ok(None));
        for (text, board) in [("board = 3\n", BoardId::board(3)), ("board = \"router\"", None)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path), Ok(Some(board.unwrap_or(BoardId::ROUTER))));
        }
        for (bad, words) in [
            (&b"board = 33\n"[..], "octet/board.toml:1:9: "),
            (b"", "board = "),
            (b"\xff\xfe", "octet/board.toml is no text"),
            (&[b'#'; 5000], "4096 bytes"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(read(folder.path()).is_err(), "a folder is no file");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("board.toml");
            std::fs::write(&path, bytes).unwrap();
            let _ = read(&path);
        }
    }
}
