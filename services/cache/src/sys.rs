//! The one system call that has no safe wrapper: the ioctl that enables fs-verity
//! (Linux, Documentation/filesystems/fsverity.rst).
#![expect(unsafe_code, reason = "no crate wraps FS_IOC_ENABLE_VERITY")]

use std::fs::File;
use std::io;

use rustix::ioctl::{Setter, ioctl, opcode};

/// `struct fsverity_enable_arg` (include/uapi/linux/fsverity.h).
#[repr(C)]
#[derive(Default)]
struct EnableVerity {
    version: u32,
    hash_algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt: u64,
    signature_size: u32,
    reserved: u32,
    signature: u64,
    reserved_too: [u64; 11],
}

/// `FS_VERITY_HASH_ALG_SHA256`.
const SHA256: u32 = 1;

/// Makes the content of a file immutable, and has the kernel verify whatever is read of it, in blocks of so many bytes:
/// at most as many as a page and a block of the file system have. The file must not be open for writing.
pub fn enable_verity(file: &File, block_size: u32) -> io::Result<()> {
    let wanted =
        EnableVerity { version: 1, hash_algorithm: SHA256, block_size, ..Default::default() };
    // SAFETY: the kernel reads this one structure, whose layout is that of its header, and which outlives the call.
    unsafe {
        let enable =
            Setter::<{ opcode::write::<EnableVerity>(b'f', 133) }, EnableVerity>::new(wanted);
        Ok(ioctl(file, enable)?)
    }
}
