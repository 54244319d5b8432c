//! A hop's state of a path: the keys that authenticate the source's changes.

use super::change::{HopChange, PLAIN};
use super::hop::HopError;
use super::keys::{Keys, unseal};
use super::slots::{pass, range};
use super::{CHANGE, COUNTER, SLOTS};
use octet_node::bytes::Fields;

/// The size of an encoded session, in bytes.
pub const SESSION: usize = 74;

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// A hop's state of a path.
///
/// Its one encoding: version (1 byte, 1), slot (1), key of changes (32), key of the stream over them (32), the
/// last counter (8). It is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct HopSession {
    slot: u8,
    change: [u8; 32],
    cover: [u8; 32],
    last: u64,
}

impl HopSession {
    pub(super) fn new(slot: u8, keys: &Keys) -> Self {
        Self { slot, change: keys.change, cover: keys.cover, last: 0 }
    }

    /// Decrypts a change. Returns the instruction, and the message for the next hop.
    ///
    /// # Errors
    /// The counter is not higher than the last one, or the change was altered. The session is
    /// unchanged then.
    pub fn change(&mut self, bytes: &[u8; CHANGE]) -> Result<(HopChange, [u8; CHANGE]), HopError> {
        let mut passed = *bytes;
        let (counter, body) = passed.split_at_mut(COUNTER);
        let counter = Fields(counter).u64().ok_or(HopError::Malformed)?;
        if counter <= self.last {
            return Err(HopError::Old);
        }
        let slot = usize::from(self.slot);
        let own = range(body, slot);
        let sealed = body[own.clone()].to_vec();
        body[own].fill(0);
        let plain: [u8; PLAIN] =
            unseal(&self.change, counter, &sealed, body).ok_or(HopError::Forged)?;
        let change = HopChange::from_bytes(&plain).ok_or(HopError::Malformed)?;
        pass(body, slot, &self.cover, counter);
        self.last = counter;
        Ok((change, passed))
    }

    /// The encoding, for the daemon's own file. It must be rewritten after each change: an old copy would
    /// accept replayed changes.
    pub fn to_bytes(&self) -> [u8; SESSION] {
        let mut bytes = [0; SESSION];
        (bytes[0], bytes[1]) = (VERSION, self.slot);
        bytes[2..34].copy_from_slice(&self.change);
        bytes[34..66].copy_from_slice(&self.cover);
        bytes[66..].copy_from_slice(&self.last.to_be_bytes());
        bytes
    }

    /// Decodes a session; `None` if the version is unknown or the slot is invalid.
    pub fn from_bytes(bytes: &[u8; SESSION]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (version, slot) = (fields.u8()?, fields.u8()?);
        let (change, cover) = (fields.array()?, fields.array()?);
        let last = fields.u64()?;
        let valid = version == VERSION && usize::from(slot) < SLOTS;
        valid.then_some(Self { slot, change, cover, last })
    }
}

impl std::fmt::Debug for HopSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("last", &self.last).finish_non_exhaustive()
    }
}
