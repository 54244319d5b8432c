//! Chunks as a bundle has them.

use std::borrow::Cow;
use std::io;

/// The level of zstd: nobody waits for this but who signs and bundles. Programs that the boot waits
/// for are not compressed in an image; this is what their chunks cost on the way.
const LEVEL: i32 = 19;

/// `bytes` compressed, if they get smaller by it.
pub fn pack(bytes: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    let packed = zstd::bulk::compress(bytes, LEVEL)?;
    Ok(if packed.len() < bytes.len() { packed.into() } else { bytes.into() })
}
