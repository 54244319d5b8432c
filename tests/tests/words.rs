//! Checks names that people and programs use: JSON keys, and replaced words.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use octet_tests::workspace;

/// Replaced keys and flags; CHANGELOG.md has the new ones.
const GONE: [&str; 41] = [
    "\"this is\"",
    "\"last seen\"",
    "\"has map\"",
    "\"has keys\"",
    "\"off by (nanoseconds)\"",
    "\"cached bytes\"",
    "\"asks for lan\"",
    "\"signed commands\"",
    "\"too often\":",
    "\"without key\"",
    "\"handed on to boards\"",
    "\"was here\"",
    "\"of objects\"",
    "\"objects in memory\"",
    "\"bytes in memory\"",
    "\"nodes served\"",
    "\"nodes refused\"",
    "\"from memory\"",
    "\"HTTP requests\"",
    "\"HTTP refused\"",
    "\"HTTP bytes\"",
    "\"one-time keys\"",
    "\"answer\": \"let\"",
    "\"role\": \"the holder of the map\"",
    "\"role\": \"a board\"",
    "\"holder\":",
    "sign-holder",
    "the holder of the map",
    "\"letters\":",
    "octet/letters",
    "for your letters",
    "\"before\": {",
    "\"behind\":",
    "most-milliseconds",
    "least-kilobits",
    "most-price",
    "is turned away for a while",
    "nobody is answered any more",
    "they are put right",
    "In the way, for you to change first",
    "it may something else now",
];

/// The files of the product and its documents, without its tests.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git").arg("ls-files").current_dir(workspace()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let is_ours = |path: &&str| {
        let of_product =
            ["init/", "netd/", "services/", "image/", "tests/bench/", "docs/", "README.md"];
        let of_tests = ["/tests/", "/tests.rs", "/testdata/", "/examples/"];
        of_product.iter().any(|begin| path.starts_with(begin))
            && !of_tests.iter().any(|part| path.contains(part))
            && (path.ends_with(".rs") || path.ends_with(".md"))
    };
    listed.lines().filter(is_ours).map(|path| workspace().join(path)).collect()
}

/// The JSON keys in a line of a program that are not snake_case: `"a key": value`.
fn keys_in(line: &str) -> Vec<&str> {
    let mut found = vec![];
    let parts: Vec<_> = line.split('"').collect();
    for pair in parts.windows(2).skip(1).step_by(2) {
        let [key, behind] = pair else { continue };
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if behind.starts_with(": ") && !key.is_empty() && !key.chars().all(is_word) {
            found.push(*key);
        }
    }
    found
}

#[test]
fn keys_of_answers_are_words() {
    assert_eq!(
        keys_in(r#"json!({ "a key": 1, "a_key": "b", "Key": x, "k-y": y })"#),
        ["a key", "Key", "k-y"]
    );
    // Foreign formats: CycloneDX and SPDX, rpcd's access lists, QEMU's monitor.
    let foreign = [
        "image/src/output/sbom/",
        "netd/openwrt/src/adopt.rs",
        "tests/bench/src/live/wire.rs",
        "image/machine/src/disk.rs",
    ];
    let is_ours = |file: &&PathBuf| !foreign.iter().any(|part| shown(file).starts_with(part));
    let mut wrong = vec![];
    let files = files();
    let of_rust = files.iter().filter(|file| file.extension().is_some_and(|it| it == "rs"));
    for file in of_rust.filter(is_ours) {
        let text = fs::read_to_string(file).unwrap();
        // The tests of a file are at its end.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in (1..).zip(text.lines()) {
            wrong.extend(
                keys_in(line).into_iter().map(|key| format!("{}:{number}: `{key}`", shown(file))),
            );
        }
    }
    assert!(wrong.is_empty(), "write these keys as snake_case:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_gone_stays_gone() {
    let mut wrong = vec![];
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let found = GONE.iter().filter(|word| text.contains(**word));
        wrong.extend(found.map(|word| format!("{}: {word}", shown(&file))));
    }
    assert!(wrong.is_empty(), "CHANGELOG.md says what these are now:\n{}", wrong.join("\n"));
}

/// Type names that may have several meanings: each program has some, with the same meaning within
/// it.
const FREE: [&str; 4] = ["Args", "CommandLine", "Settings", "State"];

/// The same idea in two crates, or with two implementations of input and output. Whoever merges two
/// removes the name here.
const SAME_IDEA: [&str; 6] = ["BothClocks", "Call", "EventSource", "Peer", "Poll", "Verbs"];

/// Replaced type names.
const GONE_TYPES: [&str; 50] = [
    "About",
    "Answering",
    "Asked",
    "Asker",
    "Bell",
    "Book",
    "Brought",
    "Came",
    "CannotBe",
    "Carried",
    "Chance",
    "Coming",
    "Dealings",
    "Desk",
    "Does",
    "Door",
    "Flights",
    "Fresh",
    "Given",
    "Hand",
    "Home",
    "Inside",
    "Keeping",
    "Kept",
    "Known",
    "Leasing",
    "Leaving",
    "Let",
    "Lets",
    "Naming",
    "News",
    "NotLearned",
    "NotTheBox",
    "Own",
    "Passed",
    "Place",
    "Places",
    "Plugged",
    "Shown",
    "Stand",
    "Stretch",
    "Takes",
    "There",
    "Timing",
    "Told",
    "Turns",
    "Unchanged",
    "Way",
    "Wiring",
    "Wish",
];

