//! The byte ranges that a request to `cache` selects.

use octet_cache::http::{MAX, RequestedRange, parse_range};

/// The first eight bytes are the size of the object, and the rest is the field. The selected parts
/// are within the object, few in number and together not larger than it, and each of them is the
/// same if it is requested alone.
pub fn ranges(bytes: &[u8]) {
    let Some((size, field)) = bytes.split_first_chunk() else { return };
    let (size, Ok(field)) = (u64::from_be_bytes(*size), str::from_utf8(field)) else { return };
    let RequestedRange::Parts(spans) = parse_range(field, size) else { return };
    assert!((1..=MAX).contains(&spans.len()));
    assert!(spans.iter().all(|span| span.start < span.end && span.end <= size));
    let sum = spans.iter().map(|span| u128::from(span.length())).sum::<u128>();
    assert!(sum <= u128::from(size));
    // Each range alone selects the same bytes as among the others.
    let (unit, list) = field.split_once('=').expect("a unit");
    let alone =
        list.split(',').filter_map(|one| match parse_range(&format!("{unit}={one}"), size) {
            RequestedRange::Parts(spans) => Some(spans),
            RequestedRange::Whole | RequestedRange::Nothing => None,
        });
    assert_eq!(alone.flatten().collect::<Vec<_>>(), spans);
}
