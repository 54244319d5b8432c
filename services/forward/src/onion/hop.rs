//! The hop's side of a set-up: it decrypts its slot, and later writes its answer there.

use sha2::{Digest, Sha256};

use super::keys::{ENC, HINT, OnionSecret, hint, seal, stream};
use super::record::{HopRecord, HopReply};
use super::session::HopSession;
use super::slots::{pass, range};
use super::{SLOTS, SetUp};

/// Why a hop refuses a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HopError {
    /// No slot is encrypted for one of the onion keys.
    #[error("no part of the set-up is for this node: the source knows another onion key of it")]
    NotForUs,
    /// The message was altered, or is not from the source.
    #[error("the message was altered in transit, or is not from the path's source")]
    Forged,
    /// The source has sent an invalid record.
    #[error("the source has sent an instruction that this version does not know")]
    Malformed,
    /// The counter is not higher than that of the last change.
    #[error("the change is not newer than a previous one")]
    Old,
}

/// A set-up whose slot was decrypted.
#[derive(Debug)]
pub struct OpenedSetup {
    pub record: HopRecord,
    /// The replay identifier: the first bytes of SHA-256 of the slot's ephemeral key. The hop remembers it as
    /// long as its clock accepts the record.
    pub replay: [u8; 16],
    /// The message for the next hop; if the path ends or is refused here, the input of the answer.
    pub forward: SetUp,
    /// The state to keep while the path exists.
    pub session: HopSession,
    /// The key of the answer.
    pub reply: ReplyKey,
}

/// The key that seals one answer to a set-up.
pub struct ReplyKey {
    slot: usize,
    reply: [u8; 32],
    back: [u8; 32],
}

/// Decrypts the slot for one of `keys`: the current one and recent ones that may still be in use.
///
/// The cost is a few hashes, and one X25519 operation if a hint matches.
///
/// # Errors
/// No slot matches, the set-up was altered, or the record is invalid.
pub fn open(keys: &[OnionSecret], bytes: &SetUp) -> Result<OpenedSetup, HopError> {
    let (key, slot) = find(keys, bytes).ok_or(HopError::NotForUs)?;
    let own = range(bytes, slot);
    let (_, sealed) = bytes[own.clone()].split_at(HINT);
    let (enc, sealed) = sealed.split_at(ENC);
    let mut receiver = key.receive(enc).map_err(|_| HopError::Forged)?;
    let mut forward = *bytes;
    forward[own].fill(0);
    let plain = receiver.open(sealed, &forward).ok_or(HopError::Forged)?;
    let record = HopRecord::from_bytes(&plain).ok_or(HopError::Malformed)?;
    let keys = receiver.keys().map_err(|_| HopError::Forged)?;
    pass(&mut forward, slot, &keys.layer, 0);
    let mut replay = [0; 16];
    replay.copy_from_slice(&Sha256::digest(enc)[..16]);
    let session = HopSession::new(u8::try_from(slot).map_err(|_| HopError::Malformed)?, &keys);
    let reply = ReplyKey { slot, reply: keys.reply, back: keys.back };
    Ok(OpenedSetup { record, replay, forward, session, reply })
}

/// The first slot whose hint matches one of `keys`. A hint of another hop matches by chance in one of 2^60
/// set-ups.
fn find<'a>(keys: &'a [OnionSecret], bytes: &SetUp) -> Option<(&'a OnionSecret, usize)> {
    let fits = |key: &OnionSecret, slot: &usize| {
        let slot = &bytes[range(bytes, *slot)];
        hint(key.public(), &slot[HINT..HINT + ENC]) == slot[..HINT]
    };
    keys.iter().find_map(|key| Some((key, (0..SLOTS).find(|slot| fits(key, slot))?)))
}

impl ReplyKey {
    /// Seals the answer for the previous hop. `bytes` is the next hop's answer or, if the set-up ends here,
    /// [`OpenedSetup::forward`]. The seal authenticates all of it, so that the source detects alterations by
    /// later hops.
    pub fn answer(self, bytes: &SetUp, answer: HopReply) -> SetUp {
        let own = range(bytes, self.slot);
        let mut sealed = *bytes;
        seal(&self.reply, 0, answer.to_bytes(), (own.clone(), &mut sealed));
        let mut back = *bytes;
        stream(&self.back, 0, &mut back);
        back[own.clone()].copy_from_slice(&sealed[own]);
        back
    }
}

impl std::fmt::Debug for ReplyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}
