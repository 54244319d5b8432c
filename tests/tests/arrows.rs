//! Checks which crates depend on which.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// The folder of a crate, and the folders on which it may depend directly; it may depend on their
/// dependencies, too. A service stands for every folder of its kind. All other dependencies are
/// forbidden, so services never import each other: they communicate over sockets.
const ARROWS: &[(&str, &[&str])] = &[
    ("init/appliance", &[]),
    ("init/bundle", &[]),
    ("init/esp", &["init/bundle"]),
    ("init/control", &["init/appliance"]),
    ("init", &["init/control", "init/esp"]),
    // Tests of services are PID 1 for them.
    ("tests/as-pid-1", &["init/control"]),
    ("services/node", &["init/control", "tests/as-pid-1"]),
    // Its tests call the evaluator, which shares no code with it.
    ("netd/router", &["init/appliance", "tests/evaluator"]),
    // Its tests call the double, which shares no code with it.
    ("netd/openwrt", &["netd/router", "services/node", "tests/openwrt"]),
    ("netd", &["services/node", "netd/router"]),
    ("services/update", &["services/node", "init/esp"]),
    // The person's program and the service share the protocol, and the service sends messages
    // itself.
    ("services/messages", &["services/node"]),
    ("services/messenger", &["services/messages"]),
    // Its tests call the service.
    ("services/octet-msg", &["services/messages", "services/messenger"]),
    // Pure: the units `accounts` and `ledger` do the I/O.
    ("services/receipts", &["services/node"]),
    // Pure as well.
    ("services/coins", &["services/receipts"]),
    // Its tests call the ledger.
    ("services/accounts", &["services/receipts", "services/coins", "services/ledger"]),
    // Its tests have its blocks audited.
    ("services/ledger", &["services/coins", "services/auditor"]),
    // Its tests compare it with these, with which it shares no code.
    ("services/auditor", &["services/node", "services/coins"]),
    // Its tests fetch by the unit `origin`, which is another process on a node.
    ("services/origin", &["services/node"]),
    ("services/cache", &["services/node", "services/origin"]),
    ("services/face", &["services/node", "services/face/oled"]),
    ("services/router", &["services/node", "netd/openwrt"]),
    ("services/face/oled", &[]),
    (SERVICE, &["services/node"]),
    // Pages for a browser of the owner's machine; it is no service.
    ("services/web", &["services/node"]),
    // It checks a genesis file, and audits a ledger.
    (
        "services/octetctl",
        &["services/node", "netd/openwrt", "services/web", "services/coins", "services/auditor"],
    ),
    (
        "services/program",
        &[
            "netd",
            SERVICE,
            "services/accounts",
            "services/cache",
            "services/face",
            "services/ledger",
            "services/messenger",
            "services/octetctl",
            "services/origin",
            "services/router",
            "services/update",
        ],
    ),
    ("image", &["init/appliance", "init/esp", "image/machine"]),
    ("image/machine", &["init/control"]),
    // It builds images, and measures them.
    ("tests/bench", &["image"]),
    ("tests/guests", &["services/node"]),
    ("tests/evaluator", &[]),
    ("tests/openwrt", &[]),
    (
        "tests/fuzz",
        &[SERVICE, "services/cache", "services/ledger", "services/messages", "init/bundle", "netd"],
    ),
    // They order transactions as an owner does.
    (
        "tests",
        &["image/machine", "tests/guests", "tests/evaluator", "init/bundle", "services/coins"],
    ),
];

/// Any folder of `services/` without an entry of its own.
const SERVICE: &str = "services/*";

/// Maps a crate's folder to the folders on which it depends.
type Arrows = BTreeMap<String, BTreeSet<String>>;

fn kind(folder: &str) -> Option<&'static str> {
    let own = ARROWS.iter().map(|(kind, _)| *kind).find(|kind| *kind == folder);
    own.or_else(|| folder.starts_with("services/").then_some(SERVICE))
}

/// All folders that `kind` may use, directly or indirectly.
fn allowed(kind: &str) -> BTreeSet<&'static str> {
    let direct = ARROWS.iter().filter(|(from, _)| *from == kind).flat_map(|(_, to)| to.iter());
    direct.flat_map(|to| allowed(to).into_iter().chain([*to])).collect()
}

/// Every forbidden dependency, and every crate without an entry.
fn violations(arrows: &Arrows) -> Vec<String> {
    let mut found = Vec::new();
    for (from, targets) in arrows {
        let Some(from_kind) = kind(from) else {
            found.push(format!("{from} has no place in the house (tests/tests/arrows.rs)"));
            continue;
        };
        for to in targets {
            if !kind(to).is_some_and(|to| allowed(from_kind).contains(to)) {
                found.push(format!("{from} must not depend on {to}"));
            }
        }
    }
    found
}

