//! How much memory a parser takes.

use allocation_counter::measure;

/// A value in memory is larger than its encoding, and a vector that grows is there twice for a moment.
const FACTOR: u64 = 16;

/// For what does not grow with the input.
const FIXED: u64 = 8 << 10;

/// Decodes `bytes`, and panics if that takes out of proportion more memory than they have: a length is no promise.
pub(crate) fn decode<T>(bytes: &[u8], decode: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    decode_within(FIXED, bytes, decode)
}

/// Like [`decode`], for a parser that may take `fixed` bytes whatever the input is.
pub(crate) fn decode_within<T>(
    fixed: u64,
    bytes: &[u8],
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Option<T> {
    let mut decoded = None;
    let taken = measure(|| decoded = decode(bytes)).bytes_max;
    assert!(taken <= FACTOR * bytes.len() as u64 + fixed, "{taken} bytes for {}", bytes.len());
    decoded
}

/// How many bytes `what` has taken and not given back.
pub(crate) fn kept(what: impl FnOnce()) -> i64 {
    measure(what).bytes_current
}
