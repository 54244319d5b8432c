//! The file of a key: one line, `octet-key-1 did:key:… SEED`, with the seed in base64. The public key is
//! included to detect damage.

use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::PrivateKey;
use crate::durable::{self, ExistingFile, StoredFile, WriteStep};

/// The first word of the line: the version of the format.
const VERSION: &str = "octet-key-1";

/// The maximum size of the file, in bytes.
const LONGEST: u64 = 512;

/// Reads the key at `path`.
///
/// # Errors
/// Reading fails.
pub fn read(path: &Path) -> io::Result<StoredFile<PrivateKey>> {
    durable::load(path, LONGEST, parse)
}

/// Generates a key and stores it at `path`, readable by its owner only. `before` is called before each step,
/// and can abort it.
///
/// # Errors
/// There is no randomness, a file at `path` exists that `existing` protects, or writing fails; no key
/// is stored then.
pub fn create(
    path: &Path,
    existing: ExistingFile,
    before: impl FnMut(WriteStep) -> io::Result<()>,
) -> io::Result<PrivateKey> {
    let key = PrivateKey::generate().map_err(io::Error::other)?;
    write(path, &key, existing, before)?;
    Ok(key)
}

/// Stores `key` at `path`, like [`make`].
///
/// # Errors
/// A file at `path` exists that `existing` protects, or writing fails.
pub fn write(
    path: &Path,
    key: &PrivateKey,
    existing: ExistingFile,
    before: impl FnMut(WriteStep) -> io::Result<()>,
) -> io::Result<()> {
    let line = format!("{VERSION} {} {}\n", key.public(), STANDARD.encode(key.seed));
    durable::write(path, line.as_bytes(), existing, before)
}

fn parse(line: &[u8]) -> Option<PrivateKey> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut words = line.split(' ');
    let (version, public, seed) = (words.next()?, words.next()?, words.next()?);
    let seed = STANDARD.decode(seed).ok()?.try_into().ok()?;
    let key = PrivateKey::from_seed(seed)?;
    let whole = version == VERSION && words.next().is_none();
    (whole && key.public().to_string() == public).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    #[test]
    fn comes_back_as_it_was_made() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(read(&path).unwrap(), StoredFile::Absent));
        let key = create(&path, ExistingFile::Keep, |_| Ok(())).unwrap();
        let StoredFile::Value(back) = read(&path).unwrap() else { panic!("it is there") };
        assert_eq!(back.public(), key.public());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create(&path, ExistingFile::Keep, |_| Ok(())).is_err());
        let StoredFile::Value(back) = read(&path).unwrap() else { panic!("it is there") };
        assert_eq!(back.public(), key.public());
    }

    #[test]
    fn every_damaged_bit_is_seen() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("key");
        create(&path, ExistingFile::Keep, |_| Ok(())).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&damaged).is_none(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_none(), "{length} bytes");
        }
        std::fs::write(&path, vec![b'x'; 10_000]).unwrap();
        assert!(matches!(read(&path).unwrap(), StoredFile::Damaged));
    }

    proptest! {
        #[test]
        fn never_panics(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }

        #[test]
        fn never_panics_near_the_truth(words in "octet-key-1 (did:key:z[0-9A-Za-z]{0,50} )?[A-Za-z0-9=/+]{0,44}\\n?") {
            let _ = parse(words.as_bytes());
        }
    }
}
