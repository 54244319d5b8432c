//! `SHA256SUMS`, in the format of sha256sum(1).

use std::fs::File;
use std::io;
use std::path::Path;

use super::disk::DISK;
use super::sparse::Sparse;
use crate::digest::Sha256;

/// The name of the file.
pub const NAME: &str = "SHA256SUMS";

/// The text for files given by name and digest.
pub fn render(mut files: Vec<(&str, Sha256)>) -> String {
    files.sort_unstable();
    files.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect()
}

/// Whether `folder` has exactly the files that its `SHA256SUMS` says, its disk being the one with
/// the digest `disk`. Of the disk only what is not a hole is read: its SHA-256 over all bytes would
/// take most of the time of a build that has nothing to do.
pub fn verify(folder: &Path, disk: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join(NAME)) else { return false };
    let digest = |name: &str| -> io::Result<Sha256> {
        let path = folder.join(name);
        if name == DISK {
            Ok(Sparse::read(&File::open(path)?)?.digest())
        } else {
            Sha256::of_file(&path)
        }
    };
    !text.is_empty()
        && text.lines().all(|line| {
            line.split_once("  ").is_some_and(|(sum, name)| {
                let sum = if name == DISK { disk } else { sum };
                digest(name).is_ok_and(|sha256| sha256.to_string() == sum)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::file;
    use std::io::{Seek, SeekFrom, Write};
    use std::os::unix::fs::FileExt;

    #[test]
    fn any_other_byte_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Sparse::new(1 << 20);
        disk.seek(SeekFrom::Start(300_000)).unwrap();
        disk.write_all(b"content").unwrap();
        file::write_with(&folder.path().join(DISK), |file| disk.write_to(file)).unwrap();
        file::write(&folder.path().join("other"), b"other").unwrap();
        let digests =
            vec![("other", Sha256::of(b"other")), (DISK, Sha256::of_parts(disk.pieces()))];
        file::write(&folder.path().join(NAME), render(digests).as_bytes()).unwrap();
        let holds = || verify(folder.path(), &disk.digest().to_string());
        assert!(holds());

        let open = |name: &str| File::options().write(true).open(folder.path().join(name)).unwrap();
        for at in [0, 300_003, (1 << 20) - 1] {
            let file = open(DISK);
            file.write_all_at(b"x", at).unwrap();
            assert!(!holds(), "byte {at}");
            let old = if at == 300_003 { b"t" } else { b"\0" };
            file.write_all_at(old, at).unwrap();
            assert!(holds(), "byte {at} is as before");
        }
        open(DISK).set_len(2 << 20).unwrap();
        assert!(!holds());
        open(DISK).set_len(1 << 20).unwrap();
        assert!(holds());
        open("other").write_all_at(b"x", 0).unwrap();
        assert!(!holds());
    }
}
