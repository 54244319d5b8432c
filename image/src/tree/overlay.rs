//! `overlays/`: data laid over what packages bring.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use octet_appliance::{FileError, ImagePath, parse};
use serde::Deserialize;
use toml::Spanned;

use super::{Because, Clash, NodeOrigin, Tree, TreeNode};
use crate::digest::{FieldHasher, Sha256};
use crate::seed::Handled;
use crate::target::Target;

/// Everything in `overlays/` that concerns one target.
#[derive(Debug)]
pub struct Overlays {
    pub layout: OverlayLayout,
    /// Packages whose scripts were looked at.
    pub handled: Handled,
    files: Vec<OverlayFile>,
    texts: [String; 2],
}

#[derive(Debug)]
struct OverlayFile {
    /// Relative to the workspace, as an origin names it.
    file: String,
    path: String,
    node: TreeNode,
}

/// `overlays/layout.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayLayout {
    folders: Vec<Folder>,
    links: Vec<Link>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Folder {
    path: ImagePath,
    #[serde(default)]
    mode: Mode,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    path: ImagePath,
    to: Spanned<String>,
}

/// Permissions, written in octal: `"1777"`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Mode(u16);

impl Default for Mode {
    fn default() -> Self {
        Self(0o755)
    }
}

impl TryFrom<String> for Mode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u16::from_str_radix(&text, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .map(Self)
            .ok_or("a mode is up to four octal digits, such as \"1777\"")
    }
}

/// An overlay cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum OverlayError {
    #[error("cannot read {path}: {why}")]
    #[diagnostic(help("restore it: `git checkout overlays`"))]
    Unreadable { path: PathBuf, why: std::io::Error },
    /// A name or a kind of file that an image cannot have.
    #[error("{0} cannot be in an image")]
    #[diagnostic(help("overlays are regular files and symbolic links with plain names"))]
    Unsupported(PathBuf),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wrong(#[from] Box<FileError>),
}

impl OverlayLayout {
    /// Parses `text`, the content of `file`.
    pub fn parse(file: &str, text: &str) -> Result<Self, Box<FileError>> {
        let layout: Self = parse(file, text)?;
        for link in &layout.links {
            let to = link.to.get_ref();
            if to.is_empty() || to.len() > 4095 || to.contains('\0') {
                let message = "a link needs a target of 1 to 4095 bytes";
                return Err(FileError::new(file, text, link.to.span(), message, "correct it"));
            }
        }
        Ok(layout)
    }
}

impl Overlays {
    /// Reads `overlays/` of the workspace at `root`.
    pub fn load(root: &Path, target: Target) -> Result<Self, OverlayError> {
        let text = |file: &str| {
            let path = root.join(file);
            fs::read_to_string(&path).map_err(|why| OverlayError::Unreadable { path, why })
        };
        let layout_text = text("overlays/layout.toml")?;
        let scripts_text = text("overlays/scripts.toml")?;
        let mut files = vec![];
        for layer in ["common", target.name()] {
            let folder = root.join("overlays").join(layer);
            if folder.is_dir() {
                walk(root, &folder, &folder, &mut files)?;
            }
        }
        Ok(Self {
            layout: OverlayLayout::parse("overlays/layout.toml", &layout_text)?,
            handled: Handled::parse("overlays/scripts.toml", &scripts_text)?,
            files,
            texts: [layout_text, scripts_text],
        })
    }

    /// A digest of all of it.
    pub fn digest(&self) -> Sha256 {
        let mut hasher = FieldHasher::default();
        hasher.field(&self.texts[0]).field(&self.texts[1]);
        for file in &self.files {
            hasher.field(&file.file).field(file.node.mode.to_le_bytes());
            match &file.node.content {
                super::NodeContent::File { sha256, .. } => hasher.field("file").field(sha256),
                super::NodeContent::Link(target) => hasher.field("link").field(target),
                super::NodeContent::Folder => hasher.field("folder"),
            };
        }
        hasher.finish()
    }

    /// Lays all of it over `tree`.
    pub fn put(&self, tree: &mut Tree) -> Result<(), Clash> {
        let origin = || NodeOrigin::Overlay { file: "overlays/layout.toml".into() };
        for folder in &self.layout.folders {
            let node =
                TreeNode::folder(folder.mode.0, origin(), Because::always("every image has it"));
            tree.overlay(folder.path.as_str(), node)?;
        }
        for link in &self.layout.links {
            let node = TreeNode::link(
                link.to.get_ref().clone(),
                origin(),
                Because::always("every image has it"),
            );
            tree.overlay(link.path.as_str(), node)?;
        }
        for file in &self.files {
            tree.overlay(&file.path, file.node.clone())?;
        }
        Ok(())
    }
}

/// Adds every file below `folder`, in the order of names: that of a folder differs between
/// machines.
fn walk(
    root: &Path,
    layer: &Path,
    folder: &Path,
    files: &mut Vec<OverlayFile>,
) -> Result<(), OverlayError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |why| OverlayError::Unreadable { path, why }
    };
    let mut paths = vec![];
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        paths.push(entry.map_err(unreadable(folder))?.path());
    }
    paths.sort();
    for path in paths {
        let metadata = fs::symlink_metadata(&path).map_err(unreadable(&path))?;
        if metadata.is_dir() {
            walk(root, layer, &path, files)?;
            continue;
        }
        let unfit = || OverlayError::Unsupported(path.clone());
        let inside = path.strip_prefix(layer).ok().and_then(Path::to_str).ok_or_else(unfit)?;
        let inside = ImagePath::try_from(format!("/{inside}")).map_err(|_| unfit())?;
        let file =
            path.strip_prefix(root).ok().and_then(Path::to_str).ok_or_else(unfit)?.to_owned();
        let origin = NodeOrigin::Overlay { file: file.clone() };
        let because = Because::always("an overlay of every image");
        let node = if metadata.is_symlink() {
            let target = fs::read_link(&path).map_err(unreadable(&path))?;
            TreeNode::link(target.to_str().ok_or_else(unfit)?.to_owned(), origin, because)
        } else if metadata.is_file() {
            let bytes = fs::read(&path).map_err(unreadable(&path))?;
            // Of the file's mode only this bit is the author's; the rest is the umask of a clone.
            let mode = if metadata.permissions().mode() & 0o100 != 0 { 0o755 } else { 0o644 };
            TreeNode::file(bytes, mode, origin, because)
        } else {
            return Err(unfit());
        };
        files.push(OverlayFile { file, path: inside.into(), node });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layout_is_strict() {
        let good = "folders = [{ path = \"/tmp\", mode = \"1777\" }]\nlinks = [{ path = \"/a\", to = \"b\" }]\n";
        let layout = OverlayLayout::parse("layout.toml", good).unwrap();
        assert_eq!(layout.folders[0].mode.0, 0o1777);
        for (from, to, line) in
            [("1777", "1778", 1), ("/tmp", "tmp", 1), ("\"b\"", "\"\"", 2), ("mode", "mod", 1)]
        {
            assert_eq!(
                OverlayLayout::parse("layout.toml", &good.replace(from, to)).unwrap_err().line,
                line
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = OverlayLayout::parse("layout.toml", &text);
            let _ = Handled::parse("scripts.toml", &text);
        }
    }
}
