//! Sealing: once all of an object's content has been read back from the disk and is as it was written, its file gets
//! fs-verity. From then on the kernel verifies what it reads of it, and the file can be sent without a look at it.

use std::fs::File;
use std::io;

use iroh_blobs::Hash;
use rustix::fs::fstatvfs;
use rustix::io::Errno;

use super::file::is_sealed;
use super::{Objects, SMALL};
use crate::sys::enable_verity;

/// The size in bytes of a page: no kernel has smaller ones.
const PAGE: u64 = 4096;

/// What came of sealing a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealOutcome {
    /// It is sealed.
    Sealed,
    /// The store has it open for writing: it can be sealed later.
    InUse,
    /// It is read from the store, which verifies it, or its file system or the kernel has no fs-verity.
    Unsealable,
}

impl Objects {
    /// Seals the file of an object, whose content has just been verified.
    ///
    /// # Errors
    /// It is missing, or the disk fails.
    pub fn seal(&self, hash: Hash) -> io::Result<SealOutcome> {
        if self.policy.size(&hash).is_none_or(|size| size <= SMALL) {
            return Ok(SealOutcome::Unsealable);
        }
        let file = File::open(self.path_of(hash))?;
        if is_sealed(&file)? {
            return Ok(SealOutcome::Sealed);
        }
        // ext4 has smaller blocks than pages on a small partition.
        let block_size = fstatvfs(&file)?.f_bsize.min(PAGE);
        match enable_verity(&file, block_size as u32) {
            Ok(()) => {
                // Otherwise a power cut ends it, and the next pass has to do it again.
                file.sync_all()?;
                // Whoever reads it next finds it sealed.
                self.files.remove(&hash);
                Ok(SealOutcome::Sealed)
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::TXTBSY) => Ok(SealOutcome::InUse),
                Some(Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOPKG) => Ok(SealOutcome::Unsealable),
                _ => Err(error),
            },
        }
    }

    /// Whether the file of an object is sealed.
    pub fn is_sealed(&self, hash: Hash) -> bool {
        File::open(self.path_of(hash)).and_then(|file| is_sealed(&file)).unwrap_or(false)
    }
}
