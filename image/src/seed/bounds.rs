//! Bounds on the headers of a disk image, checked before a library allocates by them.
//!
//! qcow2: QEMU's docs/interop/qcow2.rst. ext4: the kernel's Documentation/filesystems/ext4.

/// The largest disk a seed may have.
pub const DISK: u64 = 64 << 30;

/// The largest table of the first level: enough for [`DISK`] with the smallest useful clusters.
const L1_BYTES: u64 = 32 << 20;

/// The largest table of reference counts.
const REFCOUNT_TABLE_BYTES: u64 = 8 << 20;

/// Bytes of a qcow2 header that are looked at.
pub const QCOW2_HEADER: usize = 104;

/// Where an ext4 superblock is, and how long.
pub const SUPERBLOCK: std::ops::Range<usize> = 1024..2048;

/// Checks the first bytes of a qcow2 file of `len` bytes.
pub fn qcow2(header: &[u8; QCOW2_HEADER], len: u64) -> Result<(), &'static str> {
    let u32_at = |at: usize| be(header, at, 4);
    let u64_at = |at: usize| be(header, at, 8);
    if &header[..4] != b"QFI\xfb" {
        return Err("it is no qcow2 file");
    }
    let version = u32_at(4);
    if !(2..=3).contains(&version) {
        return Err("its qcow2 version is not known");
    }
    if u64_at(8) != 0 {
        return Err("it names a backing file");
    }
    let cluster_bits = u32_at(20);
    if !(9..=21).contains(&cluster_bits) {
        return Err("its cluster size is out of range");
    }
    if u64_at(24) > DISK {
        return Err("its disk is too large");
    }
    if u32_at(32) != 0 {
        return Err("it is encrypted");
    }
    let within = |offset: u64, bytes: u64| offset.checked_add(bytes).is_some_and(|end| end <= len);
    let l1 = u32_at(36) * 8;
    if l1 > L1_BYTES || !within(u64_at(40), l1) {
        return Err("its first-level table does not fit");
    }
    let refcounts = u32_at(56) << cluster_bits;
    if refcounts > REFCOUNT_TABLE_BYTES || !within(u64_at(48), refcounts) {
        return Err("its table of reference counts does not fit");
    }
    if u32_at(60) != 0 {
        return Err("it has snapshots");
    }
    // Bit 0 says that reference counts may be stale, which does not matter for reading.
    if version == 3 && u64_at(72) & !1 != 0 {
        return Err("it needs a feature that is not known");
    }
    Ok(())
}

/// Checks the superblock of an ext4 file system on a disk of `len` bytes.
pub fn ext4(superblock: &[u8], len: u64) -> Result<(), &'static str> {
    if superblock.len() < SUPERBLOCK.len() || le(superblock, 0x38, 2) != 0xef53 {
        return Err("it is no ext4 file system");
    }
    let log_block_size = le(superblock, 0x18, 4);
    if log_block_size > 6 {
        return Err("its block size is out of range");
    }
    let blocks = le(superblock, 0x150, 4) << 32 | le(superblock, 0x4, 4);
    if blocks.checked_mul(1024 << log_block_size).is_none_or(|bytes| bytes > len) {
        return Err("it is larger than its disk");
    }
    if le(superblock, 0x20, 4) < 256 || le(superblock, 0x28, 4) == 0 {
        return Err("its block groups are out of range");
    }
    if !(128..=1024 << log_block_size).contains(&le(superblock, 0x58, 2)) {
        return Err("its inode size is out of range");
    }
    if le(superblock, 0xfe, 2) > 1024 {
        return Err("its group descriptors are out of range");
    }
    Ok(())
}

fn be(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn le(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good_qcow2() -> [u8; QCOW2_HEADER] {
        let mut header = [0; QCOW2_HEADER];
        header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        header[23] = 16;
        header[39] = 2;
        header[45] = 3;
        header[59] = 1;
        header
    }

    fn good_ext4() -> Vec<u8> {
        let mut superblock = vec![0; 1024];
        superblock[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
        superblock[0x5] = 1;
        superblock[0x18] = 2;
        superblock[0x21] = 0x80;
        superblock[0x29] = 0x20;
        superblock[0x59] = 1;
        superblock
    }

    #[test]
    fn each_bound_holds() {
        assert_eq!(qcow2(&good_qcow2(), 1 << 30), Ok(()));
        for at in [0, 7, 8, 20, 24, 32, 36, 40, 56, 48, 60, 72] {
            let mut header = good_qcow2();
            header[at] = 0x77;
            assert!(qcow2(&header, 1 << 30).is_err(), "byte {at}");
        }
        assert_eq!(ext4(&good_ext4(), 1 << 30), Ok(()));
        for (at, value) in
            [(0x38, 0), (0x18, 7), (0x7, 1), (0x150, 1), (0x21, 0), (0x29, 0), (0x59, 0x40)]
        {
            let mut superblock = good_ext4();
            superblock[at] = value;
            assert!(ext4(&superblock, 1 << 30).is_err(), "byte {at:#x}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 1024), len: u64) {
            let mut header = good_qcow2();
            header[8..].copy_from_slice(&bytes[8..QCOW2_HEADER]);
            let _ = qcow2(&header, len);
            let mut superblock = bytes;
            superblock[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
            let _ = ext4(&superblock, len);
        }
    }
}
