//! CycloneDX 1.6 (ECMA-424) in JSON.

use serde_json::{Value, json};
use uuid::Builder;

use super::{IMAGE, Part, SUPPLIER, Subject};
use crate::source::{Checksum, ComponentKind};

pub fn document(subject: &Subject<'_>, parts: &[Part<'_>]) -> Value {
    let components: Vec<_> = parts.iter().map(component).collect();
    let all: Vec<_> = parts.iter().map(|part| &part.id).collect();
    let mut dependencies = vec![json!({ "ref": IMAGE, "dependsOn": all })];
    for part in parts {
        dependencies.push(json!({ "ref": part.id, "dependsOn": part.uses }));
    }
    let (number, _) = subject.content.as_ref().split_at(16);
    let number =
        number.try_into().map(Builder::from_custom_bytes).unwrap_or_else(|_| Builder::nil());
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": number.into_uuid().urn().to_string(),
        "version": 1,
        "metadata": {
            "timestamp": subject.time(),
            "tools": { "components": [{
                "type": "application",
                "name": "octet-image",
                "version": subject.version,
            }] },
            "supplier": { "name": SUPPLIER },
            "component": {
                "type": "operating-system",
                "bom-ref": IMAGE,
                "name": subject.title(),
                "version": subject.version,
                "supplier": { "name": SUPPLIER },
            },
        },
        "components": components,
        "dependencies": dependencies,
    })
}

fn component(part: &Part<'_>) -> Value {
    let component = part.component;
    let mut value = json!({
        "type": if component.kind == ComponentKind::File { "application" } else { "library" },
        "bom-ref": part.id,
        "supplier": { "name": component.supplier },
        "name": component.name,
        "version": component.version,
    });
    if let Some(checksum) = &component.checksum {
        let (algorithm, content) = match checksum {
            Checksum::Sha1(content) => ("SHA-1", content),
            Checksum::Sha256(content) => ("SHA-256", content),
        };
        value["hashes"] = json!([{ "alg": algorithm, "content": content }]);
    }
    if let Some(license) = &part.license {
        value["licenses"] = json!([{ "expression": license }]);
    }
    if let Some(purl) = &component.purl {
        value["purl"] = json!(purl);
    }
    value["properties"] = json!([{ "name": "octet:source", "value": component.source }]);
    value
}
