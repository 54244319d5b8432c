//! Checks the package databases inside the image with the programs that use such databases.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use octet_tests::{Image, apk, must, shipped};
use serde_json::Value;

fn json(image: &Image, file: &str) -> Value {
    serde_json::from_slice(&fs::read(image.file(file)).unwrap()).unwrap()
}

/// The names and versions of the packages of the kind `purl` in the bill of materials.
fn listed(image: &Image, purl: &str) -> Vec<(String, String)> {
    let sbom = json(image, "sbom.spdx.json");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is = |it: &&Value| text(&it["externalRefs"][0]["referenceLocator"]).starts_with(purl);
    let packages = sbom["packages"].as_array().unwrap().iter().filter(is);
    let mut listed: Vec<_> =
        packages.map(|it| (text(&it["name"]), text(&it["versionInfo"]))).collect();
    listed.sort();
    assert!(listed.len() > 5, "{listed:?}");
    listed
}

/// Changes one byte of the file at `path`.
fn alter(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn apk_knows_the_packages_and_what_is_altered() {
    let (image, folder) = (shipped(), tempfile::tempdir().unwrap());
    let root = image.root(folder.path());
    let apk = |arguments: &[&str]| {
        let said = must(apk(folder.path(), &root).args(arguments));
        assert_eq!(said.stderr, "");
        said.stdout
    };
    let packages = listed(&image, "pkg:apk/");
    let names = packages.iter().map(|(name, version)| format!("{name}-{version}"));
    let mut found: Vec<_> = apk(&["info", "-v"]).lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, names.collect::<Vec<_>>());

    // Files without a package are those that no package contains; for the folders themselves, and
    // for /etc and /var, apk does not list them. Kernel modules are unpacked, so they differ from
    // the package's files.
    let of_apk: BTreeSet<_> =
        packages.iter().map(|(name, version)| format!("package {name} {version}")).collect();
    let manifest = json(&image, "manifest.json");
    let items = manifest["root"].as_array().unwrap().iter().filter(|it| it["type"] != "folder");
    let strange = items.filter_map(|item| {
        let path = &item["path"].as_str().unwrap()[1..];
        let is_of_apk = of_apk.contains(item["origin"].as_str().unwrap()) && !path.ends_with(".ko");
        let is_said = !["etc/", "var/", "lib/apk/"].iter().any(|folder| path.starts_with(folder));
        (is_said && !is_of_apk).then(|| format!("A {path}"))
    });
    let audited = apk(&["audit", "--full", "--recursive"]);
    let audited = audited.lines().filter(|line| !line.starts_with("d "));
    assert_eq!(
        audited.map(str::to_owned).collect::<BTreeSet<_>>(),
        strange.collect::<BTreeSet<_>>()
    );
    assert_eq!(apk(&["audit", "--system"]), "");
    alter(&root.join("sbin/e2fsck"));
    assert_eq!(apk(&["audit", "--system"]), "U sbin/e2fsck\n");
}

#[test]
fn dpkg_knows_the_packages_and_what_is_altered() {
    let (image, folder) = (shipped(), tempfile::tempdir().unwrap());
    let root = image.root(folder.path());
    // dpkg expects all packages in one file, with a status each, and lists of files in another
    // folder.
    let database = folder.path().join("database");
    let info = database.join("info");
    fs::create_dir_all(&info).unwrap();
    fs::create_dir(database.join("updates")).unwrap();
    fs::write(info.join("format"), "1\n").unwrap();
    let mut status = String::new();
    for entry in fs::read_dir(root.join("var/lib/dpkg/status.d")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "md5sums") {
            continue;
        }
        let stanza = fs::read_to_string(&path).unwrap();
        assert!(!stanza.contains("\n\n"), "{stanza}");
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = match stanza.contains("\nMulti-Arch: same\n") {
            true => format!("{name}:amd64"),
            false => name.to_owned(),
        };
        let sums = fs::read_to_string(path.with_extension("md5sums")).unwrap();
        let list: String =
            sums.lines().map(|line| format!("/{}\n", line.split_once("  ").unwrap().1)).collect();
        fs::write(info.join(format!("{name}.md5sums")), sums).unwrap();
        fs::write(info.join(format!("{name}.list")), list).unwrap();
        status += &format!("Status: install ok installed\n{stanza}\n");
    }
    fs::write(database.join("status"), status).unwrap();
    let dpkg = |program: &str| {
        let mut command = Command::new(program);
        // `--root` would select another database if it came later.
        command.arg("--root").arg(&root).arg("--admindir").arg(&database).env("LC_ALL", "C");
        command
    };

    let mut packages = listed(&image, "pkg:deb/");
    // The only file of it in the image is on the EFI system partition.
    let before = packages.len();
    packages.retain(|(name, _)| name != "systemd-boot-efi");
    assert_eq!(packages.len(), before - 1);
    let found = must(dpkg("dpkg-query").args(["--show", "--showformat=${Package} ${Version}\n"]));
    assert_eq!(found.stderr, "");
    let names = packages.iter().map(|(name, version)| format!("{name} {version}\n"));
    assert_eq!(found.stdout, names.collect::<String>());

    let verify = || must(dpkg("dpkg").arg("--verify")).stdout;
    assert_eq!(verify(), "");
    alter(&root.join("usr/sbin/nft"));
    assert_eq!(verify(), "??5??????   /usr/sbin/nft\n");
}
