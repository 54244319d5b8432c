//! The archive format of an initramfs: cpio "newc" (the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::fmt::Write as _;

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const LINK: u32 = 0o120_000;

/// An archive under construction. Entries get numbers in the order in which they come; every time
/// is 0 and every owner root, so the same entries give the same bytes.
#[derive(Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

impl Cpio {
    /// Adds a folder; `path` has no leading `/`.
    pub fn folder(&mut self, path: &str, mode: u16) {
        self.entry(path, FOLDER | u32::from(mode), &[], (0, 0));
    }

    pub fn file(&mut self, path: &str, mode: u16, content: &[u8]) {
        self.entry(path, FILE | u32::from(mode), content, (0, 0));
    }

    pub fn link(&mut self, path: &str, target: &str) {
        self.entry(path, LINK | 0o777, target.as_bytes(), (0, 0));
    }

    pub fn character_device(&mut self, path: &str, mode: u16, number: (u32, u32)) {
        self.entry(path, CHARACTER_DEVICE | u32::from(mode), &[], number);
    }

    /// The archive, with its end.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8], device: (u32, u32)) {
        self.entries += 1;
        let links = if mode & 0o170_000 == FOLDER { 2 } else { 1 };
        // c_ino, c_mode, c_uid, c_gid, c_nlink, c_mtime, c_filesize, c_maj, c_min, c_rmaj, c_rmin,
        // c_namesize, c_chksum
        let fields = [
            self.entries,
            mode,
            0,
            0,
            links,
            0,
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0,
            0,
            device.0,
            device.1,
            u32::try_from(path.len() + 1).unwrap_or(u32::MAX),
            0,
        ];
        let mut header = String::from("070701");
        for field in fields {
            let _ = write!(header, "{field:08x}");
        }
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_its_target_as_content() {
        let mut cpio = Cpio::default();
        cpio.link("ab", "/c");
        let bytes = cpio.finish();
        assert!(bytes.starts_with(b"070701000000010000a1ff"));
        assert_eq!(&bytes[116..118], b"/c");
    }

    #[test]
    fn layout_of_an_entry() {
        let mut cpio = Cpio::default();
        cpio.file("ab", 0o755, b"xyz");
        let bytes = cpio.finish();
        assert!(bytes.starts_with(b"07070100000001000081ed"));
        assert_eq!(&bytes[110..113], b"ab\0");
        assert_eq!(&bytes[116..120], b"xyz\0");
        assert_eq!(bytes.len() % 4, 0);
    }
}
