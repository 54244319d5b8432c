//! Files of the owner's own: the programs of `[[service]]`.

use super::{Checksum, Component, Kind, Source, Taken};
use crate::digest::Sha256;
use crate::tree::{Node, Origin, Tree, Units};

/// The owner's programs.
pub struct PathSource<'a> {
    /// All units; those with an owner are taken.
    pub units: &'a Units,
}

impl Source for PathSource<'_> {
    fn name(&self) -> &'static str {
        "path"
    }

    fn doing(&self) -> String {
        "programs of [[service]]".into()
    }

    fn take(&self, tree: &mut Tree) -> miette::Result<Taken> {
        let mut taken = Taken::default();
        for unit in &self.units.all {
            let (Some(owner), Some(exec)) = (&unit.owner, &unit.source.unit.exec) else { continue };
            let origin = Origin::File { file: owner.named.clone() };
            let node = Node::file(owner.bytes.clone(), 0o755, origin, unit.because.clone());
            tree.put(exec.as_str(), node)?;
            let sha256 = Sha256::of(&owner.bytes).to_string();
            taken.components.push(Component {
                kind: Kind::File,
                name: unit.source.unit.name.to_string(),
                version: sha256[..12].to_owned(),
                supplier: "the owner of the appliance",
                license: None,
                purl: None,
                source: format!("known to the owner, who gave {}", owner.named),
                checksum: Some(Checksum::Sha256(sha256)),
                common: vec![],
                notices: vec![],
                uses: vec![],
            });
        }
        taken.summary = format!("{} programs of [[service]]", taken.components.len());
        Ok(taken)
    }
}