fn metadata() -> Metadata {
    MetadataCommand::new().other_options(["--locked".into()]).exec().unwrap()
}

/// The dependencies of the workspace, including those of tests and build scripts.
fn workspace_arrows() -> Arrows {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let folders: BTreeMap<&str, String> = packages
        .iter()
        .map(|package| (package.name.as_str(), folder(&metadata, package)))
        .collect();
    packages
        .iter()
        .map(|package| {
            let own = package.dependencies.iter().filter_map(|on| folders.get(on.name.as_str()));
            (folders[package.name.as_str()].clone(), own.cloned().collect())
        })
        .collect()
}

fn folder(metadata: &Metadata, package: &cargo_metadata::Package) -> String {
    let folder = package.manifest_path.parent().unwrap();
    folder.strip_prefix(&metadata.workspace_root).unwrap().to_string()
}

#[test]
fn only_the_agreed_arrows() {
    let arrows = workspace_arrows();
    assert!(arrows.contains_key("init") && arrows["init"].contains("init/control"), "{arrows:?}");
    assert_eq!(violations(&arrows), Vec::<String>::new());
}

#[test]
fn a_wrong_arrow_is_found() {
    let house = workspace_arrows();
    assert_eq!(violations(&house), Vec::<String>::new());
    for (from, to) in [
        ("services/octetctl", "services/console"),
        ("services/web", "netd/openwrt"),
        ("services/console", "init"),
        ("init/appliance", "init/control"),
        ("init/control", "services/node"),
        ("init", "services/node"),
        ("init", "image/machine"),
        ("image/machine", "image"),
        ("tests", "image"),
        ("image", "tests/bench"),
        ("tests", "tests/bench"),
        ("tests/bench", "tests/guests"),
        ("tests/evaluator", "netd"),
        ("tests/evaluator", "init/appliance"),
        ("tests/openwrt", "netd/openwrt"),
        ("image", "services/node"),
        ("services/node", "services/node"),
        ("somewhere", "init/appliance"),
    ] {
        let mut arrows = house.clone();
        arrows.entry(from.to_owned()).or_default().insert(to.to_owned());
        let found = violations(&arrows);
        assert!(found.len() == 1 && found[0].starts_with(from), "{from} -> {to}: {found:?}");
    }
}

/// An auditor that shared code with the ledger would share its mistakes.
#[test]
fn the_auditor_shares_no_code_with_the_ledger() {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let folders = packages.iter().map(|package| (&package.name, folder(&metadata, package)));
    let ours: BTreeMap<_, _> = folders.collect();
    let auditor =
        packages.iter().find(|package| ours[&package.name] == "services/auditor").unwrap();
    let of_product =
        auditor.dependencies.iter().filter(|on| on.kind != DependencyKind::Development);
    let used: Vec<_> =
        of_product.filter(|on| on.path.is_some()).map(|on| on.name.as_str()).collect();
    assert_eq!(used, ["octet-node"]);
    assert!(auditor.dependencies.iter().any(|on| on.name == "octet-coins"), "tests compare them");
}

/// Only tests use the double of PID 1.
#[test]
fn as_pid_1_is_for_tests() {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let all = packages.iter().flat_map(|package| &package.dependencies);
    let kinds: Vec<_> = all.filter(|on| on.name == "octet-as-pid-1").map(|on| on.kind).collect();
    assert!(!kinds.is_empty());
    assert!(kinds.iter().all(|kind| *kind == DependencyKind::Development), "{kinds:?}");
}

/// A feature that only tests name would have cargo compile a crate, and all that use it, once for
/// programs and once more for tests.
#[test]
fn tests_name_no_feature_of_their_own() {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let named = |is_of_tests: bool| -> BTreeSet<(&str, &str)> {
        let all = packages.iter().flat_map(|package| &package.dependencies);
        let kind = all.filter(|on| {
            on.path.is_some() && (on.kind == DependencyKind::Development) == is_of_tests
        });
        kind.flat_map(|on| on.features.iter().map(|it| (on.name.as_str(), it.as_str()))).collect()
    };
    let (programs, tests) = (named(false), named(true));
    assert!(!tests.is_empty());
    assert_eq!(tests.difference(&programs).collect::<Vec<_>>(), Vec::<&(&str, &str)>::new());
}
