//! What is written: each file whole or not at all.

pub mod cpio;
pub mod file;
pub mod initrd;
pub mod manifest;
pub mod sbom;
pub mod squashfs;
pub mod sums;
