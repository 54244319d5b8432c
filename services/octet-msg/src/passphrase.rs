//! The passphrase, and the encryption key that is derived from it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use octet_node::durable::{self, ExistingFile};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::command::CommandFailure;
use crate::derivation::{self, Cost, Derivation};

/// The file of the key [derivation](Derivation), in the user's folder.
pub const FILE: &str = "passphrase";

/// The maximum length of a passphrase, in bytes.
const PASSPHRASE: u64 = 1024;

/// Derives a key from a new passphrase, and stores the parameters in `folder`.
///
/// # Errors
/// Writing fails, or the file exists.
pub fn store(folder: &Path, passphrase: &[u8], cost: Cost) -> Result<[u8; 32], CommandFailure> {
    let derivation = Derivation::new(cost)?;
    let path = folder.join(FILE);
    let saved = durable::write(&path, &derivation.to_bytes(), ExistingFile::Keep, |_| Ok(()));
    saved.map_err(|error| CommandFailure::Disk(path, error))?;
    derivation.key(passphrase).ok_or(CommandFailure::Damaged)
}

/// Derives the key again.
///
/// # Errors
/// The file is missing or damaged.
pub fn read(folder: &Path, passphrase: &[u8]) -> Result<[u8; 32], CommandFailure> {
    let path = folder.join(FILE);
    let bytes = durable::read(&path, derivation::LENGTH as u64);
    let bytes = bytes.map_err(|error| CommandFailure::Disk(path, error))?;
    let derivation = bytes.as_deref().and_then(Derivation::from_bytes);
    derivation.and_then(|derivation| derivation.key(passphrase)).ok_or(CommandFailure::Damaged)
}

/// The passphrase: the first line of `file`, or input from the terminal.
pub fn ask(file: Option<&Path>) -> Result<Vec<u8>, CommandFailure> {
    let Some(path) = file else { return prompt("Passphrase: ") };
    let read = || -> io::Result<Vec<u8>> {
        let mut line = vec![];
        BufReader::new(File::open(path)?.take(PASSPHRASE)).read_until(b'\n', &mut line)?;
        Ok(line)
    };
    let line = read().map_err(|error| CommandFailure::Disk(path.to_owned(), error))?;
    check(line)
}

/// A new passphrase; at the terminal it must be typed twice.
///
/// # Errors
/// There is no input, or the two differ.
pub fn ask_new(file: Option<&Path>) -> Result<Vec<u8>, CommandFailure> {
    if file.is_some() {
        return ask(file);
    }
    let first = prompt("A passphrase for your messages: ")?;
    let second = prompt("The same again: ")?;
    (first == second).then_some(first).ok_or(CommandFailure::NotTheSame)
}

fn check(mut line: Vec<u8>) -> Result<Vec<u8>, CommandFailure> {
    while line.last().is_some_and(|byte| [b'\n', b'\r'].contains(byte)) {
        line.pop();
    }
    (!line.is_empty()).then_some(line).ok_or(CommandFailure::NoPassphrase)
}

/// Reads a line from the terminal without echo.
fn prompt(prompt: &str) -> Result<Vec<u8>, CommandFailure> {
    let read = || -> io::Result<Vec<u8>> {
        let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // `Flush` discards earlier input; it is set before the prompt, so that an early answer is
        // not lost.
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        let mut line = vec![];
        let asked = write!(terminal, "{prompt}");
        let read = asked.and_then(|()| {
            BufReader::new((&terminal).take(PASSPHRASE)).read_until(b'\n', &mut line)
        });
        tcsetattr(&terminal, OptionalActions::Flush, &before)?;
        writeln!(terminal)?;
        read.map(|_| line)
    };
    check(read().map_err(|_| CommandFailure::NoTerminal)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost::CHEAP;

    #[test]
    fn a_key_comes_back_by_its_passphrase_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = store(folder.path(), b"correct horse", CHEAP).unwrap();
        assert_eq!(read(folder.path(), b"correct horse").unwrap(), key);
        assert_ne!(read(folder.path(), b"correct horsf").unwrap(), key);
        assert!(store(folder.path(), b"correct horse", CHEAP).is_err(), "there is one");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(store(other.path(), b"correct horse", CHEAP).unwrap(), key);
    }
}