/// The name of the public type that a line defines.
fn type_in(line: &str) -> Option<&str> {
    let line = line.trim_start().strip_prefix("pub")?;
    let line =
        line.strip_prefix('(').map_or(line, |rest| rest.split_once(')').unwrap_or_default().1);
    let (kind, rest) = line.trim_start().split_once(' ')?;
    let is_type = ["struct", "enum", "trait", "type", "union"].contains(&kind);
    let name = rest.split(|c: char| !c.is_alphanumeric()).next()?;
    (is_type && !name.is_empty()).then_some(name)
}

#[test]
fn a_name_of_a_type_stands_for_one_idea() {
    assert_eq!(type_in("    pub(super) struct PathEnd<'a> {"), Some("PathEnd"));
    assert_eq!(type_in("pub type Names = Vec<Name>;"), Some("Names"));
    assert_eq!(type_in("pub fn struct_of() {}"), None);
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // The simulated network has hosts, links and ports of its own.
    let is_product = |file: &&PathBuf| {
        file.extension().is_some_and(|it| it == "rs") && !shown(file).starts_with("image/machine/")
    };
    for file in files().iter().filter(is_product) {
        let text = fs::read_to_string(file).unwrap();
        for name in text.lines().filter_map(type_in) {
            types.entry(name.to_owned()).or_default().push(shown(file));
        }
    }
    assert!(types.len() > 1000, "{}", types.len());
    let is_listed = |name: &str| FREE.contains(&name) || SAME_IDEA.contains(&name);
    let twice = types.iter().filter(|(name, files)| files.len() > 1 && !is_listed(name));
    let twice: Vec<_> =
        twice.map(|(name, files)| format!("{name}: {}", files.join(", "))).collect();
    assert!(twice.is_empty(), "give each of these a name of its own:\n{}", twice.join("\n"));
    let listed = SAME_IDEA.iter().filter(|name| types.get(**name).is_none_or(|it| it.len() < 2));
    assert_eq!(
        listed.collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "these stand once: take them off the list"
    );
    let gone: Vec<_> = GONE_TYPES.iter().filter_map(|name| types.get(*name)).collect();
    assert!(gone.is_empty(), "these names are gone: {gone:?}");
}

/// The anchor of a heading, as on GitHub and in mdBook.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The anchors of a page's headings, except those within code blocks.
fn anchors(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut found = vec![];
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if let Some(heading) = line.strip_prefix('#').filter(|_| !is_code) {
            found.push(anchor(heading.trim_start_matches('#').trim()));
        }
    }
    found
}

/// The targets of a page's links within the repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets
        .map(|(target, _)| target)
        .filter(|target| !target.contains("://") && !target.contains(' '))
}

#[test]
fn links_lead_to_pages_and_headings() {
    let text = "# A page: of `links`\n```\n# no heading\n```\n[x](y.md#z) [w](https://a.example/)";
    assert_eq!(anchors(text), ["a-page-of-links"]);
    assert_eq!(links(text).collect::<Vec<_>>(), ["y.md#z"]);
    let mut wrong = vec![];
    let others = ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|it| workspace().join(it));
    let pages = files().into_iter().chain(others);
    for page in pages.filter(|file| file.extension().is_some_and(|it| it == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let is_there = match fs::read_to_string(&target) {
                Ok(text) => heading.is_empty() || anchors(&text).iter().any(|it| it == heading),
                // A folder, or a file that is not text.
                Err(_) => heading.is_empty() && target.exists(),
            };
            if !is_there {
                wrong.push(format!("{}: {link}", shown(&page)));
            }
        }
    }
    assert!(wrong.is_empty(), "these links lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn readme_lists_all_pages() {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let pages = files().into_iter().map(|file| shown(&file)).filter(|it| it.starts_with("docs/"));
    let missing: Vec<_> = pages.filter(|page| !readme.contains(&format!("]({page})"))).collect();
    assert!(missing.is_empty(), "README.md does not list {missing:?}");
}

/// mdBook shows only the pages in SUMMARY.md, and creates an empty page for one that does not
/// exist.
#[test]
fn the_book_has_all_pages() {
    let docs = workspace().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: Vec<_> = links(&summary).collect();
    let gone: Vec<_> = listed.iter().filter(|page| !docs.join(page).is_file()).collect();
    assert!(gone.is_empty(), "docs/SUMMARY.md lists {gone:?}, which are not there");
    let pages = files().into_iter().map(|file| shown(&file));
    let pages = pages.filter_map(|page| Some(page.strip_prefix("docs/")?.to_owned()));
    for page in pages.filter(|page| page != "SUMMARY.md") {
        let count = listed.iter().filter(|it| **it == page).count();
        assert_eq!(count, 1, "docs/SUMMARY.md has to list {page} once");
    }
}

fn shown(file: &Path) -> String {
    file.strip_prefix(workspace()).unwrap_or(file).display().to_string()
}
