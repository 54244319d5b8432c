//! Data that several tests need and one of them creates: each test is a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::programs::made;

/// The folder `name` of this run of the tests. The first test that requests it fills it with
/// `make`, while the others wait. Its content must not be changed after that.
///
/// # Panics
/// `make` panics, or the host refuses.
pub fn shared(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let all = made("OCTET_SHARED");
    let _one = one_at_a_time(name);
    let folder = all.join(name);
    if !folder.exists() {
        // A test that failed in the meantime has left an incomplete folder.
        let half = all.join(format!("{name}.half"));
        let _ = fs::remove_dir_all(&half);
        fs::create_dir(&half).expect("a folder");
        make(&half);
        fs::rename(&half, &folder).expect("a folder");
    }
    folder
}

/// Acquires the lock `name`, which only one test of this run can hold. It is held until the
/// returned value is dropped.
pub fn one_at_a_time(name: &str) -> File {
    let path = made("OCTET_SHARED").join(format!("{name}.lock"));
    let lock = File::create(path).expect("room for a file");
    lock.lock().expect("a lock");
    lock
}
