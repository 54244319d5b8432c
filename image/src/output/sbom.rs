//! `sbom.spdx.json`: what the image is made of (SPDX 2.3).

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::digest::Sha256;
use crate::source::{Component, Kind};
use crate::target::Target;

/// The image that is described.
pub struct Subject<'a> {
    /// The appliance's name.
    pub name: &'a str,
    /// Octet's version.
    pub version: &'a str,
    /// What it is for.
    pub target: Target,
    /// The only date there is.
    pub epoch: u32,
    /// A digest of what is in the image, from which the document gets its name.
    pub content: Sha256,
}

const NONE: &str = "NOASSERTION";
const IMAGE: &str = "SPDXRef-image";

/// The document. The same image gives the same bytes.
pub fn render(subject: &Subject<'_>, components: &[Component]) -> Value {
    let mut components: Vec<_> = components.iter().collect();
    components.sort_by_key(|it| (it.kind, it.name.as_str(), it.version.as_deref()));
    components.dedup();
    let ids = ids(&components);
    let mut packages = vec![json!({
        "SPDXID": IMAGE,
        "name": format!("{} image for {}", subject.name, subject.target),
        "versionInfo": subject.version,
        "downloadLocation": NONE,
        "filesAnalyzed": false,
        "licenseConcluded": NONE,
        "licenseDeclared": NONE,
        "copyrightText": NONE,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    })];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)];
    for (component, id) in components.iter().zip(&ids) {
        packages.push(package(component, id));
        relationships.push(relationship(IMAGE, "CONTAINS", id));
    }
    let by_name: BTreeMap<_, _> =
        components.iter().zip(&ids).map(|(it, id)| ((it.kind, key(it)), id)).collect();
    for (component, id) in components.iter().zip(&ids) {
        for used in &component.uses {
            if let Some(other) = by_name.get(&(component.kind, used.clone())) {
                relationships.push(relationship(id, "DEPENDS_ON", other));
            }
        }
    }
    let created = UNIX_EPOCH + Duration::from_secs(subject.epoch.into());
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{}-{}", subject.name, subject.target),
        "documentNamespace": format!("urn:octet:sbom:{}:{}", subject.target, subject.content),
        "creationInfo": {
            "created": humantime::format_rfc3339_seconds(created).to_string(),
            "creators": [format!("Tool: octet-image-{}", subject.version)],
        },
        "packages": packages,
        "relationships": relationships,
    })
}

/// How `uses` names a component: packages by name, crates by name and version.
fn key(component: &Component) -> String {
    match (&component.kind, &component.version) {
        (Kind::Crate, Some(version)) => format!("{} {version}", component.name),
        _ => component.name.clone(),
    }
}

/// An identifier for each component: letters, digits, `.` and `-` only, none twice.
fn ids(components: &[&Component]) -> Vec<String> {
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    let mut ids = vec![];
    for component in components {
        let kind = match component.kind {
            Kind::Alpine => "alpine",
            Kind::Debian => "deb",
            Kind::Crate => "crate",
            Kind::File => "file",
        };
        let version = component.version.as_deref().unwrap_or_default();
        let plain: String = format!("{}-{version}", component.name)
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
            .collect();
        let id = format!("SPDXRef-{kind}-{}", plain.trim_end_matches('-'));
        let count = taken.entry(id.clone()).or_default();
        *count += 1;
        ids.push(if *count == 1 { id } else { format!("{id}-{count}") });
    }
    ids
}

fn package(component: &Component, id: &str) -> Value {
    let mut package = json!({
        "SPDXID": id,
        "name": component.name,
        "downloadLocation": NONE,
        "filesAnalyzed": false,
        "licenseConcluded": NONE,
        "licenseDeclared": component.license.as_deref().map_or(NONE.to_owned(), license),
        "copyrightText": NONE,
    });
    if let Some(version) = &component.version {
        package["versionInfo"] = json!(version);
    }
    if let Some(purl) = &component.purl {
        package["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }]);
    }
    package
}

/// `text` as a valid expression, or `NOASSERTION`: Alpine and old crates use words of their own.
fn license(text: &str) -> String {
    let text = match spdx::Expression::canonicalize(text) {
        Ok(Some(canonical)) => canonical,
        _ => text.to_owned(),
    };
    match spdx::Expression::parse(&text) {
        Ok(_) => text,
        Err(_) => NONE.to_owned(),
    }
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_valid_or_none() {
        assert_eq!(license("MIT/Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(license("GPL-2.0-only"), "GPL-2.0-only");
        assert_eq!(license("my own"), NONE);
    }

    #[test]
    fn identifiers_differ() {
        let component = |name: &str| Component {
            kind: Kind::Crate,
            name: name.into(),
            version: Some("1".into()),
            license: None,
            purl: None,
            uses: vec![],
        };
        let (one, two) = (component("a_b"), component("a-b"));
        assert_eq!(ids(&[&one, &two]), ["SPDXRef-crate-a-b-1", "SPDXRef-crate-a-b-1-2"]);
    }
}
