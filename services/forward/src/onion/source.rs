//! The source's side of a set-up: it seals a record for each hop, and reads the answers.

use chacha20::ChaCha20Rng;
use hpke::rand_core::{Rng, SeedableRng};

use super::changes::HopChanges;
use super::keys::{Keys, Sender, hint, stream, unseal};
use super::record::{HopGrant, HopRecord, HopReply, HopRole, Reason};
use super::slots::{pass, range, wrap};
use super::{HOPS, SETUP, SLOTS, SetUp};

/// A hop of a requested path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedHop {
    /// The hop's announced onion key.
    pub onion_key: [u8; 32],
    /// The request to the hop.
    pub record: HopRecord,
}

/// Why hops form no path. Positions are counted from 0, the hop next to the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHops {
    /// The number of hops is 0 or too high.
    #[error("a path has 1 to {HOPS} hops, and this one {0}")]
    Length(usize),
    /// A hop before the last one has the role of the end, or the last one that of a relay.
    #[error(
        "hop {0} of the path has the wrong role: the last hop is the end, the others are relays"
    )]
    Role(usize),
    /// The onion key is a weak point.
    #[error("the onion key of hop {0} is invalid")]
    Key(usize),
}

/// Why there is no path. Positions are counted from 0, the hop next to the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFailure {
    #[error("hop {0} refuses the path: {1}")]
    Refused(usize, Reason),
    /// The first hop whose answer is invalid: its answer, or those of later hops, were altered. The hop before
    /// it or any later one can have done it.
    #[error("the answer of hop {0}, or of a later one, was altered in transit")]
    Broken(usize),
}

/// A path that all hops have granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The grants, in the order of the path.
    pub hops: Vec<HopGrant>,
    /// The end's public key of the inner WireGuard.
    pub inner_key: [u8; 32],
}

/// The source's state of a pending path.
pub struct Pending {
    hops: Vec<(usize, Keys)>,
    sent: Box<SetUp>,
    /// The key of the random bytes in unused slots of changes.
    noise: [u8; 32],
}

/// Builds the set-up of a path over `hops`, for the first of them. `seed` must be random, secret, and used
/// once: the keys, the slot order and the filling are derived from it (ChaCha20).
pub fn build(hops: &[PlannedHop], seed: [u8; 32]) -> Result<(SetUp, Pending), InvalidHops> {
    check(hops)?;
    let mut random = ChaCha20Rng::from_seed(seed);
    let (mut senders, mut saved) = (Vec::new(), Vec::new());
    for ((place, hop), slot) in hops.iter().enumerate().zip(random_slots(&mut random)) {
        let invalid = |_| InvalidHops::Key(place);
        let sender = Sender::new(&hop.onion_key, &mut random).map_err(invalid)?;
        saved.push((slot, sender.keys().map_err(invalid)?));
        senders.push(sender);
    }
    let mut body = [0; SETUP];
    random.fill_bytes(&mut body);
    let streams: Vec<_> = saved.iter().map(|(slot, keys)| (*slot, &keys.layer)).collect();
    wrap(&mut body, &streams, 0, |place, slot, body| {
        let (sender, hop) = (&mut senders[place], &hops[place]);
        let sealed = sender.seal(hop.record.to_bytes(), body);
        let (text, tag) = sealed.map_err(|_| InvalidHops::Key(place))?;
        let hint = hint(&hop.onion_key, &sender.enc);
        let whole = [&hint[..], &sender.enc, &text, &tag].concat();
        body[slot].copy_from_slice(&whole);
        Ok(())
    })?;
    let mut noise = [0; 32];
    random.fill_bytes(&mut noise);
    Ok((body, Pending { hops: saved, sent: Box::new(body), noise }))
}

fn check(hops: &[PlannedHop]) -> Result<(), InvalidHops> {
    if hops.is_empty() || hops.len() > HOPS {
        return Err(InvalidHops::Length(hops.len()));
    }
    let is_end = |hop: &PlannedHop| matches!(hop.record.role, HopRole::End { .. });
    let wrong = |(place, hop): &(usize, &PlannedHop)| is_end(hop) != (*place == hops.len() - 1);
    let found = hops.iter().enumerate().find(wrong);
    found.map_or(Ok(()), |(place, _)| Err(InvalidHops::Role(place)))
}

/// The slots in random order.
fn random_slots(random: &mut ChaCha20Rng) -> Vec<usize> {
    let mut slots: Vec<usize> = (0..SLOTS).collect();
    slots.sort_by_cached_key(|_| random.next_u64());
    slots
}

impl Pending {
    /// Decodes the answers.
    ///
    /// # Errors
    /// A hop has refused, or an answer was altered.
    pub fn finish(&self, bytes: &SetUp) -> Result<Granted, PathFailure> {
        // The hop that sent the set-up back is unknown: the answers are valid for one position only.
        let mut failed = 0;
        for turn in (0..self.hops.len()).rev() {
            match self.answers(turn, bytes) {
                Ok(answers) => return collect_grants(&answers, self.hops.len()),
                Err(place) => failed = failed.max(place),
            }
        }
        Err(PathFailure::Broken(failed))
    }

    /// The answers of the hops up to `turn`, if that hop sent the set-up back; otherwise the position of the
    /// first invalid answer.
    fn answers(&self, turn: usize, bytes: &SetUp) -> Result<Vec<HopReply>, usize> {
        let mut body = *self.sent;
        for (slot, keys) in &self.hops[..=turn] {
            pass(&mut body, *slot, &keys.layer, 0);
        }
        // The expected content of each hop's slot when the set-up comes back.
        let mut before = Vec::new();
        for (slot, keys) in self.hops[..=turn].iter().rev() {
            before.push(body[range(&body, *slot)].to_vec());
            stream(&keys.back, 0, &mut body);
        }
        let mut body = *bytes;
        let mut answers = Vec::new();
        for (place, (slot, keys)) in self.hops[..=turn].iter().enumerate() {
            let own = range(&body, *slot);
            let sealed = body[own.clone()].to_vec();
            stream(&keys.back, 0, &mut body);
            body[own].copy_from_slice(&before[turn - place]);
            let plain = unseal(&keys.reply, 0, &sealed, &body).ok_or(place)?;
            answers.push(HopReply::from_bytes(&plain).ok_or(place)?);
        }
        Ok(answers)
    }

    /// The keys for changes, once the path is established.
    pub fn changes(&self) -> HopChanges {
        HopChanges::new(&self.hops, self.noise)
    }
}

/// Evaluates the `answers` of a path with `hops` hops.
fn collect_grants(answers: &[HopReply], hops: usize) -> Result<Granted, PathFailure> {
    let mut grants = Vec::new();
    for (place, answer) in answers.iter().enumerate() {
        match *answer {
            HopReply::Refused(reason) => return Err(PathFailure::Refused(place, reason)),
            HopReply::Relay(grant) if place + 1 < answers.len() => grants.push(grant),
            HopReply::End { grant, inner_key } if place + 1 == hops => {
                grants.push(grant);
                return Ok(Granted { hops: grants, inner_key });
            }
            // The hop accepted a path that it has not forwarded, or answered with the wrong role.
            HopReply::Relay(_) | HopReply::End { .. } => return Err(PathFailure::Broken(place)),
        }
    }
    Err(PathFailure::Broken(answers.len()))
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("hops", &self.hops.len()).finish_non_exhaustive()
    }
}
