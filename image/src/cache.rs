//! The builder's folder in the user's cache (XDG Base Directory Specification): what all clones of this repository share.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The folder `name` in `octet` in `XDG_CACHE_HOME`, else in `.cache` of `HOME`, as an absolute path: programs that are
/// given it run elsewhere. None if neither is set.
pub fn folder(name: &str) -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    std::path::absolute(cache.join("octet").join(name)).ok()
}

/// Whether a folder of compiled code is there, is the user's, and no one else can write there: of others nothing is run.
pub fn is_private(folder: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::metadata(folder).is_ok_and(|it| it.uid() == user && it.mode() & 0o022 == 0)
}
