//! Bills of materials: what the image is made of, for those who look for known holes in it.
//!
//! `sbom.spdx.json` (SPDX 2.3) and `sbom.cdx.json` (CycloneDX 1.6) say the same.

mod cyclonedx;
mod spdx;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::licenses;
use crate::digest::Sha256;
use crate::source::{Component, ComponentKind};
use crate::target::Target;

/// The image that is described.
pub struct Subject<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub target: Target,
    /// The only date there is.
    pub epoch: u32,
    /// A digest of what is in the image, from which the documents get their names.
    pub content: Sha256,
}

/// The identifier of the image.
const IMAGE: &str = "image";

const SUPPLIER: &str = "Octet";

/// The component of an image, and which of the others it uses.
struct Part<'a> {
    /// Letters, digits, `.` and `-`; no other has it.
    id: String,
    component: &'a Component,
    license: Option<String>,
    uses: Vec<String>,
}

/// The files, by name. The same image gives the same bytes.
pub fn render(subject: &Subject<'_>, components: &[Component]) -> [(&'static str, Value); 2] {
    let parts = parts(components);
    [
        ("sbom.spdx.json", spdx::document(subject, &parts)),
        ("sbom.cdx.json", cyclonedx::document(subject, &parts)),
    ]
}

impl Subject<'_> {
    fn title(&self) -> String {
        format!("{} image for {}", self.name, self.target)
    }

    fn time(&self) -> String {
        let time = UNIX_EPOCH + Duration::from_secs(self.epoch.into());
        humantime::format_rfc3339_seconds(time).to_string()
    }
}

fn parts(components: &[Component]) -> Vec<Part<'_>> {
    let mut components: Vec<_> = components.iter().collect();
    components.sort_by_key(|it| (it.kind, it.name.as_str(), it.version.as_str()));
    components.dedup();
    let ids = ids(&components);
    let by_name: BTreeMap<_, _> =
        components.iter().zip(&ids).map(|(it, id)| ((it.kind, key(it)), id)).collect();
    let mut parts = vec![];
    for (component, id) in components.iter().copied().zip(&ids) {
        let other = |name: &String| by_name.get(&(component.kind, name.clone()));
        parts.push(Part {
            id: id.clone(),
            component,
            license: licenses::expression(component).map(|it| it.to_string()),
            uses: component.uses.iter().filter_map(other).map(|id| (*id).clone()).collect(),
        });
    }
    parts
}

/// How `uses` names a component: packages by name, crates by name and version.
fn key(component: &Component) -> String {
    match component.kind {
        ComponentKind::Crate => format!("{} {}", component.name, component.version),
        _ => component.name.clone(),
    }
}

/// An identifier for each component, none twice.
fn ids(components: &[&Component]) -> Vec<String> {
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    let mut ids = vec![];
    for component in components {
        let kind = match component.kind {
            ComponentKind::Alpine => "alpine",
            ComponentKind::Debian => "deb",
            ComponentKind::Crate => "crate",
            ComponentKind::Toolchain => "toolchain",
            ComponentKind::File => "file",
        };
        let plain: String = format!("{}-{}", component.name, component.version)
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
            .collect();
        let id = format!("{kind}-{plain}");
        let count = taken.entry(id.clone()).or_default();
        *count += 1;
        ids.push(if *count == 1 { id } else { format!("{id}-{count}") });
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_differ() {
        let component = |name: &str| Component {
            kind: ComponentKind::Crate,
            name: name.into(),
            version: "1".into(),
            supplier: "somebody",
            license: None,
            purl: None,
            checksum: None,
            source: String::new(),
            common: vec![],
            notices: vec![],
            uses: vec![],
        };
        let (one, two) = (component("a_b"), component("a-b"));
        assert_eq!(ids(&[&one, &two]), ["crate-a-b-1", "crate-a-b-1-2"]);
    }
}
