//! Checks the image's bills of materials with independent tools, and against the actual content.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use octet_tests::{cache, must, run, shipped, workspace};
use serde_json::{Value, json};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A bill of materials: the components by identifier, with their dependencies.
#[derive(Debug, Default, PartialEq)]
struct Bill(BTreeMap<String, (Value, BTreeSet<String>)>);

impl Bill {
    fn spdx(document: &Value) -> Self {
        let mut bill = Self::default();
        let plain = |id: &Value| text(id).strip_prefix("SPDXRef-").unwrap().to_owned();
        for package in document["packages"].as_array().unwrap() {
            let checksum = &package["checksums"][0];
            let algorithm = text(&checksum["algorithm"]).replace("SHA", "SHA-");
            let license = Some(&package["licenseDeclared"]).filter(|it| *it != "NOASSERTION");
            let is = json!([
                package["name"],
                package["versionInfo"],
                text(&package["supplier"]).strip_prefix("Organization: "),
                license,
                package["externalRefs"][0]["referenceLocator"],
                [algorithm, text(&checksum["checksumValue"])],
                package["sourceInfo"],
            ]);
            bill.0.insert(plain(&package["SPDXID"]), (is, BTreeSet::new()));
        }
        for edge in document["relationships"].as_array().unwrap() {
            let from = bill.0.get_mut(&plain(&edge["spdxElementId"]));
            match text(&edge["relationshipType"]) {
                "DESCRIBES" => assert_eq!(edge["relatedSpdxElement"], "SPDXRef-image"),
                _ => drop(from.unwrap().1.insert(plain(&edge["relatedSpdxElement"]))),
            }
        }
        bill
    }

    fn cyclonedx(document: &Value) -> Self {
        let mut bill = Self::default();
        let image = &document["metadata"]["component"];
        for it in document["components"].as_array().unwrap().iter().chain([image]) {
            let hash = &it["hashes"][0];
            let is = json!([
                it["name"],
                it["version"],
                it["supplier"]["name"],
                it["licenses"][0]["expression"],
                it["purl"],
                [text(&hash["alg"]), text(&hash["content"])],
                it["properties"][0]["value"],
            ]);
            bill.0.insert(text(&it["bom-ref"]).to_owned(), (is, BTreeSet::new()));
        }
        for edge in document["dependencies"].as_array().unwrap() {
            let uses = edge["dependsOn"].as_array().unwrap();
            let uses = uses.iter().map(|id| text(id).to_owned());
            bill.0.get_mut(text(&edge["ref"])).unwrap().1.extend(uses);
        }
        bill
    }

    /// The Package URL of the component with this name and kind.
    fn purl(&self, kind: &str, name: &str) -> &str {
        let begin = format!("pkg:{kind}/");
        let mut all = self.0.values().map(|(is, _)| is);
        let found = all.find(|is| is[0] == name && text(&is[4]).starts_with(&begin));
        text(&found.unwrap_or_else(|| panic!("no {name} of {kind}"))[4])
    }
}

#[test]
fn both_bills_say_the_same_and_what_is_so() {
    let image = shipped();
    let [spdx, other] = ["sbom.spdx.json", "sbom.cdx.json"].map(|name| read(&image.file(name)));
    let bill = Bill::spdx(&spdx);
    assert_eq!(bill, Bill::cyclonedx(&other));
    assert!(bill.0.len() > 200, "{}", bill.0.len());

    // The fields in which scanners look for a package's source.
    for (kind, name, wanted) in [
        ("apk", "linux-virt", "upstream=linux-lts"),
        ("apk", "libblkid", "upstream=util-linux"),
        ("apk", "busybox", "distro=alpine-3."),
        ("deb", "libc6", "upstream=glibc"),
        ("deb", "libtinfo6", "upstream=ncurses"),
        ("deb", "libxtables12", "upstream=iptables"),
        ("deb", "nftables", "distro=debian-12"),
    ] {
        let purl = bill.purl(kind, name);
        assert!(purl.contains(wanted), "{purl}");
    }
    let rustc = must(Command::new("rustc").arg("-V")).stdout;
    let release = rustc.split_whitespace().nth(1).unwrap();
    assert_eq!(bill.purl("github", "rust-std"), format!("pkg:github/rust-lang/rust@{release}"));

    // Crates of a registry are those in Cargo.lock; crates of the workspace are not mistaken for
    // them.
    let lock = fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    let mut crates = 0;
    for (id, (is, _)) in &bill.0 {
        let [name, version, sha256] = [&is[0], &is[1], &is[5][1]].map(text);
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let locked = lock.split_once(&entry).map(|(_, rest)| rest.split("\n\n").next().unwrap());
        match text(&is[4]).split('/').next().unwrap() {
            "pkg:cargo" => {
                let checksum = format!("checksum = \"{sha256}\"");
                assert!(locked.unwrap().contains(&checksum), "{id}: {locked:?}");
                crates += 1;
            }
            "pkg:generic" if id != "image" && name != "musl" => {
                assert!(!locked.unwrap().contains("source = "), "{id}: {locked:?}");
            }
            _ => {}
        }
        assert!(id == "image" || !is[3].is_null(), "no licence: {id}");
    }
    assert!(crates > 100, "{crates}");
}

