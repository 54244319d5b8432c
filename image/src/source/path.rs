//! Files of the owner's own: the programs of `[[service]]`.

use super::{Checksum, Component, ComponentKind, PackageSource, Provided};
use crate::digest::Sha256;
use crate::tree::{ImageUnits, NodeOrigin, Tree, TreeNode};

pub struct PathSource<'a> {
    /// All units; those with an owner are taken.
    pub units: &'a ImageUnits,
}

impl PackageSource for PathSource<'_> {
    fn name(&self) -> &'static str {
        "path"
    }

    fn progress_text(&self) -> String {
        "programs of [[service]]".into()
    }

    fn add_to(&self, tree: &mut Tree) -> miette::Result<Provided> {
        let mut provided = Provided::default();
        for unit in &self.units.all {
            let (Some(owner), Some(exec)) = (&unit.owner, &unit.source.unit.exec) else { continue };
            let origin = NodeOrigin::File { file: owner.file.clone() };
            let node = TreeNode::file(owner.bytes.clone(), 0o755, origin, unit.because.clone());
            tree.put(exec.as_str(), node)?;
            let sha256 = Sha256::of(&owner.bytes).to_string();
            provided.components.push(Component {
                kind: ComponentKind::File,
                name: unit.source.unit.name.to_string(),
                version: sha256[..12].to_owned(),
                supplier: "the owner of the appliance",
                license: None,
                purl: None,
                source: format!("known to the owner, who gave {}", owner.file),
                checksum: Some(Checksum::Sha256(sha256)),
                common: vec![],
                notices: vec![],
                uses: vec![],
            });
        }
        provided.summary = format!("{} programs of [[service]]", provided.components.len());
        Ok(provided)
    }
}
