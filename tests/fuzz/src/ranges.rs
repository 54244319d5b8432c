//! Which bytes of an object a request to `cache` asks for.

use octet_cache::http::{MAX, RequestedRange, wanted};

/// The first eight bytes are how long the object is, the rest is the field. What is given is there, in few parts that
/// are together no more than it, and each of them is what it is by itself.
pub fn ranges(bytes: &[u8]) {
    let Some((size, field)) = bytes.split_first_chunk() else { return };
    let (size, Ok(field)) = (u64::from_be_bytes(*size), str::from_utf8(field)) else { return };
    let RequestedRange::Parts(spans) = wanted(field, size) else { return };
    assert!((1..=MAX).contains(&spans.len()));
    assert!(spans.iter().all(|span| span.start < span.end && span.end <= size));
    let sum = spans.iter().map(|span| u128::from(span.length())).sum::<u128>();
    assert!(sum <= u128::from(size));
    // Each by itself is what it is among the others.
    let (unit, list) = field.split_once('=').expect("a unit");
    let alone = list.split(',').filter_map(|one| match wanted(&format!("{unit}={one}"), size) {
        RequestedRange::Parts(spans) => Some(spans),
        RequestedRange::Whole | RequestedRange::Nothing => None,
    });
    assert_eq!(alone.flatten().collect::<Vec<_>>(), spans);
}
