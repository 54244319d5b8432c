//! SPDX 2.3 in JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{IMAGE, Part, SUPPLIER, Subject};
use crate::source::{Checksum, Component};

const NONE: &str = "NOASSERTION";

pub fn document(subject: &Subject<'_>, parts: &[Part<'_>]) -> Value {
    let mut packages = vec![json!({
        "SPDXID": id(IMAGE),
        "name": subject.title(),
        "versionInfo": subject.version,
        "supplier": format!("Organization: {SUPPLIER}"),
        "downloadLocation": NONE,
        "filesAnalyzed": false,
        "licenseConcluded": NONE,
        "licenseDeclared": NONE,
        "copyrightText": NONE,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    })];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", &id(IMAGE))];
    let mut references: BTreeMap<&str, &Component> = BTreeMap::new();
    for part in parts {
        packages.push(package(part));
        relationships.push(relationship(&id(IMAGE), "CONTAINS", &id(&part.id)));
        let words = part.license.iter().flat_map(|license| license.split([' ', '(', ')']));
        for word in words.filter(|word| word.starts_with("LicenseRef-")) {
            references.insert(word, part.component);
        }
    }
    for part in parts {
        for used in &part.uses {
            relationships.push(relationship(&id(&part.id), "DEPENDS_ON", &id(used)));
        }
    }
    let extracted = references.iter().map(|(reference, component)| {
        json!({
            "licenseId": reference,
            "name": format!("what comes with {}", component.name),
            "extractedText": component.notices.join("\n"),
        })
    });
    let extracted: Vec<_> = extracted.collect();
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{}-{}", subject.name, subject.target),
        "documentNamespace": format!("urn:octet:sbom:{}:{}", subject.target, subject.content),
        "creationInfo": {
            "created": subject.time(),
            "creators": [
                format!("Organization: {SUPPLIER}"),
                format!("Tool: octet-image-{}", subject.version),
            ],
        },
        "packages": packages,
        "hasExtractedLicensingInfos": extracted,
        "relationships": relationships,
    })
}

fn id(plain: &str) -> String {
    format!("SPDXRef-{plain}")
}

fn package(part: &Part<'_>) -> Value {
    let component = part.component;
    let mut package = json!({
        "SPDXID": id(&part.id),
        "name": component.name,
        "versionInfo": component.version,
        "supplier": format!("Organization: {}", component.supplier),
        "downloadLocation": NONE,
        "filesAnalyzed": false,
        "sourceInfo": component.source,
        "licenseConcluded": NONE,
        "licenseDeclared": part.license.as_deref().unwrap_or(NONE),
        "copyrightText": NONE,
    });
    if let Some(checksum) = &component.checksum {
        let (algorithm, value) = match checksum {
            Checksum::Sha1(value) => ("SHA1", value),
            Checksum::Sha256(value) => ("SHA256", value),
        };
        package["checksums"] = json!([{ "algorithm": algorithm, "checksumValue": value }]);
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

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}
