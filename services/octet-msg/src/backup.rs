//! Backup files: the parameters of the key derivation, and the content encrypted with that key.

use std::io;
use std::path::Path;

use octet_messages::backup::Backup;
use octet_messages::sealed;
use octet_node::durable::{self, ExistingFile};
use octet_node::key::NoRandomness;

use crate::command::CommandFailure;
use crate::derivation::{Cost, Derivation, LENGTH};

/// The maximum size of a backup, in bytes; one with 512 contacts has at most 600 000.
const LONGEST: u64 = 1 << 20;

/// Writes `backup` to a new file at `path`, encrypted with `passphrase`.
///
/// # Errors
/// The file exists, or writing fails.
pub fn write(path: &Path, backup: &Backup, passphrase: &[u8]) -> Result<(), CommandFailure> {
    let derivation = Derivation::new(Cost::recommended())?;
    let key = derivation.key(passphrase).ok_or(CommandFailure::Keys)?;
    let sealed = seal(derivation, &key, backup)?;
    let written = durable::write(path, &sealed, ExistingFile::Keep, |_| Ok(()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CommandFailure::ExistingFile(path.to_owned()),
        _ => CommandFailure::Disk(path.to_owned(), error),
    })
}

/// Reads the backup at `path`.
///
/// # Errors
/// The file is not a backup, was altered, or is encrypted with another passphrase.
pub fn read(path: &Path, passphrase: &[u8]) -> Result<Backup, CommandFailure> {
    let disk = |error| CommandFailure::Disk(path.to_owned(), error);
    let bytes = durable::read(path, LONGEST).map_err(disk)?;
    let bytes = bytes.ok_or_else(|| disk(io::ErrorKind::NotFound.into()))?;
    let no_backup = || CommandFailure::NoBackup(path.to_owned());
    let derivation = bytes.get(..LENGTH).and_then(Derivation::from_bytes).ok_or_else(no_backup)?;
    let key = derivation.key(passphrase).ok_or_else(no_backup)?;
    open(&key, &bytes).ok_or_else(|| CommandFailure::Sealed(path.to_owned()))
}

/// Encodes a backup: the key derivation (29 bytes), then `backup` encrypted with the key; the
/// former is authenticated, too.
fn seal(derivation: Derivation, key: &[u8; 32], backup: &Backup) -> Result<Vec<u8>, NoRandomness> {
    let head = derivation.to_bytes();
    let sealed = sealed::seal(key, &backup.to_bytes(), &head)?;
    Ok([head, sealed].concat())
}

fn open(key: &[u8; 32], bytes: &[u8]) -> Option<Backup> {
    let (head, sealed) = bytes.split_at_checked(LENGTH)?;
    Backup::from_bytes(&sealed::open(key, sealed, head)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        Backup { name: [1; 32], seal: [2; 32], epoch: 3, places: vec![], contacts: vec![] }
    }

    #[test]
    fn every_bit_is_seen() {
        let derivation = Derivation::new(Cost::CHEAP).unwrap();
        let key = derivation.key(b"correct horse").unwrap();
        let bytes = seal(derivation, &key, &backup()).unwrap();
        assert_eq!(open(&key, &bytes).unwrap().to_bytes(), backup().to_bytes());
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key, &altered).is_none(), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|length| open(&key, &bytes[..length]).is_none()));
        assert!(open(&key, &[&bytes[..], &[0]].concat()).is_none());
        assert!(open(&derivation.key(b"correct horsf").unwrap(), &bytes).is_none());
    }
}
