//! Derives a key from a passphrase by Argon2id (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use octet_node::bytes::Fields;
use octet_node::key::{NoRandomness, random};

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The length of the encoding, in bytes.
pub const LENGTH: usize = 1 + 3 * 4 + 16;

/// The cost of a derivation. It is stored with the salt, so that later versions can raise it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    memory: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// The second recommended option of RFC 9106 (section 4), for limited memory: 64 MiB, three
    /// passes.
    pub fn recommended() -> Self {
        Self { memory: 64 << 10, passes: 3, lanes: 4 }
    }

    #[cfg(test)]
    pub const CHEAP: Self = Self { memory: 64, passes: 1, lanes: 1 };

    /// Whether the cost is acceptable: the file is untrusted.
    fn is_acceptable(self) -> bool {
        self.memory <= 1 << 20 && (1..=16).contains(&self.passes) && (1..=16).contains(&self.lanes)
    }
}

/// The parameters of a derivation.
///
/// The encoding is unique (numbers are big-endian): version (1 byte, 1), memory in KiB (4), passes
/// (4), lanes (4), salt (16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derivation {
    cost: Cost,
    salt: [u8; 16],
}

impl Derivation {
    /// Parameters with a new salt.
    pub fn new(cost: Cost) -> Result<Self, NoRandomness> {
        Ok(Self { cost, salt: random()? })
    }

    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for number in [self.cost.memory, self.cost.passes, self.cost.lanes] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.salt);
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let version = fields.u8()?;
        let cost = Cost { memory: fields.u32()?, passes: fields.u32()?, lanes: fields.u32()? };
        let salt = fields.array()?;
        let whole = version == VERSION && fields.0.is_empty() && cost.is_acceptable();
        whole.then_some(Self { cost, salt })
    }

    /// The key; `None` if the cost is invalid.
    pub fn key(self, passphrase: &[u8]) -> Option<[u8; 32]> {
        let Cost { memory, passes, lanes } = self.cost;
        let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
        let mut key = [0; 32];
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(passphrase, &self.salt, &mut key).ok()?;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_made_to_pay_too_much() {
        let whole = Derivation::new(Cost::CHEAP).unwrap().to_bytes();
        assert!(Derivation::from_bytes(&whole).is_some() && whole.len() == LENGTH);
        for (at, byte) in [(0, 2), (1, 1), (5, 1), (9, 1)] {
            let mut altered = whole.clone();
            altered[at] = byte;
            assert!(Derivation::from_bytes(&altered).is_none(), "byte {at}");
        }
        assert!((0..LENGTH).all(|length| Derivation::from_bytes(&whole[..length]).is_none()));
    }
}
