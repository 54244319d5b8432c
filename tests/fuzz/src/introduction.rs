//! What the ends of a path say to each other within it.

use octet_forward::exchange::public;
use octet_forward::introduction::{Inner, is_at_the_other_end};

/// The secrets of the path on which the inputs in `corpus/` were signed: of who speaks, and of who listens.
const SECRETS: ([u8; 32], [u8; 32]) = ([1; 32], [2; 32]);

/// Bytes are refused, or are the one encoding of a message. Who is at the other end of this path is not at that of
/// another, nor at this one.
///
/// # Panics
/// It is not so.
pub fn introduction(bytes: &[u8]) {
    let Some(message) = Inner::from_bytes(bytes) else { return };
    assert_eq!(message.to_bytes(), bytes);
    let Inner::Introduction { certificate, signature, .. } = message else { return };
    let (speaks, listens) = (public(&SECRETS.0), public(&SECRETS.1));
    if is_at_the_other_end(&certificate, &signature, (speaks, listens)) {
        assert_eq!(certificate.statement().unit.as_str(), "forward");
        assert!(!is_at_the_other_end(&certificate, &signature, (listens, speaks)));
        assert!(!is_at_the_other_end(&certificate, &signature, (speaks, [3; 32])));
    }
}
