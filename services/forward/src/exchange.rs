//! Public keys for X25519 (RFC 7748).

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::montgomery::MontgomeryPoint;
use octet_node::control::PublicKey;

/// The public key of a secret.
pub fn public(secret: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(*secret).to_bytes()
}

/// The X25519 key (RFC 7748) of an Ed25519 key: the same point in the other form of the curve (RFC 7748, 4.1).
/// Its secret is `Key::exchange_secret`.
///
/// `None` if the key is not a point of the curve, or is one of small order, for which all secrets give the same
/// few results.
pub fn exchange_key(key: &PublicKey) -> Option<[u8; 32]> {
    let point = CompressedEdwardsY(*key.as_bytes()).decompress()?;
    (!point.is_small_order()).then(|| point.to_montgomery().to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::key::PrivateKey;
    use proptest::prelude::*;

    /// Both sides derive the same secret.
    #[test]
    fn both_sides_come_to_one_secret() {
        let (ours, theirs) = ([7; 32], [9; 32]);
        let with = |secret: [u8; 32], public| MontgomeryPoint(public).mul_clamped(secret);
        assert_eq!(with(ours, public(&theirs)), with(theirs, public(&ours)));
        assert_ne!(public(&ours), public(&theirs));
    }

    #[test]
    fn both_halves_of_a_key_say_the_same() {
        for _ in 0..20 {
            let key = PrivateKey::generate().unwrap();
            assert_eq!(exchange_key(&key.public()), Some(public(&key.exchange_secret())));
        }
    }

    #[test]
    fn no_key_without_a_point_that_can_keep_a_secret() {
        let with = |first, last| {
            let mut bytes = [0; 32];
            (bytes[0], bytes[31]) = (first, last);
            PublicKey::new(bytes)
        };
        // The neutral point, the one of order 2 (y = -1) and those of order 4 (y = 0).
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        for small in [with(1, 0), PublicKey::new(minus_one), with(0, 0), with(0, 0x80)] {
            assert_eq!(exchange_key(&small), None);
        }
        // y = 2 is no point; y = 3 is.
        assert_eq!(exchange_key(&with(2, 0)), None);
        assert!(exchange_key(&with(3, 0)).is_some());
    }

    proptest! {
        #[test]
        fn never_panics(bytes: [u8; 32]) {
            let _ = exchange_key(&PublicKey::new(bytes));
        }
    }
}
