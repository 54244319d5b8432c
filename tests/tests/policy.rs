//! Checks deny.toml. cargo-deny reads the same file and checks more, but takes minutes to compile;
//! this test checks licences, several versions of one crate, and sources.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;

use cargo_metadata::{Metadata, MetadataCommand, Package};
use octet_tests::workspace;
use serde::Deserialize;

#[derive(Deserialize)]
struct Deny {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    spec: String,
    reason: String,
}

fn deny() -> Deny {
    toml::from_str(&fs::read_to_string(workspace().join("deny.toml")).unwrap()).unwrap()
}

/// Every crate that is built for one of the targets, except those of the workspace.
fn foreign(targets: &[String]) -> Vec<Package> {
    let mut found = BTreeMap::new();
    for target in targets {
        let options = ["--locked", "--all-features", "--filter-platform", target];
        let metadata: Metadata =
            MetadataCommand::new().other_options(options.map(str::to_owned)).exec().unwrap();
        for node in &metadata.resolve.as_ref().unwrap().nodes {
            let package = metadata[&node.id].clone();
            if !metadata.workspace_members.contains(&package.id) {
                found.insert(package.id.clone(), package);
            }
        }
    }
    found.into_values().collect()
}

fn is_allowed(license: Option<&str>, allow: &[String]) -> bool {
    let Some(Ok(expression)) =
        license.map(|text| spdx::Expression::parse_mode(text, spdx::ParseMode::LAX))
    else {
        return false;
    };
    expression.evaluate(|request| {
        request.license.id().is_some_and(|id| allow.iter().any(|name| name == id.name))
            && request.addition.is_none()
    })
}

/// Crates in several versions, except those that are excused with a reason.
fn duplicates(packages: &[(String, String)], skip: &[Skip]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in packages {
        let excused = skip.iter().any(|skip| {
            let rest =
                skip.spec.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('@'));
            rest.is_some_and(|prefix| {
                version
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        });
        if !excused {
            versions.entry(name).or_default().push(version);
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions.iter().map(|(name, versions)| format!("{name} {}", versions.join(", "))).collect()
}

#[test]
fn licences_are_allowed() {
    let deny = deny();
    let packages = foreign(&deny.graph.targets);
    assert!(packages.len() > 20, "{}", packages.len());
    for package in packages {
        let license = package.license.as_deref();
        assert!(is_allowed(license, &deny.licenses.allow), "{}: {license:?}", package.id);
    }
}

#[test]
fn other_licences_are_refused() {
    let allow = deny().licenses.allow;
    for good in ["MIT", "MIT OR GPL-3.0", "MIT/Apache-2.0", "(MIT OR ISC) AND Unicode-3.0"] {
        assert!(is_allowed(Some(good), &allow), "{good}");
    }
    for bad in ["GPL-3.0-only", "MIT AND GPL-2.0", "MPL-2.0", "no licence"] {
        assert!(!is_allowed(Some(bad), &allow), "{bad}");
    }
    assert!(!is_allowed(None, &allow));
}

#[test]
fn every_crate_is_there_once() {
    let deny = deny();
    let packages: Vec<_> = foreign(&deny.graph.targets)
        .into_iter()
        .map(|package| (package.name.to_string(), package.version.to_string()))
        .collect();
    assert_eq!(duplicates(&packages, &deny.bans.skip), Vec::<String>::new());
    for skip in &deny.bans.skip {
        assert!(!skip.reason.is_empty(), "{}", skip.spec);
        let alone: Vec<Skip> = vec![];
        let name = skip.spec.split('@').next().unwrap();
        let needed = duplicates(&packages, &alone).iter().any(|found| found.starts_with(name));
        assert!(needed, "deny.toml excuses {}, which is there once", skip.spec);
    }
}

#[test]
fn a_second_version_is_found() {
    let pair = |name: &str, version: &str| (name.to_owned(), version.to_owned());
    let packages = [pair("syn", "2.0.1"), pair("syn", "3.0.0"), pair("clap", "4.6.0")];
    let skip = [Skip { spec: "syn@2".into(), reason: "a test".into() }];
    assert_eq!(duplicates(&packages, &skip), Vec::<String>::new());
    assert_eq!(duplicates(&packages, &[]), ["syn 2.0.1, 3.0.0"]);
    let other = [Skip { spec: "syn@1".into(), reason: "a test".into() }];
    assert_eq!(duplicates(&packages, &other).len(), 1);
}

#[test]
fn everything_is_from_the_default_registry() {
    for package in foreign(&deny().graph.targets) {
        let source = package.source.as_ref();
        assert!(source.is_some_and(cargo_metadata::Source::is_crates_io), "{}", package.id);
    }
}
