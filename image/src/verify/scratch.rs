//! Where the second build is.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::copy;
use crate::source::programs;

/// A file system in memory. It lists a folder in the order in which the files were made.
const SHM: &str = "/dev/shm";

/// What has to be free there.
const REQUIRED_SPACE: u64 = 64_000_000;

/// Two folders, of which neither is near the first build.
pub struct ScratchFolders {
    /// The workspace's copy: in memory, if there is room for it.
    pub copy: PathBuf,
    sources: TempDir,
    pub rest: TempDir,
}

impl ScratchFolders {
    /// Empty folders; they are removed when they are not needed any more.
    pub fn new() -> io::Result<Self> {
        let new = || tempfile::Builder::new().prefix("octet-verify-").to_owned();
        let rest = new().tempdir()?;
        let has_room = rustix::fs::statvfs(SHM)
            .is_ok_and(|it| it.f_bavail.saturating_mul(it.f_frsize) >= REQUIRED_SPACE);
        let in_memory = has_room.then(|| new().tempdir_in(SHM).ok()).flatten();
        let sources = match in_memory {
            Some(folder) => folder,
            None => new().tempdir()?,
        };
        let copy = sources.path().join("a path that is longer/and has blanks in it/octet");
        Ok(Self { copy, sources, rest })
    }

    /// Copies the workspace at `root`; what is built of it goes elsewhere, because it is large.
    pub fn fill(&self, root: &Path) -> io::Result<Vec<PathBuf>> {
        let files = copy::files(root)?;
        copy::copy(root, &files, &self.copy)?;
        let target = self.rest.path().join("target");
        fs::create_dir(&target)?;
        symlink(target, self.copy.join("target"))?;
        // Cargo may put another program in this one's place, if a source changes meanwhile.
        fs::copy("/proc/self/exe", self.builder())?;
        Ok(files)
    }

    /// Copies what was compiled of the workspace at `root`.
    pub fn take_compiled(&self, root: &Path) -> io::Result<()> {
        let folder = programs(Path::new(""));
        let mut files = vec![];
        for folder in fs::read_dir(root.join(folder))? {
            for file in fs::read_dir(folder?.path())? {
                let path = file?.path();
                files.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
            }
        }
        copy::copy(root, &files, &self.copy)
    }

    pub fn builder(&self) -> PathBuf {
        self.rest.path().join("octet-image")
    }

    pub fn keep(self) {
        let _ = (self.sources.keep(), self.rest.keep());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_gone_when_it_is_not_kept() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("Cargo.toml"), "").unwrap();
        let place = ScratchFolders::new().unwrap();
        let copied = place.fill(root.path()).unwrap();
        assert_eq!(copied, [Path::new("Cargo.toml")]);
        assert!(place.builder().is_file() && place.copy.join("target").is_dir());
        let paths = [place.copy.clone(), place.rest.path().to_owned()];
        drop(place);
        assert!(paths.iter().all(|path| !path.exists()));
        let place = ScratchFolders::new().unwrap();
        let paths = [place.sources.path().to_owned(), place.rest.path().to_owned()];
        place.keep();
        assert!(paths.iter().all(|path| path.exists()));
        paths.iter().for_each(|path| fs::remove_dir_all(path).unwrap());
    }
}
