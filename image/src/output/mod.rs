//! What is written: each file whole or not at all.

mod chunks;
pub mod cpio;
pub mod device_trees;
pub mod disk;
pub mod entry;
pub mod esp;
pub mod file;
pub mod file_lock;
pub mod gpt;
pub mod initrd;
pub mod licenses;
pub mod manifest;
pub mod sbom;
pub mod sparse;
pub mod squashfs;
pub mod sums;
pub mod u_boot;
