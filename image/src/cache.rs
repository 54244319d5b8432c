//! The builder's folder in the user's cache (XDG Base Directory Specification): what all clones of this repository share.

use std::env;
use std::path::PathBuf;

/// The folder `name` in `octet` in `XDG_CACHE_HOME`, else in `.cache` of `HOME`, as an absolute path: programs that are
/// given it run elsewhere. None if neither is set.
pub fn folder(name: &str) -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    std::path::absolute(cache.join("octet").join(name)).ok()
}
