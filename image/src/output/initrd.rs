//! The initramfs: PID 1, the modules it loads first, and the root file system.

use super::cpio::Cpio;
use crate::digest::Sha256;
use crate::tree::{Because, NodeOrigin, TreeNode};

/// One entry of the initramfs.
pub struct InitrdEntry {
    pub path: String,
    pub kind: InitrdEntryKind,
    pub mode: u16,
    pub origin: NodeOrigin,
    pub because: Because,
}

pub enum InitrdEntryKind {
    Folder,
    Console,
    File {
        /// Its size in bytes.
        size: u64,
        /// The digest of its content.
        sha256: Sha256,
    },
}

/// What goes into the initramfs.
pub struct InitrdContents<'a> {
    /// The program `/init`.
    pub init: &'a TreeNode,
    /// Modules that load before the root is there, in that order, by name.
    pub early: &'a [(String, &'a TreeNode)],
    pub squashfs: &'a [u8],
}

/// The initramfs, and a list of what is in it.
pub fn build(parts: &InitrdContents<'_>) -> (Vec<u8>, Vec<InitrdEntry>) {
    let mut cpio = Cpio::default();
    let mut entries = vec![];
    let own = |path: &str, kind, mode| InitrdEntry {
        path: path.into(),
        kind,
        mode,
        origin: NodeOrigin::Generated,
        because: Because::always("starting needs it"),
    };
    for path in ["/dev", "/lib", "/lib/modules", "/proc", "/root", "/sys"] {
        cpio.folder(&path[1..], 0o755);
        entries.push(own(path, InitrdEntryKind::Folder, 0o755));
    }
    // The kernel opens it for PID 1 before anything can make a device.
    cpio.character_device("dev/console", 0o600, (5, 1));
    entries.push(own("/dev/console", InitrdEntryKind::Console, 0o600));
    let mut file = |path: &str, mode: u16, content: &[u8], of: Option<&TreeNode>| {
        cpio.file(&path[1..], mode, content);
        let kind =
            InitrdEntryKind::File { size: content.len() as u64, sha256: Sha256::of(content) };
        let mut entry = own(path, kind, mode);
        if let Some(node) = of {
            (entry.origin, entry.because) = (node.origin.clone(), node.because.clone());
        }
        entries.push(entry);
    };
    let mut order = String::new();
    for (name, node) in parts.early {
        let path = format!("/lib/modules/{name}.ko");
        // PID 1 asks the loop driver for the one device it needs; by itself it makes eight.
        let parameters = if name == "loop" { " max_loop=0" } else { "" };
        order += &format!("{path}{parameters}\n");
        file(&path, 0o644, node.bytes().unwrap_or_default(), Some(node));
    }
    file("/lib/modules/early", 0o644, order.as_bytes(), None);
    file("/init", 0o755, parts.init.bytes().unwrap_or_default(), Some(parts.init));
    file("/root.squashfs", 0o644, parts.squashfs, None);
    (cpio.finish(), entries)
}
