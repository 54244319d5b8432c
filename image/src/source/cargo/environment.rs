//! The environment in which the programs are compiled: the same everywhere.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::CargoError;
use super::linker::Linker;

/// Variables that are passed on: where things are, and how the network is reached. Everything
/// else, above all flags and wrappers of the user's, could change the programs' bytes.
const PASSED: [&str; 17] = [
    "PATH",
    "HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "USER",
];

/// Beginnings of further variables that are passed on: cargo's own settings of the network.
const PASSED_PREFIXES: [&str; 5] =
    ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];

/// Gives `command` only the variables that may matter, and those that are the same for all.
pub fn clean(command: &mut Command) -> &mut Command {
    command
        .env_clear()
        .envs(env::vars_os().filter(|(name, value)| is_passed(name) && !value.is_empty()))
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TERM_COLOR", "never")
        .env("SOURCE_DATE_EPOCH", "0")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
}

fn is_passed(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| {
        PASSED.contains(&name) || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

/// The folder of the compiler and its standard libraries.
pub fn sysroot() -> Result<PathBuf, CargoError> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .map_err(|why| CargoError::NoProgram { program: "rustc".into(), why })?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()))
}

/// Flags of rustc, in cargo's encoding: how it links, and every folder of this machine whose files the compiler names in
/// programs gets a name that is the same on all: that of the standard library, and those of the cargo `homes`. The last
/// match counts, so the longest path comes last.
///
/// No folder of the clone is among them. Cargo compiles crates of the workspace by relative paths, and it compiles all
/// that it has compiled with other flags again: with the same ones for each clone of a user, what one of them has
/// compiled of others' crates serves the next.
pub fn flags(sysroot: &Path, homes: [&Path; 2]) -> OsString {
    let mut folders = vec![(sysroot.to_owned(), "/rust")];
    for home in homes.map(Path::to_owned) {
        let sources = home.join("registry/src");
        // Which folder a registry has depends on how it was reached.
        for entry in fs::read_dir(&sources).into_iter().flatten().filter_map(Result::ok) {
            // The compiler runs in it, and knows it by where links lead to.
            folders.extend(fs::canonicalize(entry.path()).map(|real| (real, "/crates")));
            folders.push((entry.path(), "/crates"));
        }
        folders.push((home, "/cargo"));
    }
    folders.sort_by_key(|(path, _)| (path.as_os_str().len(), path.clone()));
    let mut flags = OsString::new();
    for flag in Linker::flags() {
        flags.push(flag);
        flags.push("\x1f");
    }
    for (at, (path, name)) in folders.into_iter().enumerate() {
        if at > 0 {
            flags.push("\x1f");
        }
        flags.push("--remap-path-prefix=");
        flags.push(path);
        flags.push("=");
        flags.push(name);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn crates_have_one_name_however_they_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let whole = fs::canonicalize(folder.path()).unwrap();
        let [real, link] = ["real", "link"].map(|name| whole.join(name));
        fs::create_dir_all(real.join("registry/src/index")).unwrap();
        symlink(&real, &link).unwrap();
        let flags = flags(Path::new("/r"), [&link, &link]);
        let flags: Vec<_> = flags.to_str().unwrap().split('\x1f').collect();
        for home in [&real, &link] {
            let sources = home.join("registry/src/index");
            let wanted = format!("--remap-path-prefix={}=/crates", sources.display());
            assert!(flags.contains(&wanted.as_str()), "no {wanted} in {flags:?}");
        }
        // The last one counts.
        let at = |name| flags.iter().position(|flag| flag.ends_with(name));
        assert!(at("link=/cargo") < at("link/registry/src/index=/crates"));
    }
}
