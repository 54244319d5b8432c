//! The bundle as it can be read: from an operator's connection, or from anywhere in tests.

use octet_bundle::{BundleHead, HeadError, LENGTHS, Lengths, MAX_CHUNK};
use octet_node::control::Failure;

/// A bundle that can be read at any place, at best in one direction.
pub trait BundleReader {
    /// How long it is in bytes, where that is known.
    fn size(&self) -> Option<u64>;

    /// The `length` bytes at `at`, [`MAX_CHUNK`] at most; fewer only at the end.
    ///
    /// # Errors
    /// Who sends it is gone, or sends something else.
    fn read(&mut self, at: u64, length: u32) -> Result<Vec<u8>, Failure>;
}

/// Reads the head of a bundle.
///
/// # Errors
/// It is none, or cannot be read.
pub fn read_head(source: &mut impl BundleReader) -> Result<Result<BundleHead, HeadError>, Failure> {
    let mut bytes = source.read(0, LENGTHS as u32)?;
    let end = match Lengths::parse(&bytes) {
        Ok(lengths) => lengths.head(),
        Err(error) => return Ok(Err(error)),
    };
    while bytes.len() < end {
        let most = u32::try_from(end - bytes.len()).unwrap_or(MAX_CHUNK).min(MAX_CHUNK);
        let piece = source.read(bytes.len() as u64, most)?;
        bytes.extend_from_slice(&piece);
        if piece.len() < most as usize {
            break;
        }
    }
    Ok(BundleHead::parse(&bytes))
}
