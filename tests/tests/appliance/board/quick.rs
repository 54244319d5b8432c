//! `cargo image run --quick`, for development.

use std::fs;
use std::path::Path;
use std::process::Command;

use octet_tests::{
    Image, InTerminal, READY, builder, cache_without_programs, clone_to, must, run, shipped,
};

/// A line of the status screen, and its replacement.
const SCREEN: &str = "services/console/src/screen.rs";
const LINE: [&str; 2] = ["There is no login here.", "There is a quick change."];

/// `cargo image` of a clone.
fn image(clone: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(builder());
    command.current_dir(clone).args(args);
    command
}

/// The number of crates that a build has compiled, from its output; 0 if it mentions none.
fn compiled(said: &str) -> usize {
    let said = said.lines().find_map(|line| line.trim().strip_prefix("compile "));
    said.map_or(0, |line| line.trim().split(' ').next().unwrap().parse().unwrap())
}

#[test]
#[ignore = "long: compiles the workspace's own crates twice"]
fn a_changed_line_is_tried_and_shipped_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let clone = folder.path().join("clone");
    clone_to(&clone);
    let first = must(&mut image(&clone, &["build", "--quick"])).stderr;
    assert!(compiled(&first) > 10, "{first}");

    let screen = fs::read_to_string(clone.join(SCREEN)).unwrap();
    assert!(screen.contains(LINE[0]));
    fs::write(clone.join(SCREEN), screen.replace(LINE[0], LINE[1])).unwrap();
    let second = must(&mut image(&clone, &["build", "--quick"])).stderr;
    // The console, and the program that contains it.
    assert_eq!(compiled(&second), 2, "{second}");
    let mut person = InTerminal::start(image(&clone, &["run", "--quick"]));
    person.wait_for(LINE[1], READY);
    person.wait_for("READY", READY);
    person.keys("\x03");
    let status = person.end();
    assert!(!person.text.contains(LINE[0]), "{status}: {}", person.text);

    // The result is marked as quick, and has nothing to flash, sign or bundle.
    let out = clone.join("out/qemu-x86_64-quick");
    let quick = Image::at(out.clone());
    let root = quick.root(folder.path());
    let about = fs::read_to_string(root.join("usr/lib/os-release")).unwrap();
    assert!(about.lines().any(|line| line.starts_with("VERSION_ID=") && line.ends_with("-quick")));
    let mut files: Vec<_> = fs::read_dir(&out).unwrap().map(|it| it.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["SHA256SUMS", "boot"]);
    let disk = run(&mut image(&clone, &["run", "--quick", "--disk"]));
    assert!(disk.status != Some(0) && disk.stderr.contains("--quick"), "{}", disk.stderr);

    // The released image is built in the same folder, and is unchanged.
    fs::write(clone.join(SCREEN), screen).unwrap();
    let cache = folder.path().join("cache");
    cache_without_programs(&cache);
    let said = must(image(&clone, &["build"]).env("XDG_CACHE_HOME", &cache)).stderr;
    assert!(compiled(&said) > 10, "{said}");
    let sums = |folder: &Path| fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(&clone.join("out/qemu-x86_64")), sums(&shipped().folder), "{said}");
}
