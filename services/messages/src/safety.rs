//! Safety numbers: two people compare them to exclude a man in the middle.

use octet_node::control::PublicKey;
use sha2::{Digest, Sha256};

/// The prefix of the hash input.
const DOMAIN: &[u8] = b"octet safety number 1\0";

/// The safety number of two names, equal for both: 60 digits in groups of five. It covers the name
/// keys only, because these sign all other keys.
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
