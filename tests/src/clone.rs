//! Clones of this workspace.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{must, workspace};

/// Makes of the folder `to` a cache of the builder that has all but the programs that other clones
/// have compiled: for the variable `XDG_CACHE_HOME` of a builder that is to compile them.
///
/// # Panics
/// The builder's cache cannot be read, or `to` cannot be written.
pub fn cache_without_programs(to: &Path) {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(env::var_os("HOME").expect("HOME")).join(".cache");
    let from = cache.unwrap_or_else(home).join("octet");
    fs::create_dir_all(to.join("octet")).expect("a folder");
    for entry in fs::read_dir(from).expect("the builder's cache") {
        let entry = entry.expect("an entry");
        if entry.file_name() != "programs" {
            symlink(entry.path(), to.join("octet").join(entry.file_name())).expect("a link");
        }
    }
}

/// Copies the files of this workspace, in their current state and without build output, to the
/// folder `clone`.
pub fn clone_to(clone: &Path) {
    let mut git = Command::new("git");
    git.current_dir(workspace());
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    for file in must(&mut git).stdout.split_terminator('\0').map(Path::new) {
        let (from, to) = (workspace().join(file), clone.join(file));
        // Git lists a deleted file until the deletion is committed.
        if from.exists() {
            fs::create_dir_all(to.parent().expect("a file has a folder")).expect("a folder");
            fs::copy(from, to).expect("a copy");
        }
    }
}
