//! The initramfs: PID 1, the modules it loads first, and the root file system.

use super::cpio::Cpio;
use crate::digest::Sha256;

/// One entry of the initramfs.
pub struct Entry {
    /// Its absolute path.
    pub path: String,
    /// What is there.
    pub kind: Kind,
    /// Its permissions.
    pub mode: u16,
}

/// What an entry is.
pub enum Kind {
    /// A folder.
    Folder,
    /// The console's device.
    Console,
    /// A file.
    File {
        /// Its size in bytes.
        size: u64,
        /// The digest of its content.
        sha256: Sha256,
    },
}

/// What goes into the initramfs.
pub struct Parts<'a> {
    /// The program `/init`.
    pub init: &'a [u8],
    /// Modules that load before the root is there, in that order: name and content.
    pub early: &'a [(String, &'a [u8])],
    /// The root file system.
    pub squashfs: &'a [u8],
}

/// The initramfs, and a list of what is in it.
pub fn build(parts: &Parts<'_>) -> (Vec<u8>, Vec<Entry>) {
    let mut cpio = Cpio::default();
    let mut entries = vec![];
    for path in ["/dev", "/lib", "/lib/modules", "/proc", "/root", "/sys"] {
        cpio.folder(&path[1..], 0o755);
        entries.push(Entry { path: path.into(), kind: Kind::Folder, mode: 0o755 });
    }
    // The kernel opens it for PID 1 before anything can make a device.
    cpio.character_device("dev/console", 0o600, (5, 1));
    entries.push(Entry { path: "/dev/console".into(), kind: Kind::Console, mode: 0o600 });
    let mut file = |path: String, mode: u16, content: &[u8]| {
        cpio.file(&path[1..], mode, content);
        let kind = Kind::File { size: content.len() as u64, sha256: Sha256::of(content) };
        entries.push(Entry { path, kind, mode });
    };
    let mut order = String::new();
    for (name, content) in parts.early {
        let path = format!("/lib/modules/{name}.ko");
        // PID 1 asks the loop driver for the one device it needs; by itself it makes eight.
        let parameters = if name == "loop" { " max_loop=0" } else { "" };
        order += &format!("{path}{parameters}\n");
        file(path, 0o644, content);
    }
    file("/lib/modules/early".into(), 0o644, order.as_bytes());
    file("/init".into(), 0o755, parts.init);
    file("/root.squashfs".into(), 0o644, parts.squashfs);
    (cpio.finish(), entries)
}
