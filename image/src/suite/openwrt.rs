//! The root file system of OpenWrt that `cargo image test --openwrt` is given: what can be said of it before anything is
//! compiled.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use miette::Diagnostic;
use tar::{Archive, EntryType};

/// What is run with it: tests with this in their names.
pub const TESTS: &str = "segments::openwrt";

/// The environment variable by which those are told of it.
pub const VARIABLE: &str = "OCTET_OPENWRT_ROOT";

const INIT: &str = "sbin/init";

/// The number of x86-64 in the head of a program (ELF-64 Object File Format, `e_machine`), and where it is.
const X86_64: [u8; 2] = [62, 0];
const MACHINE: std::ops::Range<usize> = 18..20;

/// The file is of no use.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum RootError {
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    #[diagnostic(help("name the file that you have fetched: --openwrt ROOTFS.tar.gz"))]
    Unreadable(PathBuf, io::Error),
    #[error("{path} is no .tar.gz: {error}", path = .0.display(), error = .1)]
    #[diagnostic(help(
        "take the root file system that OpenWrt publishes for x86/64, openwrt-RELEASE-x86-64-rootfs.tar.gz; an \
         image of a disk is another thing"
    ))]
    NoArchive(PathBuf, io::Error),
    /// It has no first program.
    #[error("{path} has no /{INIT}", path = .0.display())]
    #[diagnostic(help(
        "take the root file system that OpenWrt publishes for x86/64, openwrt-RELEASE-x86-64-rootfs.tar.gz"
    ))]
    NoInit(PathBuf),
    /// It is for another processor.
    #[error("/{INIT} in {path} is not a program for x86-64", path = .0.display())]
    #[diagnostic(help("the guest has a processor of x86-64: take the file for the target x86/64"))]
    OtherProcessor(PathBuf),
}

/// The same file by a path that holds everywhere, if it is a root file system that a guest can start.
pub fn root(path: &Path) -> Result<PathBuf, RootError> {
    let unread = |error| RootError::Unreadable(path.to_owned(), error);
    let absolute = path.canonicalize().map_err(unread)?;
    let file = File::open(&absolute).map_err(unread)?;
    let head = init(file).map_err(|error| RootError::NoArchive(path.to_owned(), error))?;
    match head {
        None => Err(RootError::NoInit(path.to_owned())),
        Some(head) if head.starts_with(b"\x7fELF") && head.get(MACHINE) == Some(&X86_64) => {
            Ok(absolute)
        }
        Some(_) => Err(RootError::OtherProcessor(path.to_owned())),
    }
}

/// The first bytes of the first program.
fn init(archive: impl Read) -> io::Result<Option<Vec<u8>>> {
    for file in Archive::new(GzDecoder::new(archive)).entries()? {
        let file = file?;
        let is_file = file.header().entry_type() == EntryType::Regular;
        if is_file && file.path()?.strip_prefix("./").unwrap_or(&file.path()?) == Path::new(INIT) {
            let mut head = vec![];
            file.take(MACHINE.end as u64).read_to_end(&mut head)?;
            return Ok(Some(head));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;

    const ELF: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0";

    /// What is said of an archive with one file.
    fn said(name: &str, content: &[u8]) -> String {
        let mut tar = Builder::new(GzEncoder::new(vec![], Compression::fast()));
        let mut header = Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
        of(&tar.into_inner().unwrap().finish().unwrap())
    }

    fn of(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.tar.gz");
        std::fs::write(&path, bytes).unwrap();
        match root(&path) {
            Ok(found) => found.file_name().unwrap().to_string_lossy().into_owned(),
            Err(error) => {
                assert!(error.help().is_some());
                error.to_string().replace(&folder.path().display().to_string(), "")
            }
        }
    }

    #[test]
    fn only_a_root_of_its_processor_is_taken() {
        for name in ["./sbin/init", "sbin/init"] {
            assert_eq!(said(name, &[ELF, &[62, 0, 1, 0]].concat()), "root.tar.gz");
        }
        let arm = said("./sbin/init", &[ELF, &[183, 0]].concat());
        assert_eq!(arm, "/sbin/init in /root.tar.gz is not a program for x86-64");
        let script = said("./sbin/init", b"#!/bin/sh\n");
        assert_eq!(script, arm);
        assert_eq!(said("./sbin/procd", ELF), "/root.tar.gz has no /sbin/init");
        assert!(of(b"hello").starts_with("/root.tar.gz is no .tar.gz: "));
        let missing = root(Path::new("/nowhere/a.tar.gz")).unwrap_err().to_string();
        assert!(missing.starts_with("/nowhere/a.tar.gz: No such file"), "{missing}");
    }
}
