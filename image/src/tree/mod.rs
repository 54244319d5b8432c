//! The tree of files that an image is composed of.

mod closure;
mod filters;
mod generated;
mod libc;
mod node;
mod overlay;
mod program;
mod records;
mod units;

use std::collections::BTreeMap;

use miette::Diagnostic;

use crate::digest::{FieldHasher, Sha256};

pub use closure::check as check_closure;
#[cfg(test)]
pub use closure::tests::library;
pub use generated::{ImageFacts, generate};
pub use libc::Libc;
pub use node::{Because, NodeContent, NodeOrigin, TreeNode};
pub use overlay::Overlays;
pub use program::ElfFile;
pub use records::{PackageRecord, RecordText, put as put_records};
pub use units::ImageUnits;

/// Every path of an image, with what is there.
#[derive(Debug, Default, Clone)]
pub struct Tree {
    nodes: BTreeMap<String, TreeNode>,
}

/// Two sources want the same place.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Clash {
    #[error("{path} is there twice: from {first} and from {second}")]
    #[diagnostic(help("leave out one of them, or let an overlay replace a package's file"))]
    Duplicate {
        path: String,
        first: Box<NodeOrigin>,
        /// Who came second.
        second: Box<NodeOrigin>,
    },
    /// Something that is not a folder is where a folder has to be.
    #[error("{path} from {second} cannot be: {parent} from {first} is not a folder")]
    #[diagnostic(help("leave out one of them, or put the file elsewhere"))]
    Parent {
        path: String,
        /// Where the folder should be.
        parent: String,
        first: Box<NodeOrigin>,
        /// Who wants a file below.
        second: Box<NodeOrigin>,
    },
}

impl Tree {
    /// Puts `node` at the absolute `path`. The same folder may come from several packages.
    pub fn put(&mut self, path: &str, node: TreeNode) -> Result<(), Clash> {
        self.insert(path, node, false)
    }

    /// Puts `node` of an overlay at the absolute `path`, where it may replace what a package has
    /// there, or what an overlay before it has.
    pub fn overlay(&mut self, path: &str, node: TreeNode) -> Result<(), Clash> {
        self.insert(path, node, true)
    }

