//! `manifest.json`: every file of an image, with who put it there and why.

use serde::{Deserialize, Serialize};

use super::{disk, initrd};
use crate::digest::Sha256;
use crate::target::Target;
use crate::tree::{NodeContent, Tree, TreeNode};

#[derive(Debug, Serialize, Deserialize)]
pub struct ImageManifest {
    /// What the image is for.
    pub target: Target,
    pub version: String,
    /// The name of its slot on flash: Octet's version, and a digest of kernel and initramfs.
    pub slot: String,
    /// The time of every file, in seconds since 1970.
    pub epoch: u32,
    pub root: Vec<ManifestItem>,
    /// What is around it in the initramfs.
    pub initrd: Vec<ManifestItem>,
    /// What is on the EFI system partition.
    pub esp: Vec<ManifestItem>,
}

/// What the image as a whole is.
#[derive(Debug)]
pub struct ImageProperties<'a> {
    pub target: Target,
    pub version: &'a str,
    pub slot: &'a str,
    pub epoch: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ManifestItem {
    pub path: String,
    /// `file`, `folder`, `link` or `device`.
    #[serde(rename = "type")]
    pub kind: String,
    pub mode: String,
    pub uid: u32,
    pub gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    pub origin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    pub because: String,
    /// The line of `appliance.toml` that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The text of that line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl ImageManifest {
    /// Lists `tree`, the `entries` of the initramfs around it, and the files on the ESP.
    pub fn new(
        of: &ImageProperties<'_>,
        tree: &Tree,
        entries: &[initrd::InitrdEntry],
        on_esp: &[disk::EspFile<'_>],
    ) -> Self {
        Self {
            target: of.target,
            version: of.version.to_owned(),
            slot: of.slot.to_owned(),
            epoch: of.epoch,
            root: tree.iter().map(|(path, node)| item(path, node)).collect(),
            initrd: entries.iter().map(initrd_item).collect(),
            esp: on_esp.iter().map(esp_item).collect(),
        }
    }
}

fn item(path: &str, node: &TreeNode) -> ManifestItem {
    let mut item = ManifestItem {
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
        NodeContent::Folder => item.kind = "folder".into(),
        NodeContent::Link(target) => {
            item.kind = "link".into();
            item.target = Some(target.clone());
        }
        NodeContent::File { bytes, sha256 } => {
            item.kind = "file".into();
            item.size = Some(bytes.len() as u64);
            item.sha256 = Some(*sha256);
        }
    }
    item
}

fn initrd_item(entry: &initrd::InitrdEntry) -> ManifestItem {
    let (kind, size, sha256) = match entry.kind {
        initrd::InitrdEntryKind::Folder => ("folder", None, None),
        initrd::InitrdEntryKind::Console => ("device", None, None),
        initrd::InitrdEntryKind::File { size, sha256 } => ("file", Some(size), Some(sha256)),
    };
    ManifestItem {
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

fn esp_item(file: &disk::EspFile<'_>) -> ManifestItem {
    ManifestItem {
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
