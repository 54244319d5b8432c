//! The source of a bundle: an operator's upload, or a file in tests.

use octet_bundle::{BundleHead, HeadError, LENGTHS, Lengths, MAX_CHUNK};
use octet_node::control::Failure;

/// A bundle with random access; sequential access is fastest.
pub trait BundleReader {
    /// The length in bytes, if known.
    fn size(&self) -> Option<u64>;

    /// Reads `length` bytes at offset `at`, [`MAX_CHUNK`] at most; fewer only at the end.
    ///
    /// # Errors
    /// The sender has disconnected, or sends invalid data.
    fn read(&mut self, at: u64, length: u32) -> Result<Vec<u8>, Failure>;
}

/// Reads the head of a bundle.
///
/// # Errors
/// It is malformed, or cannot be read.
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