/// Each component has a licence text, and each one of a registry has all texts of its author.
#[test]
fn licences_are_given_in_full() {
    let image = shipped();
    let file =
        |name: &str| fs::read_to_string(image.file(&format!("licenses/{name}.txt"))).unwrap();
    let (index, texts) = (file("index"), ["alpine", "debian", "rust"].map(file).concat());
    let bill = Bill::spdx(&read(&image.file("sbom.spdx.json")));
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"));
    let registries = fs::read_dir(home.join("registry/src")).unwrap();
    let registries: Vec<_> = registries.map(|entry| entry.unwrap().path()).collect();
    let mut found = 0;
    for (id, (is, _)) in bill.0.iter().filter(|(id, _)| *id != "image") {
        let line = format!("{} {}\n", text(&is[0]), text(&is[1]));
        let entry = format!("\n{line}  licence  {}\n  source   {}\n", text(&is[3]), text(&is[6]));
        assert!(format!("\n{index}").contains(&entry), "{id}: {entry}");
        assert!(format!("\n{texts}").contains(&format!("\n{line}")), "no text of {id}");
        let folder = format!("{}-{}", text(&is[0]), text(&is[1]));
        for notice in registries.iter().flat_map(|all| {
            ["LICENSE", "LICENSE-MIT", "LICENSE-APACHE", "NOTICE"]
                .map(|name| all.join(&folder).join(name))
        }) {
            let Ok(notice) = fs::read(notice) else { continue };
            let notice = String::from_utf8_lossy(&notice);
            assert!(texts.contains(notice.trim_end()), "{id}");
            found += 1;
        }
    }
    assert!(found > 100, "{found}");
    let line = "=".repeat(80);
    for (part, words) in [
        ("busybox 1.", "GNU GENERAL PUBLIC LICENSE"),
        ("libc6 2.", "GNU LESSER GENERAL PUBLIC LICENSE"),
        ("nftables 1.", "Patrick McHardy"),
    ] {
        // A text follows the names of its components, between two lines.
        let mut blocks = texts.split(&line).skip(1);
        let mut all = std::iter::from_fn(|| Some((blocks.next()?, blocks.next()?)));
        let has = all.any(|(names, text)| {
            names.lines().any(|name| name.starts_with(part)) && text.contains(words)
        });
        assert!(has, "{part}: {words}");
    }
}

#[test]
fn spdx_tools_accept_the_sbom() {
    let sbom = shipped().file("sbom.spdx.json");
    let checked = run(&mut spdx_tools(&sbom));
    assert_eq!(checked.status, Some(0), "{}{}", checked.stdout, checked.stderr);

    let folder = tempfile::tempdir().unwrap();
    let mut document: Value = serde_json::from_slice(&fs::read(&sbom).unwrap()).unwrap();
    assert!(document["packages"].as_array().unwrap().len() > 5);
    document["packages"][0]["SPDXID"] = "no such id".into();
    let bad = folder.path().join("bad.spdx.json");
    fs::write(&bad, document.to_string()).unwrap();
    assert_ne!(run(&mut spdx_tools(&bad)).status, Some(0));
}

fn spdx_tools(document: &Path) -> Command {
    let mut command = python();
    command.args(["-m", "spdx_tools.spdx.clitools.pyspdxtools", "--infile"]).arg(document);
    command
}

/// Python, with the modules that --setup has installed.
fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", cache().join("octet/python"));
    command
}

/// The requirements of other tools: the minimum elements of a bill of materials, and URLs as
/// specified.
#[test]
#[ignore = "long: tools that the short tier does without"]
fn other_tools_accept_both_bills() {
    let image = shipped();
    let folder = tempfile::tempdir().unwrap();
    let [spdx, other] = ["sbom.spdx.json", "sbom.cdx.json"].map(|name| image.file(name));
    let ntia = |document: &Path| {
        let said = run(python().args(["-m", "ntia_conformance_checker.main"]).arg(document));
        println!("{}", said.stdout);
        said.stdout.contains("Conformant: True")
    };
    assert!(ntia(&spdx));
    let mut document = read(&spdx);
    document["packages"][3].as_object_mut().unwrap().remove("supplier").unwrap();
    let bad = folder.path().join("bad.spdx.json");
    fs::write(&bad, document.to_string()).unwrap();
    assert!(!ntia(&bad));

    let check = "import sys, json\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        from cyclonedx.schema import SchemaVersion\n\
        from packageurl import PackageURL\n\
        text = open(sys.argv[1]).read()\n\
        wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)\n\
        urls = [it['purl'] for it in json.loads(text)['components'] if 'purl' in it]\n\
        others = [url for url in urls if PackageURL.from_string(url).to_string() != url]\n\
        print(len(urls), others, wrong)\n\
        sys.exit(wrong is not None or others != [] or len(urls) < 200)\n";
    let cyclonedx = |document: &Path| {
        let said = run(python().args(["-c", check]).arg(document));
        println!("{}{}", said.stdout, said.stderr);
        said.status
    };
    assert_eq!(cyclonedx(&other), Some(0));
    for (key, value) in [("bom-ref", json!(1)), ("purl", json!("pkg:deb/debian/x@1?b=1&a=2"))] {
        let mut document = read(&other);
        document["components"][3][key] = value;
        let bad = folder.path().join("bad.cdx.json");
        fs::write(&bad, document.to_string()).unwrap();
        assert_eq!(cyclonedx(&bad), Some(1), "{key}");
    }
}
