//! The source's keys for changes of an established path.

use super::change::HopChange;
use super::keys::{Keys, seal, stream};
use super::slots::wrap;
use super::{CHANGE, COUNTER, HOPS, SLOTS};
use octet_node::bytes::Fields;

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The source's state of an established path.
///
/// Its one encoding: version (1 byte, 1), the number of hops (1), the last counter (8), the noise (32), and for
/// each hop its slot (1), the key of its changes (32), and that of the stream over them (32). It is secret.
pub struct HopChanges {
    hops: Vec<Hop>,
    /// The key of the random bytes in unused slots.
    noise: [u8; 32],
    counter: u64,
}

struct Hop {
    slot: usize,
    change: [u8; 32],
    cover: [u8; 32],
}

impl HopChanges {
    pub(super) fn new(hops: &[(usize, Keys)], noise: [u8; 32]) -> Self {
        let hop = |(slot, keys): &(usize, Keys)| {
            let Keys { change, cover, .. } = keys;
            Hop { slot: *slot, change: *change, cover: *cover }
        };
        Self { hops: hops.iter().map(hop).collect(), noise, counter: 0 }
    }

    /// Encodes a change for all hops. The counter increases, and must be persisted before the change is sent: a
    /// reused counter breaks the encryption.
    pub fn change(&mut self, change: HopChange) -> [u8; CHANGE] {
        self.counter += 1;
        let mut bytes = [0; CHANGE];
        let (counter, body) = bytes.split_at_mut(COUNTER);
        counter.copy_from_slice(&self.counter.to_be_bytes());
        stream(&self.noise, self.counter, body);
        let streams: Vec<_> = self.hops.iter().map(|hop| (hop.slot, &hop.cover)).collect();
        let Ok(()) = wrap(body, &streams, self.counter, |place, slot, body| {
            let key = &self.hops[place].change;
            seal(key, self.counter, change.to_bytes(), (slot, body));
            Ok::<_, std::convert::Infallible>(())
        });
        bytes
    }

    /// The encoding, for the daemon's own file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.hops.len() as u8];
        bytes.extend(self.counter.to_be_bytes());
        bytes.extend(self.noise);
        for Hop { slot, change, cover } in &self.hops {
            bytes.push(*slot as u8);
            bytes.extend(change);
            bytes.extend(cover);
        }
        bytes
    }

    /// Decodes the state; `None` if the version is unknown or a hop is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (version, count) = (fields.u8()?, usize::from(fields.u8()?));
        let (counter, noise) = (fields.u64()?, fields.array()?);
        let mut hops = Vec::new();
        for _ in 0..count {
            let slot = usize::from(fields.u8()?);
            hops.push(Hop { slot, change: fields.array()?, cover: fields.array()? });
        }
        let slots = hops.iter().all(|hop| hop.slot < SLOTS);
        let valid = version == VERSION && (1..=HOPS).contains(&count) && slots;
        (valid && fields.0.is_empty()).then_some(Self { hops, noise, counter })
    }
}

impl std::fmt::Debug for HopChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hops = self.hops.len();
        f.debug_struct("Changes")
            .field("hops", &hops)
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}
