//! Clones of this workspace.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{must, workspace};

/// Makes the folder `clone`, with this workspace as it is, and nothing built.
pub fn clone_to(clone: &Path) {
    let mut git = Command::new("git");
    git.current_dir(workspace());
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    for file in must(&mut git).stdout.split_terminator('\0').map(Path::new) {
        let (from, to) = (workspace().join(file), clone.join(file));
        // One that is deleted is listed until that is committed.
        if from.exists() {
            fs::create_dir_all(to.parent().expect("a file has a folder")).expect("a folder");
            fs::copy(from, to).expect("a copy");
        }
    }
}
