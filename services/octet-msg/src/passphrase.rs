//! The passphrase, and the key that is made of it: Argon2id (RFC 9106).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use octet_node::bytes::Fields;
use octet_node::durable::{self, Existing};
use octet_node::key::random;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::command::Failed;

/// The file of what a key is made of beside the passphrase: version (1 byte, 1), memory in KiB (4), passes (4), lanes
/// (4), salt (16).
pub const FILE: &str = "passphrase";

/// The version of the file, its first byte.
const VERSION: u8 = 1;

/// More than the file takes, in bytes.
const LONGEST: u64 = 64;

/// The longest passphrase, in bytes.
const PASSPHRASE: u64 = 1024;

/// What a try costs. It is kept, so that it can be more for those who come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    memory: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// What RFC 9106 (section 4) names for where there is little memory: 64 MiB, three times.
    pub fn usual() -> Self {
        Self { memory: 64 << 10, passes: 3, lanes: 4 }
    }

    /// Whether it is one that this machine should pay: the file may be anybody's.
    fn is_sensible(self) -> bool {
        self.memory <= 1 << 20 && (1..=16).contains(&self.passes) && (1..=16).contains(&self.lanes)
    }
}

/// Makes a key of a new passphrase, and keeps in `folder` what else it is made of.
///
/// # Errors
/// The disk does not take it, or there is one already.
pub fn keep(folder: &Path, passphrase: &[u8], cost: Cost) -> Result<[u8; 32], Failed> {
    let salt: [u8; 16] = random()?;
    let mut bytes = vec![VERSION];
    for number in [cost.memory, cost.passes, cost.lanes] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&salt);
    let path = folder.join(FILE);
    let kept = durable::write(&path, &bytes, Existing::Keep, |_| Ok(()));
    kept.map_err(|error| Failed::Disk(path, error))?;
    derive(passphrase, &salt, cost).ok_or(Failed::Damaged)
}

/// Makes the key again.
///
/// # Errors
/// The file is not there, or damaged.
pub fn read(folder: &Path, passphrase: &[u8]) -> Result<[u8; 32], Failed> {
    let path = folder.join(FILE);
    let bytes = durable::read(&path, LONGEST).map_err(|error| Failed::Disk(path, error))?;
    let (cost, salt) = bytes.as_deref().and_then(parse).ok_or(Failed::Damaged)?;
    derive(passphrase, &salt, cost).ok_or(Failed::Damaged)
}

fn parse(bytes: &[u8]) -> Option<(Cost, [u8; 16])> {
    let mut fields = Fields(bytes);
    let version = fields.u8()?;
    let cost = Cost { memory: fields.u32()?, passes: fields.u32()?, lanes: fields.u32()? };
    let salt = fields.array()?;
    let whole = version == VERSION && fields.0.is_empty() && cost.is_sensible();
    whole.then_some((cost, salt))
}

fn derive(passphrase: &[u8], salt: &[u8], cost: Cost) -> Option<[u8; 32]> {
    let params = Params::new(cost.memory, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut key = [0; 32];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(passphrase, salt, &mut key).ok()?;
    Some(key)
}

/// The passphrase: the first line of `file`, or what is typed.
///
/// # Errors
/// There is none.
pub fn ask(file: Option<&Path>) -> Result<Vec<u8>, Failed> {
    let Some(path) = file else { return type_in("Passphrase: ") };
    let read = || -> io::Result<Vec<u8>> {
        let mut line = vec![];
        BufReader::new(File::open(path)?.take(PASSPHRASE)).read_until(b'\n', &mut line)?;
        Ok(line)
    };
    let line = read().map_err(|error| Failed::Disk(path.to_owned(), error))?;
    check(line)
}

/// A new passphrase: what is typed is typed twice.
///
/// # Errors
/// There is none, or the two are not the same.
pub fn ask_new(file: Option<&Path>) -> Result<Vec<u8>, Failed> {
    if file.is_some() {
        return ask(file);
    }
    let first = type_in("A passphrase for your letters: ")?;
    let second = type_in("The same again: ")?;
    (first == second).then_some(first).ok_or(Failed::NotTheSame)
}

fn check(mut line: Vec<u8>) -> Result<Vec<u8>, Failed> {
    while line.last().is_some_and(|byte| [b'\n', b'\r'].contains(byte)) {
        line.pop();
    }
    (!line.is_empty()).then_some(line).ok_or(Failed::NoPassphrase)
}

/// A line of the terminal, which does not show it.
fn type_in(prompt: &str) -> Result<Vec<u8>, Failed> {
    let read = || -> io::Result<Vec<u8>> {
        let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        write!(terminal, "{prompt}")?;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        let mut line = vec![];
        let read = BufReader::new((&terminal).take(PASSPHRASE)).read_until(b'\n', &mut line);
        tcsetattr(&terminal, OptionalActions::Flush, &before)?;
        writeln!(terminal)?;
        read.map(|_| line)
    };
    check(read().map_err(|_| Failed::NoTerminal)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory: 64, passes: 1, lanes: 1 };

    #[test]
    fn a_key_comes_back_by_its_passphrase_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = keep(folder.path(), b"correct horse", CHEAP).unwrap();
        assert_eq!(read(folder.path(), b"correct horse").unwrap(), key);
        assert_ne!(read(folder.path(), b"correct horsf").unwrap(), key);
        assert!(keep(folder.path(), b"correct horse", CHEAP).is_err(), "there is one");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(keep(other.path(), b"correct horse", CHEAP).unwrap(), key);
    }

    #[test]
    fn nobody_is_made_to_pay_too_much() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), b"x", CHEAP).unwrap();
        let whole = std::fs::read(folder.path().join(FILE)).unwrap();
        assert!(parse(&whole).is_some());
        for (at, byte) in [(0, 2), (1, 1), (5, 1), (9, 1)] {
            let mut altered = whole.clone();
            altered[at] = byte;
            assert!(parse(&altered).is_none(), "byte {at}");
        }
        assert!((0..whole.len()).all(|length| parse(&whole[..length]).is_none()));
    }
}
