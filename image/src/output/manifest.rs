//! `manifest.json`: every file of an image, with who put it there and why.

use serde::{Deserialize, Serialize};

use super::{disk, initrd};
use crate::digest::Sha256;
use crate::target::Target;
use crate::tree::{Content, Node, Tree};

/// Everything in an image.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// What the image is for.
    pub target: Target,
    /// Octet's version.
    pub version: String,
    /// The name of its slot on flash: Octet's version, and a digest of kernel and initramfs.
    pub slot: String,
    /// The time of every file, in seconds since 1970.
    pub epoch: u32,
    /// The root file system.
    pub root: Vec<Item>,
    /// What is around it in the initramfs.
    pub initrd: Vec<Item>,
    /// What is on the EFI system partition.
    pub esp: Vec<Item>,
}

/// What the image as a whole is.
#[derive(Debug)]
pub struct Of<'a> {
    /// See [`Manifest`].
    pub target: Target,
    /// See [`Manifest`].
    pub version: &'a str,
    /// See [`Manifest`].
    pub slot: &'a str,
    /// See [`Manifest`].
    pub epoch: u32,
}

/// One path.
#[derive(Debug, Serialize, Deserialize)]
pub struct Item {
    /// Where it is.
    pub path: String,
    /// `file`, `folder`, `link` or `device`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Permissions in octal.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Digest of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Who put it there.
    pub origin: String,
    /// Whose file it replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// Why it is there.
    pub because: String,
    /// The line of `appliance.toml` that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The text of that line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Manifest {
    /// Lists `tree`, the `entries` of the initramfs around it, and the files on the ESP.
    pub fn new(
        of: &Of<'_>,
        tree: &Tree,
        entries: &[initrd::Entry],
        on_esp: &[disk::File<'_>],
    ) -> Self {
        Self {
            target: of.target,
            version: of.version.to_owned(),
            slot: of.slot.to_owned(),
            epoch: of.epoch,
            root: tree.iter().map(|(path, node)| item(path, node)).collect(),
            initrd: entries.iter().map(early).collect(),
            esp: on_esp.iter().map(of_esp).collect(),
        }
    }
}

fn item(path: &str, node: &Node) -> Item {
    let mut item = Item {
        path: path.to_owned(),
        kind: String::new(),
        mode: format!("{:04o}", node.mode),
        uid: node.uid,
        gid: node.gid,
        size: None,
        sha256: None,
        target: None,
        origin: node.origin.to_string(),
        replaced: node.replaced.as_ref().map(ToString::to_string),
        because: node.because.to_string(),
        line: node.because.line.as_ref().map(|(line, _)| *line),
        text: node.because.line.as_ref().map(|(_, text)| text.clone()),
    };
    match &node.content {
        Content::Folder => item.kind = "folder".into(),
        Content::Link(target) => {
            item.kind = "link".into();
            item.target = Some(target.clone());
        }
        Content::File { bytes, sha256 } => {
            item.kind = "file".into();
            item.size = Some(bytes.len() as u64);
            item.sha256 = Some(*sha256);
        }
    }
    item
}

fn early(entry: &initrd::Entry) -> Item {
    let (kind, size, sha256) = match entry.kind {
        initrd::Kind::Folder => ("folder", None, None),
        initrd::Kind::Console => ("device", None, None),
        initrd::Kind::File { size, sha256 } => ("file", Some(size), Some(sha256)),
    };
    Item {
        path: entry.path.clone(),
        kind: kind.into(),
        mode: format!("{:04o}", entry.mode),
        uid: 0,
        gid: 0,
        size,
        sha256,
        target: None,
        origin: entry.origin.to_string(),
        replaced: None,
        because: entry.because.to_string(),
        line: entry.because.line.as_ref().map(|(line, _)| *line),
        text: entry.because.line.as_ref().map(|(_, text)| text.clone()),
    }
}

fn of_esp(file: &disk::File<'_>) -> Item {
    Item {
        path: format!("/{}", file.path),
        kind: "file".into(),
        // FAT has no permissions; PID 1 mounts it so.
        mode: "0700".into(),
        uid: 0,
        gid: 0,
        size: Some(file.content.len() as u64),
        sha256: Some(Sha256::of(&file.content)),
        target: None,
        origin: file.origin.to_string(),
        replaced: None,
        because: file.because.to_owned(),
        line: None,
        text: None,
    }
}
