//! The host's programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Links every program of `PATH` but `leave_out` into the folder `to`; an empty `leave_out` leaves
/// out none.
pub fn link_programs(to: &Path, leave_out: &str) {
    let path = std::env::var_os("PATH").expect("PATH");
    for folder in std::env::split_paths(&path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name() != leave_out {
                // The first program of a name wins, as in PATH.
                let _ = symlink(entry.path(), to.join(entry.file_name()));
            }
        }
    }
}
