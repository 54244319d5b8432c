//! Ed25519 keys (RFC 8032) of nodes, services and operators, and their files.

mod file;

pub use file::{create, read, write};

use octet_control::PublicKey;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// The length of a signature in bytes.
pub const SIGNATURE: usize = 64;

/// The prefix of a seed in PKCS #8 (RFC 8410, section 7).
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The domain of a signature. It is part of the signed bytes, so that a signature is valid in one domain only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// [`Certificate`](crate::certificate::Certificate)
    Certificate,
    /// [`Command`](crate::command::Command)
    Command,
    /// The state of `identity` about the keys of services.
    Book,
    /// [`SignedMap`](crate::map::SignedMap)
    Map,
    /// [`Statement`](crate::statement::Statement)
    Statement,
    /// [`Record`](crate::record::Record)
    Record,
    /// An announcement of `forward`.
    Announcement,
    /// An introduction on a path of `forward`.
    Introduction,
    /// A contact card of `messenger`.
    Card,
    /// A prekey that encrypts the first message to a person.
    Prekey,
    /// A mailbox owner's request to the mailbox.
    Mailbox,
    /// A name of `cache`.
    Name,
    /// A payee's terms for a payer, and its acknowledgement of receipts.
    Offer,
    /// A payer's receipt for bytes that a neighbour carried.
    Receipt,
    /// A payee's statement of what was settled.
    Settlement,
    /// A transaction of a ledger.
    Transaction,
    /// A key's consent to be bound to an owner on a ledger.
    Possession,
    /// A vote of a validator of the ledger.
    Vote,
    /// A block that a validator of the ledger proposes.
    Proposal,
}

impl Domain {
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Certificate => b"octet certificate 1\0",
            Self::Command => b"octet command 1\0",
            Self::Book => b"octet identity book 1\0",
            Self::Map => b"octet map 1\0",
            Self::Statement => b"octet coordinator 1\0",
            Self::Record => b"octet board 1\0",
            Self::Announcement => b"octet announcement 1\0",
            Self::Introduction => b"octet introduction 2\0",
            Self::Card => b"octet card 1\0",
            Self::Prekey => b"octet prekey 1\0",
            Self::Mailbox => b"octet mailbox 1\0",
            Self::Name => b"octet name 1\0",
            Self::Offer => b"octet offer 1\0",
            Self::Receipt => b"octet receipt 1\0",
            Self::Settlement => b"octet settlement 1\0",
            Self::Transaction => b"octet transaction 1\0",
            Self::Possession => b"octet possession 1\0",
            Self::Vote => b"octet vote 1\0",
            Self::Proposal => b"octet proposal 1\0",
        }
    }

    fn message(self, body: &[u8]) -> Vec<u8> {
        [self.prefix(), body].concat()
    }
}

/// The kernel provides no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel gives no random bytes")]
pub struct NoRandomness;

/// A private key. It is never printed.
pub struct PrivateKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl PrivateKey {
    /// Generates a key. It waits until the kernel has enough randomness (`getrandom(2)`).
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| NoRandomness)?;
        Self::from_seed(seed).ok_or(NoRandomness)
    }

    /// The key of `seed` (RFC 8032, 5.1.5), for callers that store the seed themselves.
    pub fn from_seed(seed: [u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        Some(Self { seed, pair })
    }

    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey::new(bytes)
    }

    /// Signs `body` in `domain`.
    pub fn sign(&self, domain: Domain, body: &[u8]) -> [u8; SIGNATURE] {
        let mut signature = [0; SIGNATURE];
        signature.copy_from_slice(self.pair.sign(&domain.message(body)).as_ref());
        signature
    }

    /// The X25519 secret (RFC 7748) of this key. Its public half is this key's on the other form of the curve
    /// (RFC 7748, 4.1), so that a certificate covers both.
    pub fn exchange_secret(&self) -> [u8; 32] {
        // The secret scalar is derived as in RFC 8032, 5.1.5; X25519 clamps the same bits.
        let digest = ring::digest::digest(&ring::digest::SHA512, &self.seed);
        let mut secret = [0; 32];
        secret.copy_from_slice(&digest.as_ref()[..32]);
        secret
    }

    /// The seed.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The key for TLS libraries: PKCS #8 (RFC 8410), DER.
    pub fn to_pkcs8(&self) -> Vec<u8> {
        [&PKCS8[..], &self.seed].concat()
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the private key of {}", self.public())
    }
}

/// Whether `signature` is by `key`, for `body` in `domain`.
pub fn verify(key: &PublicKey, domain: Domain, body: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key.as_bytes())
        .verify(&domain.message(body), signature)
        .is_ok()
}

/// Random bytes from the kernel.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_one_thing() {
        let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let signature = key.sign(Domain::Command, b"reboot");
        let verify = |public: &PrivateKey, domain, body: &[u8]| {
            verify(&public.public(), domain, body, &signature)
        };
        assert!(verify(&key, Domain::Command, b"reboot"));
        assert!(!verify(&key, Domain::Certificate, b"reboot"));
        assert!(!verify(&key, Domain::Command, b"reboot "));
        assert!(!verify(&other, Domain::Command, b"reboot"));
    }

    /// RFC 8032, section 7.1, test 1.
    #[test]
    fn the_key_of_the_rfc() {
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect()
        };
        let seed = bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = PrivateKey::from_seed(seed.try_into().unwrap()).unwrap();
        let public = bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(key.public().as_bytes()[..], public);
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key.to_pkcs8()).unwrap();
        assert_eq!(pair.public_key().as_ref(), public);
        assert!(!format!("{key:?}").contains("9d61"));
    }

    #[test]
    fn no_two_are_alike() {
        assert_ne!(
            PrivateKey::generate().unwrap().public(),
            PrivateKey::generate().unwrap().public()
        );
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }
}
