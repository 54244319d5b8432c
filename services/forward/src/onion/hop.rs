//! What a hop does with a set-up: it opens its slot, and later puts its answer there.

use sha2::{Digest, Sha256};

use super::keys::{ENC, HINT, OnionSecret, hint, seal, stream};
use super::record::{HopRecord, HopReply};
use super::session::HopSession;
use super::slots::{pass, range};
use super::{SLOTS, SetUp};

/// Why a hop takes no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HopError {
    /// No slot is for one of the onion keys.
    #[error("no part of the set-up is for this node: the source knows another onion key of it")]
    NotForUs,
    /// It is not as the source has sent it, or not from the source.
    #[error("the message was altered on its way, or is not from the path's source")]
    Forged,
    /// The source has said what cannot be.
    #[error("the source has sent what this version does not know")]
    Malformed,
    /// A change with a counter that is not higher than the last one's.
    #[error("the change is no newer than one that came before")]
    Old,
}

/// A set-up of which the hop has read its part.
#[derive(Debug)]
pub struct OpenedSetup {
    pub record: HopRecord,
    /// By what the same set-up is known again: the first bytes of SHA-256 of the key that the source has made
    /// for this slot. The hop keeps it as long as the record would be taken by its clock.
    pub replay: [u8; 16],
    /// What is sent to the next hop. If the path ends or is refused here, it is what is answered.
    pub forward: SetUp,
    /// What is kept while there is a path.
    pub session: HopSession,
    /// By which the hop answers.
    pub reply: ReplyKey,
}

/// The right to answer a set-up, once: its key seals one text.
pub struct ReplyKey {
    slot: usize,
    reply: [u8; 32],
    back: [u8; 32],
}

/// Opens the slot of a set-up that is for one of `keys`: the current one and those before it that may still be
/// in use.
///
/// It costs hashing, and X25519 once if a slot's hint fits.
///
/// # Errors
/// There is no such slot; or anything of the set-up was altered; or the record cannot be.
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

/// The first slot whose hint is right for one of `keys`. That another one's is by chance, 1 of 2^60 set-ups will
/// see.
fn find<'a>(keys: &'a [OnionSecret], bytes: &SetUp) -> Option<(&'a OnionSecret, usize)> {
    let fits = |key: &OnionSecret, slot: &usize| {
        let slot = &bytes[range(bytes, *slot)];
        hint(key.public(), &slot[HINT..HINT + ENC]) == slot[..HINT]
    };
    keys.iter().find_map(|key| Some((key, (0..SLOTS).find(|slot| fits(key, slot))?)))
}

impl ReplyKey {
    /// What goes back to the hop before. `bytes` is what has come back from the next hop, or, if the set-up
    /// goes no further, [`Opened::forward`]. The answer covers all of it, so that the source sees whether
    /// anything was altered further on.
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
