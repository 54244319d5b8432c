//! The superblock of ext4 (kernel: Documentation/filesystems/ext4/super.rst), as far as it says
//! whether the file system must be checked before it is mounted.

/// Offset of the superblock on the partition, in bytes.
pub const OFFSET: u64 = 1024;
/// Number of bytes that are read.
pub const LEN: usize = 1024;

const MAGIC: u16 = 0xEF53;
const STATE_CLEAN: u16 = 1;
const STATE_ERRORS: u16 = 2;
const INCOMPAT_RECOVER: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesystemState {
    /// It was unmounted cleanly.
    Clean,
    /// It was not unmounted, or the kernel has found errors in it.
    ToCheck,
    Missing,
}

pub fn state(superblock: &[u8; LEN]) -> FilesystemState {
    let u16_at = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
    if u16_at(56) != MAGIC {
        return FilesystemState::Missing;
    }
    let state = u16_at(58);
    // s_feature_incompat is a little-endian u32; the flag is in its first half.
    let recover = u32::from(u16_at(96)) & INCOMPAT_RECOVER != 0;
    if state & STATE_CLEAN != 0 && state & STATE_ERRORS == 0 && !recover {
        FilesystemState::Clean
    } else {
        FilesystemState::ToCheck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(magic: u16, flags: u16, incompatible: u16) -> FilesystemState {
        let mut bytes = [0; LEN];
        bytes[56..58].copy_from_slice(&magic.to_le_bytes());
        bytes[58..60].copy_from_slice(&flags.to_le_bytes());
        bytes[96..98].copy_from_slice(&incompatible.to_le_bytes());
        state(&bytes)
    }

    #[test]
    fn tells_the_states_apart() {
        assert_eq!(with(MAGIC, STATE_CLEAN, 0x2c2), FilesystemState::Clean);
        assert_eq!(with(MAGIC, 0, 0x2c2), FilesystemState::ToCheck);
        assert_eq!(with(MAGIC, STATE_CLEAN | STATE_ERRORS, 0x2c2), FilesystemState::ToCheck);
        assert_eq!(
            with(MAGIC, STATE_CLEAN, 0x2c6),
            FilesystemState::ToCheck,
            "the journal is not empty"
        );
        assert_eq!(with(0, STATE_CLEAN, 0), FilesystemState::Missing);
    }
}
