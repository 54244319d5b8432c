//! Licences of all that the image is made of, in full, and where the complete source of each part
//! is. They are in the image, so that who is given a box is given them, and beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use spdx::{Expression, LicenseItem};

use crate::source::{Component, ComponentKind};

#[derive(Debug, Serialize)]
pub struct Licenses {
    components: Vec<Entry>,
    texts: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Entry {
    #[serde(skip)]
    kind: ComponentKind,
    name: String,
    version: String,
    license: String,
    source: String,
    texts: Vec<usize>,
}

/// The licence of a component as SPDX writes it, if SPDX can: Alpine and old crates use words of
/// their own.
pub fn expression(component: &Component) -> Option<Expression> {
    let text = component.license.as_deref()?;
    let text = Expression::canonicalize(text).ok().flatten().unwrap_or_else(|| text.to_owned());
    Expression::parse(&text).ok()
}

impl Licenses {
    /// Those of `components`.
    pub fn of(components: &[Component]) -> Self {
        let mut components: Vec<_> = components.iter().collect();
        components.sort_by_key(|it| (it.kind, it.name.as_str(), it.version.as_str()));
        components.dedup();
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        let mut texts = vec![];
        let mut entries = vec![];
        for component in components {
            let mut of_this = vec![];
            for text in texts_of(component) {
                let number = *numbers.entry(text).or_insert_with_key(|text| {
                    texts.push(text.clone());
                    texts.len() - 1
                });
                of_this.push(number);
            }
            entries.push(Entry {
                kind: component.kind,
                name: component.name.clone(),
                version: component.version.clone(),
                license: expression(component).map_or("not known".into(), |it| it.to_string()),
                source: component.source.clone(),
                texts: of_this,
            });
        }
        Self { components: entries, texts }
    }

    /// Files for people, by name: an index, and the texts by where components come from.
    pub fn files(&self) -> [(&'static str, String); 4] {
        let mut index = String::new();
        for it in &self.components {
            let _ = writeln!(
                index,
                "{} {}\n  licence  {}\n  source   {}\n",
                it.name, it.version, it.license, it.source
            );
        }
        [
            ("licenses/index.txt", index),
            ("licenses/alpine.txt", self.texts(&[ComponentKind::Alpine])),
            ("licenses/debian.txt", self.texts(&[ComponentKind::Debian])),
            ("licenses/rust.txt", self.texts(&[ComponentKind::Crate, ComponentKind::Toolchain])),
        ]
    }

    /// Every text of these kinds, below the names of what it is for.
    fn texts(&self, kinds: &[ComponentKind]) -> String {
        let mut all = String::new();
        for (number, text) in self.texts.iter().enumerate() {
            let mut of = self
                .components
                .iter()
                .filter(|it| kinds.contains(&it.kind))
                .filter(|it| it.texts.contains(&number))
                .peekable();
            if of.peek().is_none() {
                continue;
            }
            let line = "=".repeat(80);
            let _ = writeln!(all, "{line}");
            of.for_each(|it| {
                let _ = writeln!(all, "{} {}", it.name, it.version);
            });
            let _ = writeln!(all, "{line}\n\n{}\n", text.trim_end());
        }
        all
    }
}

/// What comes with a component, and the texts of those licences that it leaves to others. A crate
/// brings its own, or none.
fn texts_of(component: &Component) -> Vec<String> {
    let mut texts = component.notices.clone();
    if component.kind != ComponentKind::Crate || texts.is_empty() {
        let expression = expression(component);
        for it in expression.iter().flat_map(Expression::requirements) {
            if let LicenseItem::Spdx { id, .. } = it.req.license {
                texts.push(id.text().to_owned());
            }
            let exception = it.req.addition.as_ref().and_then(spdx::AdditionItem::id);
            texts.extend(exception.map(|id| id.text().to_owned()));
        }
        let common = component.common.iter().filter_map(|name| spdx::license_id(name));
        texts.extend(common.map(|id| id.text().to_owned()));
    }
    let mut seen = vec![];
    texts.retain(|text| {
        !seen.contains(text) && {
            seen.push(text.clone());
            true
        }
    });
    texts
}
