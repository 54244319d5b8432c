//! Which version of a package is unpacked: the newest one of its changelog (deb-changelog(5)).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

/// No changelog's first line is this long.
const FIRST_LINE: u64 = 1024;

/// The version of `package` below `folder`; `?` if it does not say.
pub fn of(folder: &Path, package: &str) -> String {
    let path = folder.join("usr/share/doc").join(package).join("changelog.Debian.gz");
    let mut start = vec![];
    if let Ok(file) = File::open(path) {
        let _ = GzDecoder::new(file).take(FIRST_LINE).read_to_end(&mut start);
    }
    version(&String::from_utf8_lossy(&start)).unwrap_or("?").to_owned()
}

/// `NAME (VERSION) …`
fn version(changelog: &str) -> Option<&str> {
    Some(changelog.lines().next()?.split_once('(')?.1.split_once(')')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn is_in_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let doc = folder.path().join("usr/share/doc/it");
        std::fs::create_dir_all(&doc).unwrap();
        let file = File::create(doc.join("changelog.Debian.gz")).unwrap();
        let mut gzip = GzEncoder::new(file, Compression::fast());
        gzip.write_all(b"it (2.1-3) unstable; urgency=low\n\nit (1.0) unstable\n").unwrap();
        gzip.finish().unwrap();
        assert_eq!(of(folder.path(), "it"), "2.1-3");
        assert_eq!(of(folder.path(), "other"), "?");
    }
}
