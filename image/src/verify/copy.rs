//! A second copy of the workspace, as another person would have it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Permissions that are left when the umask is 077.
const OWNER_BITS: u32 = 0o700;

/// Folders of the workspace that hold only what was built from it.
const BUILD_FOLDERS: [&str; 2] = ["target", "out"];

/// The files of the workspace at `root`, in order: what git lists, with what is not committed yet
/// and not ignored; without git all but what was built.
pub fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = match git_files(root) {
        Some(files) => files,
        None => {
            let mut files = vec![];
            for entry in fs::read_dir(root)?.collect::<io::Result<Vec<_>>>()? {
                let name = entry.file_name();
                if name != ".git" && BUILD_FOLDERS.iter().all(|built| name != *built) {
                    walk(root, Path::new(&name), &mut files)?;
                }
            }
            files
        }
    };
    files.sort();
    Ok(files)
}

/// What git lists, if it knows the workspace. What was deleted and is still listed is left out.
fn git_files(root: &Path) -> Option<Vec<PathBuf>> {
    let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git")
        .current_dir(root)
        .args(args)
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let files: BTreeSet<PathBuf> = names.map(|name| OsStr::from_bytes(name).into()).collect();
    Some(files.into_iter().filter(|file| root.join(file).symlink_metadata().is_ok()).collect())
}

fn walk(root: &Path, path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !root.join(path).symlink_metadata()?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(root.join(path))? {
        walk(root, &path.join(entry?.file_name()), files)?;
    }
    Ok(())
}

/// Copies `files` of `from` into the new folder `to`, the last one first, with the permissions
/// that they have under the umask 077.
pub fn copy(from: &Path, files: &[PathBuf], to: &Path) -> io::Result<()> {
    make_folder(to)?;
    for file in files.iter().rev() {
        let (source, target) = (from.join(file), to.join(file));
        if let Some(folder) = target.parent() {
            make_folder(folder)?;
        }
        let metadata = fs::symlink_metadata(&source)?;
        if metadata.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else {
            fs::copy(&source, &target)?;
            let mode = metadata.permissions().mode() & OWNER_BITS;
            fs::set_permissions(&target, Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(OWNER_BITS).create(folder)
}

/// How many folders with `files` there are, and how many of them list their entries in another
/// order at `there` than at `here`.
pub fn reordered(here: &Path, there: &Path, files: &[PathBuf]) -> (usize, usize) {
    let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    let differ = folders.iter().filter(|folder| {
        let (mut ours, mut theirs) = (names(&here.join(folder)), names(&there.join(folder)));
        let common: BTreeSet<_> =
            ours.iter().filter(|name| theirs.contains(name)).cloned().collect();
        ours.retain(|name| common.contains(name));
        theirs.retain(|name| common.contains(name));
        ours != theirs
    });
    (folders.len(), differ.count())
}

/// The entries of a folder as it lists them.
fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(folder: &Path) {
        for file in ["a/one", "a/two", "b", "target/x", "out/y", ".git/z", ".config"] {
            fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
            fs::write(folder.join(file), file).unwrap();
        }
        fs::set_permissions(folder.join("a/two"), Permissions::from_mode(0o755)).unwrap();
        symlink("a/one", folder.join("link")).unwrap();
    }

    #[test]
    fn copies_all_but_what_was_built() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("deep/to"));
        fs::create_dir(&from).unwrap();
        workspace(&from);
        // An empty folder `.git` is not a repository.
        let files = files(&from).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        assert_eq!(names, [".config", "a/one", "a/two", "b", "link"]);
        copy(&from, &files, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/one")).unwrap(), "a/one");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("a/one"));
        let mode = |name: &str| fs::metadata(to.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a/one"), mode("a/two"), mode("a")), (0o600, 0o700, 0o700));
        assert!(!to.join("target").exists() && !to.join("out").exists());
    }

    #[test]
    fn git_says_what_belongs_to_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        for (file, text) in
            [(".gitignore", "/ignored\n"), ("ignored", ""), ("a/new", ""), ("gone", "")]
        {
            fs::write(folder.path().join(file), text).unwrap();
        }
        for args in [&["init", "-q"][..], &["add", "gone", ".gitignore"]] {
            let status =
                Command::new("git").current_dir(folder.path()).args(args).status().unwrap();
            assert!(status.success());
        }
        fs::remove_file(folder.path().join("gone")).unwrap();
        let files = files(folder.path()).unwrap();
        assert_eq!(files, [Path::new(".gitignore"), Path::new("a/new")]);
    }

    #[test]
    fn sees_whether_the_order_differs() {
        let folder = tempfile::tempdir().unwrap();
        workspace(folder.path());
        let files = files(folder.path()).unwrap();
        assert_eq!(reordered(folder.path(), folder.path(), &files), (2, 0));
    }
}
