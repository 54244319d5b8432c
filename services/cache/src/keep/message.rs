//! What boards ask each other about kept objects, once a minute: one request and one answer, on a stream of a
//! connection of its own. Both are in postcard's encoding, after a byte with the version.

use iroh_blobs::Hash;
use serde::{Deserialize, Serialize};

/// The ALPN.
pub const ALPN: &[u8] = b"octet-keep/2";

/// The version, the first byte of a message.
const VERSION: u8 = 2;

/// The maximum number of objects in a request: one for each `[[keep]]`.
pub const MAX_OBJECTS: usize = 1024;

/// The maximum number of nodes in an answer: the boards and the router.
const MAX_NODES: usize = 33;

/// The maximum size of a request in bytes: the version, a length of two bytes, and hashes.
pub const LONGEST_REQUEST: usize = 1 + 2 + 32 * MAX_OBJECTS;

/// The maximum size of what is said of an object in bytes: the state, a size, a hash and a set, the latter two after a
/// byte each that says whether they are there.
const LONGEST_REPORT: usize = 1 + (1 + 10) + (1 + 32 + 5);

/// The maximum size of an answer in bytes: the version, two lengths, what is said of each object, and a number and a
/// time for each node.
pub const LONGEST_ANSWER: usize = 1 + 2 + MAX_OBJECTS * LONGEST_REPORT + 1 + MAX_NODES * (1 + 5);

/// Whether a board has an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KeptState {
    #[default]
    Absent,
    /// All of it, but it may be evicted.
    Loose,
    /// All of it, pinned by a `[[keep]]`.
    Kept,
    /// It is not there, because there was no room for it.
    NoRoom,
}

/// What a board has of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeptReport {
    pub state: KeptState,
    /// Its size in bytes, if all of it is there.
    pub size: Option<u64>,
    pub shards: Option<HeldShards>,
}

/// The shards of an object that a board has pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeldShards {
    /// The hash of the manifest.
    pub manifest: [u8; 32],
    /// Bit i stands for shard i.
    pub held: u32,
}

/// Asks what a board has of these objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepRequest {
    objects: Vec<[u8; 32]>,
}

/// What the board has, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepAnswer {
    pub objects: Vec<KeptReport>,
    /// The numbers of the nodes that it has reached, and how many seconds ago.
    pub reached: Vec<(u8, u32)>,
}

impl KeptState {
    pub fn is_here(self) -> bool {
        matches!(self, Self::Loose | Self::Kept)
    }
}

impl KeptReport {
    /// The shards that it has pinned of those of this manifest.
    pub fn held(&self, manifest: &Hash) -> u32 {
        let shards = self.shards.filter(|it| it.manifest == *manifest.as_bytes());
        shards.map_or(0, |it| it.held)
    }
}

impl From<KeptState> for KeptReport {
    fn from(state: KeptState) -> Self {
        Self { state, ..Self::default() }
    }
}

impl KeepRequest {
    /// Asks about at most [`MAX_OBJECTS`].
    pub fn new(objects: &[Hash]) -> Self {
        Self { objects: objects.iter().take(MAX_OBJECTS).map(|hash| *hash.as_bytes()).collect() }
    }

    pub fn objects(&self) -> impl Iterator<Item = Hash> {
        self.objects.iter().map(|bytes| Hash::from_bytes(*bytes))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Parses a request; `None` if it is malformed or too long.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        decode(bytes).filter(|it: &Self| it.objects.len() <= MAX_OBJECTS)
    }
}

impl KeepAnswer {
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Parses an answer about `objects` objects; `None` if it is malformed or about others.
    pub fn from_bytes(bytes: &[u8], objects: usize) -> Option<Self> {
        let is_one = |it: &Self| it.objects.len() == objects && it.reached.len() <= MAX_NODES;
        decode(bytes).filter(is_one)
    }
}

fn encode(message: &impl Serialize) -> Vec<u8> {
    // It fails for types without a length only.
    let body = postcard::to_stdvec(message).unwrap_or_default();
    [&[VERSION][..], &body].concat()
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (version, body) = bytes.split_first()?;
    let (message, rest) = postcard::take_from_bytes(body).ok()?;
    (*version == VERSION && rest.is_empty()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report() -> impl Strategy<Value = KeptReport> {
        let states = [KeptState::Absent, KeptState::Loose, KeptState::Kept, KeptState::NoRoom];
        let shards = any::<([u8; 32], u32)>();
        let shards = shards.prop_map(|(manifest, held)| HeldShards { manifest, held });
        (prop::sample::select(states.to_vec()), any::<Option<u64>>(), prop::option::of(shards))
            .prop_map(|(state, size, shards)| KeptReport { state, size, shards })
    }

    proptest! {
        #[test]
        fn messages_are_read_as_they_were_written(
            objects in prop::collection::vec(any::<[u8; 32]>(), 0..8),
            reports in prop::collection::vec(report(), 0..8),
            reached in prop::collection::vec(any::<(u8, u32)>(), 0..33),
        ) {
            let objects: Vec<_> = objects.into_iter().map(Hash::from_bytes).collect();
            let request = KeepRequest::new(&objects);
            prop_assert_eq!(request.objects().collect::<Vec<_>>(), objects);
            prop_assert_eq!(KeepRequest::from_bytes(&request.to_bytes()), Some(request));
            let (count, answer) = (reports.len(), KeepAnswer { objects: reports, reached });
            prop_assert_eq!(KeepAnswer::from_bytes(&answer.to_bytes(), count + 1), None);
            prop_assert_eq!(KeepAnswer::from_bytes(&answer.to_bytes(), count), Some(answer));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (KeepRequest::from_bytes(&bytes), KeepAnswer::from_bytes(&bytes, 3));
        }
    }

    #[test]
    fn the_longest_messages_are_within_the_limits() {
        let request = KeepRequest::new(&vec![Hash::EMPTY; MAX_OBJECTS + 1]);
        assert_eq!(request.to_bytes().len(), LONGEST_REQUEST);
        let answer = KeepAnswer {
            objects: vec![
                KeptReport {
                    state: KeptState::NoRoom,
                    size: Some(u64::MAX),
                    shards: Some(HeldShards { manifest: [255; 32], held: u32::MAX }),
                };
                MAX_OBJECTS
            ],
            reached: vec![(u8::MAX, u32::MAX); MAX_NODES],
        };
        // The number of a board has one byte.
        assert!(answer.to_bytes().len() <= LONGEST_ANSWER, "{}", answer.to_bytes().len());
        assert!(KeepAnswer::from_bytes(&answer.to_bytes(), MAX_OBJECTS).is_some());
    }
}
