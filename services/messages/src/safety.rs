//! Safety numbers: what two people read to each other, to see that nobody stands between them.

use octet_node::control::PublicKey;
use sha2::{Digest, Sha256};

/// What stands before the names.
const DOMAIN: &[u8] = b"octet safety number 1\0";

/// The number of two names, the same for both: 60 digits in groups of five. It is of their names alone: all other keys
/// are signed by these.
pub fn number(one: &PublicKey, other: &PublicKey) -> String {
    let (first, second) = if one < other { (one, other) } else { (other, one) };
    let groups = (0u8..12).map(|group| {
        let digest = Sha256::new()
            .chain_update(DOMAIN)
            .chain_update([group])
            .chain_update(first.as_bytes())
            .chain_update(second.as_bytes())
            .finalize();
        let value = digest[..8].iter().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        format!("{:05}", value % 100_000)
    });
    groups.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_read_the_same_and_nobody_else() {
        let [a, b, c] = [1, 2, 3].map(|byte| PublicKey::new([byte; 32]));
        assert_eq!(number(&a, &b), number(&b, &a));
        assert_ne!(number(&a, &b), number(&a, &c));
        assert_eq!(number(&a, &b).len(), 12 * 5 + 11);
    }
}
