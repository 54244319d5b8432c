//! `.ci/crates`: CI passes compiled crates of registries from one clone to the next, and nothing
//! else.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use octet_tests::{must, workspace};
use tempfile::TempDir;

/// A user with cargo's home and the builder's cache in this folder.
struct User(TempDir);

/// Compiler output: for a crate of a registry, and for one of the workspace.
const OF_REGISTRY: [&str; 4] = [
    ".fingerprint/serde-0123456789abcdef/lib-serde",
    "build/serde-0123456789abcdef/out/made.rs",
    "deps/libserde-0123456789abcdef.rlib",
    "deps/serde-0123456789abcdef.d",
];
const OWN: [&str; 2] = [
    ".fingerprint/octet-node-fedcba9876543210/lib-octet_node",
    "deps/liboctet_node-fedcba9876543210.rlib",
];

const LOCK: &str = "version = 4\n\n[[package]]\nname = \"octet-node\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \
                    \"serde\"\nversion = \"1.0.0\"\nsource = \"registry+https://example.org/index\"\n";

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

impl User {
    fn new() -> Self {
        let user = Self(tempfile::tempdir().unwrap());
        write(&user.source(), "the source");
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn source(&self) -> PathBuf {
        self.path("cargo/registry/src/index/serde-1.0.0/src/lib.rs")
    }

    /// A clone with the script and its inputs.
    fn clone(&self, name: &str) -> PathBuf {
        let root = self.path(name);
        write(&root.join("Cargo.lock"), LOCK);
        write(&root.join("Cargo.toml"), "[workspace]\n");
        fs::create_dir_all(root.join(".ci")).unwrap();
        fs::copy(workspace().join(".ci/crates"), root.join(".ci/crates")).unwrap();
        root
    }

    fn crates(&self, root: &Path, what: &str) {
        let mut command = Command::new("bash");
        command.arg(root.join(".ci/crates")).arg(what).current_dir("/");
        command.env("CARGO_HOME", self.path("cargo")).env("XDG_CACHE_HOME", self.path("cache"));
        must(&mut command);
    }

    /// The compiled files that a new clone with that name gets.
    fn restored(&self, name: &str) -> Vec<String> {
        let root = self.clone(name);
        self.crates(&root, "restore");
        let left = fs::read_dir(&root).unwrap().map(|it| it.unwrap().file_name());
        assert!(!left.map(|it| it.into_string().unwrap()).any(|it| it.starts_with(".ci-crates")));
        let target = root.join("target/debug");
        let all = OF_REGISTRY.iter().chain(&OWN);
        all.filter(|path| target.join(path).is_file()).map(|&path| path.to_owned()).collect()
    }

    /// The archive file.
    fn kept(&self) -> PathBuf {
        let parts = fs::read_dir(self.path("cache/octet/ci")).unwrap();
        let mut files = parts.map(|it| it.unwrap().path().join("tar")).filter(|it| it.is_file());
        files.next().expect("something is kept")
    }
}

#[test]
fn a_clone_is_given_what_an_earlier_one_has_compiled_of_others_crates() {
    let user = User::new();
    let first = user.clone("first");
    user.crates(&first, "restore");
    assert!(!first.join("target").exists());
    for path in OF_REGISTRY.iter().chain(&OWN) {
        write(&first.join("target/debug").join(path), path);
    }
    user.crates(&first, "keep");
    assert_eq!(user.restored("second"), OF_REGISTRY);
    let text = fs::read_to_string(user.path("second/target/debug").join(OF_REGISTRY[2])).unwrap();
    assert_eq!(text, OF_REGISTRY[2]);
    // Existing files are not overwritten.
    fs::remove_file(user.path("second/target/debug").join(OF_REGISTRY[2])).unwrap();
    user.crates(&user.path("second"), "restore");
    assert!(!user.path("second/target/debug").join(OF_REGISTRY[2]).exists());

    // The crate's sources have changed.
    write(&user.source(), "patched source");
    assert_eq!(user.restored("patched"), [""; 0]);

    // A flipped byte in the archive: it is deleted, and the crates are compiled again.
    fs::remove_dir_all(user.path("cache")).unwrap();
    let first = user.clone("again");
    for path in OF_REGISTRY {
        write(&first.join("target/debug").join(path), path);
    }
    user.crates(&first, "keep");
    let kept = user.kept();
    let mut bytes = fs::read(&kept).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&kept, bytes).unwrap();
    assert_eq!(user.restored("damaged"), [""; 0]);
    assert!(!kept.exists());
}
