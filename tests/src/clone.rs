//! Clones of this workspace.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{must, workspace};

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
