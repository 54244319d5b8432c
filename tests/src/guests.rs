//! Static programs for guests, from `tests/guests`.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::builder::executables;

/// The static program `name` of `tests/guests`.
///
/// # Panics
/// It cannot be built, or there is none of that name.
pub fn guest(name: &str) -> PathBuf {
    static GUESTS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let build = || {
        let target = "x86_64-unknown-linux-musl";
        executables(&["--package", "octet-guests", "--bins", "--release", "--target", target])
    };
    GUESTS
        .get_or_init(build)
        .iter()
        .find(|path| path.ends_with(name))
        .unwrap_or_else(|| panic!("tests/guests has no program `{name}`"))
        .clone()
}
