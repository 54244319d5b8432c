//! One path of an image: what is there, and why.

use std::fmt;

use crate::digest::Sha256;

/// What is at one path.
#[derive(Debug, Clone)]
pub struct TreeNode {
    /// A file, a folder or a link.
    pub content: NodeContent,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub origin: NodeOrigin,
    pub because: Because,
    /// Whose file an overlay replaced.
    pub replaced: Option<Box<NodeOrigin>>,
    /// A folder that is there only because something is in it.
    pub implied: bool,
}

/// What kind of thing it is.
#[derive(Debug, Clone)]
pub enum NodeContent {
    Folder,
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        sha256: Sha256,
    },
    /// A symbolic link to this target.
    Link(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeOrigin {
    /// A package of a distribution.
    Package {
        name: String,
        version: String,
    },
    /// A file below `overlays/`.
    Overlay {
        /// The file, relative to the workspace.
        file: String,
    },
    /// A crate of this workspace.
    Crate {
        name: String,
    },
    /// A file that is taken as it is: a unit, or a program of the owner's.
    File {
        /// The file, relative to the workspace or as `appliance.toml` names it.
        file: String,
    },
    Generated,
}

impl fmt::Display for NodeOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package { name, version } => write!(f, "package {name} {version}"),
            Self::Overlay { file } => write!(f, "overlay {file}"),
            Self::Crate { name } => write!(f, "crate {name}"),
            Self::File { file } => write!(f, "file {file}"),
            Self::Generated => f.write_str("the builder"),
        }
    }
}

/// Why something is in the image: the line of a file that a person edits, and what led from there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Because {
    /// The line of `appliance.toml`, and its text, if one asked for it.
    pub line: Option<(usize, String)>,
    /// Such as `packages = busybox -> musl`.
    pub chain: String,
}

impl Because {
    /// A line of `appliance.toml`.
    pub fn line(line: usize, text: &str, what: impl Into<String>) -> Self {
        Self { line: Some((line, text.trim().to_owned())), chain: what.into() }
    }

    /// Something that is in every image.
    pub fn always(why: impl Into<String>) -> Self {
        Self { line: None, chain: why.into() }
    }

    pub fn then(&self, what: &str) -> Self {
        Self { line: self.line.clone(), chain: format!("{} -> {what}", self.chain) }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some((line, _)) => write!(f, "appliance.toml:{line} {}", self.chain),
            None => f.write_str(&self.chain),
        }
    }
}

impl TreeNode {
    fn new(content: NodeContent, mode: u16, origin: NodeOrigin, because: Because) -> Self {
        Self { content, mode, uid: 0, gid: 0, origin, because, replaced: None, implied: false }
    }

    pub fn file(bytes: Vec<u8>, mode: u16, origin: NodeOrigin, because: Because) -> Self {
        let sha256 = Sha256::of(&bytes);
        Self::new(NodeContent::File { bytes, sha256 }, mode, origin, because)
    }

    pub fn folder(mode: u16, origin: NodeOrigin, because: Because) -> Self {
        Self::new(NodeContent::Folder, mode, origin, because)
    }

    pub fn link(target: String, origin: NodeOrigin, because: Because) -> Self {
        Self::new(NodeContent::Link(target), 0o777, origin, because)
    }

    pub fn owned(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }

    /// The folder above it, where nothing has named one.
    pub fn implied_parent(&self) -> Self {
        Self { implied: true, ..Self::folder(0o755, self.origin.clone(), self.because.clone()) }
    }

    /// A file's bytes.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.content {
            NodeContent::File { bytes, .. } => Some(bytes),
            _ => None,
        }
    }
}
