//! Packages of Debian that stand beside what is ours: where those that guests run are unpacked, and in which versions.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use miette::Diagnostic;

use octet_image::setup::guests_folder;

/// No changelog's first line is this long.
const FIRST_LINE: u64 = 1024;

/// There is nowhere to look for them.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("there is no folder for what only we use: neither XDG_CACHE_HOME nor HOME is set")]
#[diagnostic(help("set HOME"))]
pub struct NoFolder;

pub fn folder() -> Result<PathBuf, NoFolder> {
    guests_folder().ok_or(NoFolder)
}

/// The version of `package` below `folder`: the newest one of its changelog (deb-changelog(5)), or `?` if it does
/// not say.
pub fn version(folder: &Path, package: &str) -> String {
    let path = folder.join("usr/share/doc").join(package).join("changelog.Debian.gz");
    let mut start = vec![];
    if let Ok(file) = File::open(path) {
        let _ = GzDecoder::new(file).take(FIRST_LINE).read_to_end(&mut start);
    }
    newest(&String::from_utf8_lossy(&start)).unwrap_or("?").to_owned()
}

/// `NAME (VERSION) …`
fn newest(changelog: &str) -> Option<&str> {
    Some(changelog.lines().next()?.split_once('(')?.1.split_once(')')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn the_version_is_in_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let doc = folder.path().join("usr/share/doc/it");
        std::fs::create_dir_all(&doc).unwrap();
        let file = File::create(doc.join("changelog.Debian.gz")).unwrap();
        let mut gzip = GzEncoder::new(file, Compression::fast());
        gzip.write_all(b"it (2.1-3) unstable; urgency=low\n\nit (1.0) unstable\n").unwrap();
        gzip.finish().unwrap();
        assert_eq!(version(folder.path(), "it"), "2.1-3");
        assert_eq!(version(folder.path(), "other"), "?");
    }
}
