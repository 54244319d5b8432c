//! What several tests need and one makes: each test is a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::programs::made;

/// The folder `name` of this run of the suite, which the first test that asks for it fills by `make`. Who comes
/// meanwhile waits. Nobody changes what is in it then.
///
/// # Panics
/// `make` does, or the host refuses.
pub fn shared(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let all = made("OCTET_SHARED");
    let _one = one_at_a_time(name);
    let folder = all.join(name);
    if !folder.exists() {
        // A test that failed on the way has left half of it.
        let half = all.join(format!("{name}.half"));
        let _ = fs::remove_dir_all(&half);
        fs::create_dir(&half).expect("a folder");
        make(&half);
        fs::rename(&half, &folder).expect("a folder");
    }
    folder
}

/// Waits until no other test of this run has what `name` is the name of, and holds it as long as the value lives.
pub fn one_at_a_time(name: &str) -> File {
    let path = made("OCTET_SHARED").join(format!("{name}.lock"));
    let lock = File::create(path).expect("room for a file");
    lock.lock().expect("a lock");
    lock
}
