//! The same inputs give the same bytes, wherever and by whomever they are put together.

#![cfg(test)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use octet_tests::{builder, copy_of_workspace, must, shipped, store};

#[test]
fn another_clone_another_host_the_same_bytes() {
    let first = shipped();
    let folder = tempfile::tempdir().unwrap();
    let clone = folder.path().join("a much longer path/to the clone");
    let home = folder.path().join("home");
    fs::create_dir_all(&home).unwrap();
    copy_of_workspace(&clone);
    assert!(!clone.join("out").exists() && !clone.join("target").exists());
    as_under_umask_077(&clone);

    // Another user's habits; the toolchain and the store are found where they are.
    let mut build = Command::new("taskset");
    build
        .args(["--cpu-list", &first_cpu(), "sh", "-c", "umask 077; exec \"$0\" build"])
        .arg(builder())
        .current_dir(&clone)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("XDG_CACHE_HOME")
        .env("OCTET_STORE", store())
        .env("CARGO_HOME", tool_home("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", tool_home("RUSTUP_HOME", ".rustup"))
        .env("CARGO_TERM_COLOR", "never")
        .env("HOME", &home)
        .env("TZ", "Pacific/Chatham")
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("LANG", "tr_TR.UTF-8");
    let said = must(&mut build).stderr;
    // Nothing was found compiled: cargo compiled every crate that is in the image.
    println!("{said}\ncompiled:\n{}", crates(&clone.join("out/qemu-x86_64")).join("\n"));
    let compiled = said.lines().find(|line| line.starts_with("compile "));
    assert!(compiled.is_some_and(|line| !line.contains(" 0 crates")), "{said}");

    let sums = |folder: PathBuf| fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let (ours, theirs) = (sums(first.folder), sums(clone.join("out/qemu-x86_64")));
    assert!(ours.lines().count() >= 4, "{ours}");
    assert_eq!(ours, theirs);
}

/// Takes all from group and others, as a checkout under that umask has it.
fn as_under_umask_077(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_symlink() {
            continue;
        }
        let mode = metadata.permissions().mode();
        fs::set_permissions(&path, Permissions::from_mode(mode & 0o700)).unwrap();
        if path.is_dir() {
            as_under_umask_077(&path);
        }
    }
}

/// The crates that an image's SBOM lists.
fn crates(image: &Path) -> Vec<String> {
    let text = fs::read(image.join("sbom.spdx.json")).unwrap();
    let sbom: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let locators = sbom["packages"].as_array().unwrap().iter().filter_map(|package| {
        let references = package["externalRefs"].as_array()?;
        references.iter().find_map(|it| it["referenceLocator"].as_str()?.strip_prefix("pkg:cargo/"))
    });
    locators.map(str::to_owned).collect()
}

/// One of the processors that we may run on.
fn first_cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    list.trim().split([',', '-']).next().unwrap().to_owned()
}

/// Where a tool keeps its files if nothing else is said: under the HOME that changes.
fn tool_home(variable: &str, below: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(below);
    std::env::var_os(variable).map_or_else(home, PathBuf::from)
}
