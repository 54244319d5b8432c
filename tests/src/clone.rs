//! A second clone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::image::workspace;
use crate::tool::must;

/// Copies what git has of the workspace, with what is changed and not committed yet, into the new
/// folder `to`; nothing that was built is in it.
///
/// # Panics
/// git does not know the workspace, or `to` cannot be written.
pub fn copy_of_workspace(to: &Path) {
    let from = workspace();
    let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = must(Command::new("git").current_dir(&from).args(args)).stdout;
    for file in listed.split('\0').filter(|file| !file.is_empty()) {
        let (source, target) = (from.join(file), to.join(file));
        let Ok(metadata) = fs::symlink_metadata(&source) else {
            continue; // listed by git, and deleted since
        };
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        }
        let copied = if metadata.is_symlink() {
            fs::read_link(&source).and_then(|to| symlink(to, &target))
        } else {
            fs::copy(&source, &target).map(drop)
        };
        copied.unwrap_or_else(|e| panic!("{file}: {e}"));
    }
}
