//! The image is reproducible: the same inputs result in the same bytes on any machine.
use std::fs;
use std::path::Path;
use std::process::Command;

use octet_tests::{
    builder, cache_without_programs, clone_to, link_programs, must, run, shipped, workspace,
};

/// `cargo image build --verify=EXTENT` of the released image.
fn verify(extent: &str) -> Command {
    let mut command = Command::new(builder());
    command.current_dir(workspace()).args(["build", &format!("--verify={extent}")]);
    command
}

/// Everything but the programs is built again. (The test starts the builder and compares two whole
/// images.)
#[test]
fn another_clone_another_host_the_same_bytes() {
    let said = the_same("composition");
    assert!(
        said.contains("a second build (of the programs that were compiled for the first)"),
        "{said}"
    );
}

/// The second build compiles on one processor, which takes minutes.
#[test]
#[ignore = "long: compiles everything once more"]
fn and_the_same_programs() {
    let said = the_same("all");
    // There was no cache: cargo compiled every crate of the image.
    let (_, compiled) = said.split_once("a second build (").unwrap();
    let compiled: usize = compiled.split(' ').next().unwrap().parse().unwrap();
    let crates = crates(&shipped().folder);
    assert!(crates.len() > 20 && compiled >= crates.len(), "{compiled}: {crates:?}");
}

/// Programs are taken from the first clone. Where they are not in the cache, compiled crates of
/// registries are.
#[test]
#[ignore = "long: compiles the workspace's own crates once more"]
fn a_second_clone_compiles_its_own_crates_alone() {
    let folder = tempfile::tempdir().unwrap();
    let clone = folder.path().join("a second clone");
    clone_to(&clone);
    let sums = |folder: &Path| fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let crates = crates(&shipped().folder).len();
    let cache = folder.path().join("cache");
    cache_without_programs(&cache);
    for compiles in [true, false] {
        let mut build = Command::new(builder());
        build.current_dir(&clone).arg("build");
        if compiles {
            build.env("XDG_CACHE_HOME", &cache);
        }
        let said = must(&mut build).stderr;
        let compiled = said.lines().find_map(|line| line.strip_prefix("compile "));
        let compiled = compiled.map(|line| line.trim().split(' ').next().unwrap().to_owned());
        match compiled.map(|count| count.parse::<usize>().unwrap()) {
            Some(compiled) => assert!(compiles && (10..crates / 4).contains(&compiled), "{said}"),
            None => assert!(!compiles, "{said}"),
        }
        assert_eq!(sums(&clone.join("out/qemu-x86_64")), sums(&shipped().folder), "{said}");
        if compiles {
            fs::remove_dir_all(clone.join("out")).unwrap();
            fs::remove_dir_all(clone.join("target/appliance")).unwrap();
        }
    }
}

/// Builds once more and compares. Returns the output.
fn the_same(extent: &str) -> String {
    let first = shipped();
    let said = must(&mut verify(extent));
    println!("{}\n{}", said.stderr, said.stdout);

    // These facts were checked in the second build environment.
    for fact in [
        "path: ",
        "umask: 0077",
        "clock: 400 days ahead",
        "HOME: ",
        "time zone: Pacific/Chatham",
        "locale: tr_TR.UTF-8",
        "user name: ",
    ] {
        let line = format!("different there: {fact}");
        assert!(said.stdout.contains(&line), "no `{line}` in:\n{}", said.stdout);
    }
    // Facts that depend on this machine are printed whether they differ or not.
    for fact in ["processors: ", "host name: ", "order of directory entries: "] {
        assert!(said.stdout.contains(&format!("there: {fact}")), "{fact}:\n{}", said.stdout);
    }

    // All released files were compared, including SHA256SUMS.
    let sums = fs::read_to_string(first.file("SHA256SUMS")).unwrap();
    let files = sums.lines().count() + 1;
    assert!(files >= 7, "{sums}");
    assert!(said.stdout.contains(&format!(": {files} files, ")), "{}", said.stdout);
    said.stdout
}

#[test]
fn what_it_needs_is_named_if_it_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let needs = ["datefudge", "taskset", "unshare"];
    for missing in needs {
        let path = folder.path().join(missing);
        fs::create_dir(&path).unwrap();
        link_programs(&path, missing);
        let said = run(verify("all").env("PATH", &path));
        assert_eq!(said.status, Some(1), "{}", said.stderr);
        assert!(said.stderr.contains("--setup"), "{}", said.stderr);
        for need in needs {
            let named = said.stderr.contains(&format!("{need} (Debian package"));
            assert_eq!(named, need == missing, "{need}:\n{}", said.stderr);
        }
    }
}

/// The crates in an image's SBOM.
fn crates(image: &Path) -> Vec<String> {
    let text = fs::read(image.join("sbom.spdx.json")).unwrap();
    let sbom: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let locators = sbom["packages"].as_array().unwrap().iter().filter_map(|package| {
        let references = package["externalRefs"].as_array()?;
        references.iter().find_map(|it| it["referenceLocator"].as_str()?.strip_prefix("pkg:cargo/"))
    });
    locators.map(str::to_owned).collect()
}