    fn insert(&mut self, path: &str, mut node: TreeNode, over: bool) -> Result<(), Clash> {
        self.imply_parents(path, &node)?;
        if let Some(old) = self.nodes.get(path) {
            let both_folders = matches!(old.content, NodeContent::Folder)
                && matches!(node.content, NodeContent::Folder);
            if both_folders {
                let same = (old.mode, old.uid, old.gid) == (node.mode, node.uid, node.gid);
                if !over && !old.implied {
                    return if same { Ok(()) } else { Err(duplicate(path, old, &node)) };
                }
            } else if over
                && matches!(old.origin, NodeOrigin::Package { .. } | NodeOrigin::Overlay { .. })
            {
                node.replaced = Some(Box::new(old.origin.clone()));
            } else {
                return Err(duplicate(path, old, &node));
            }
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// Adds the folders above `path` that nothing has named.
    fn imply_parents(&mut self, path: &str, node: &TreeNode) -> Result<(), Clash> {
        for (end, _) in path.match_indices('/').skip(1) {
            let parent = &path[..end];
            match self.nodes.get(parent) {
                None => {
                    self.nodes.insert(parent.to_owned(), node.implied_parent());
                }
                Some(there) if matches!(there.content, NodeContent::Folder) => {}
                Some(there) => {
                    return Err(Clash::Parent {
                        path: path.to_owned(),
                        parent: parent.to_owned(),
                        first: Box::new(there.origin.clone()),
                        second: Box::new(node.origin.clone()),
                    });
                }
            }
        }
        Ok(())
    }

    /// Takes out what is at `path`.
    pub fn take(&mut self, path: &str) -> Option<TreeNode> {
        self.nodes.remove(path)
    }

    /// What is at `path`.
    pub fn get(&self, path: &str) -> Option<&TreeNode> {
        self.nodes.get(path)
    }

    /// What is at `path` once every symbolic link on the way is followed, as inside the image.
    pub fn resolve(&self, path: &str) -> Option<&TreeNode> {
        let mut path = path.to_owned();
        for _ in 0..40 {
            match self.step(&path)? {
                Ok(node) => return Some(node),
                Err(next) => path = next,
            }
        }
        None
    }

    /// The node at `path`, or the path that the first link on the way makes of it.
    fn step(&self, path: &str) -> Option<Result<&TreeNode, String>> {
        let ends = path.match_indices('/').skip(1).map(|(end, _)| end).chain([path.len()]);
        for end in ends {
            let node = self.nodes.get(&path[..end])?;
            if let NodeContent::Link(target) = &node.content {
                let parent = path[..end].rsplit_once('/').map_or("", |(parent, _)| parent);
                let joined = if target.starts_with('/') {
                    target.clone()
                } else {
                    format!("{parent}/{target}")
                };
                return Some(Err(normal(&format!("{joined}{}", &path[end..]))));
            }
        }
        self.nodes.get(path).map(Ok)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &TreeNode)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// A digest over all that the image will hold: paths, kinds, modes, owners, contents.
    pub fn digest(&self) -> Sha256 {
        let mut hasher = FieldHasher::default();
        for (path, node) in &self.nodes {
            hasher.field(path).field(node.mode.to_le_bytes());
            hasher.field(node.uid.to_le_bytes()).field(node.gid.to_le_bytes());
            match &node.content {
                NodeContent::Folder => hasher.field("folder"),
                NodeContent::Link(target) => hasher.field("link").field(target),
                NodeContent::File { sha256, .. } => hasher.field("file").field(sha256),
            };
        }
        hasher.finish()
    }
}

fn duplicate(path: &str, first: &TreeNode, second: &TreeNode) -> Clash {
    Clash::Duplicate {
        path: path.to_owned(),
        first: Box::new(first.origin.clone()),
        second: Box::new(second.origin.clone()),
    }
}

/// An absolute path without `.`, `..` and double `/`.
pub fn normal(path: &str) -> String {
    let mut parts = vec![];
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> NodeOrigin {
        NodeOrigin::Package { name: name.into(), version: "1".into() }
    }

    fn file(origin: NodeOrigin, text: &str) -> TreeNode {
        TreeNode::file(text.as_bytes().to_vec(), 0o644, origin, Because::default())
    }

    #[test]
    fn one_origin_per_path() {
        let mut tree = Tree::default();
        tree.put("/a/b", file(package("one"), "1")).unwrap();
        tree.put("/a/c", file(package("two"), "2")).unwrap();
        let clash = tree.put("/a/b", file(package("two"), "2")).unwrap_err().to_string();
        assert!(clash.contains("one 1") && clash.contains("two 1"), "{clash}");
        assert!(tree.put("/a/b/c", file(package("two"), "2")).is_err());
        let overlay = || NodeOrigin::Overlay { file: "overlays/common/a/b".into() };
        tree.overlay("/a/b", file(overlay(), "3")).unwrap();
        assert!(
            matches!(&tree.get("/a/b").unwrap().replaced, Some(origin) if **origin == package("one"))
        );
        tree.put("/g", file(NodeOrigin::Generated, "4")).unwrap();
        assert!(tree.overlay("/g", file(overlay(), "5")).is_err());
    }

    #[test]
    fn links_are_followed() {
        let mut tree = Tree::default();
        let link = |to: &str| TreeNode::link(to.into(), NodeOrigin::Generated, Because::default());
        tree.put("/usr/lib/x", file(NodeOrigin::Generated, "1")).unwrap();
        tree.put("/lib", link("usr/lib")).unwrap();
        tree.put("/y", link("/lib/../usr/./lib/x")).unwrap();
        tree.put("/loop", link("loop")).unwrap();
        assert!(tree.resolve("/lib/x").is_some() && tree.resolve("/y").is_some());
        assert!(tree.resolve("/lib/z").is_none() && tree.resolve("/loop").is_none());
    }
}
