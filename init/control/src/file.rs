//! Files as arguments: the called unit requests the parts of the file that it wants, and only then
//! the client sends them, in that order.
//!
//! Several wants may be in flight, so that a long route does not cost a round trip for each. Their
//! number is limited ([`MAX_WANTS`]), and so is the data that any relay has to buffer: a unit
//! without room does not request data, and one that has a part already never does.

#[cfg(feature = "cli")]
mod archive;
mod in_flight;
mod local;

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use in_flight::{FileIntake, InFlight, Relayed};
pub use local::{ForwardOnly, LocalFile};

/// Maximum size of a chunk in bytes: as base64 it fits a request's frame.
pub const MAX_CHUNK: usize = 8 << 10;

/// Maximum size of a want in bytes.
pub const MAX_WANT: u32 = 64 << 10;

/// Maximum number of wants of one request in flight. With [`MAX_WANT`] that makes 2 MiB: at a
/// round-trip time of 50 ms at most 40 MB/s.
pub const MAX_WANTS: usize = 32;

/// Maximum size of the frames that a relay buffers for the files of all requests, in bytes: as much
/// as two requests may have in flight, in base64.
pub const MAX_RELAYED: usize = 6 << 20;

/// The argument that carries the file's name, for units that report errors with their position in
/// the file.
pub const FILE_NAME: &str = "called";

/// The flag that says that the file is a tar archive of a folder, for verbs that take one.
pub const FOLDER: &str = "folder";

/// Describes a file among the arguments of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileArg {
    /// Its size in bytes, if the client knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its SHA-256 digest in hexadecimal, if the call is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The part of the file that a unit requests next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Want {
    /// Its offset in bytes. A client that reads a pipe can only go forward.
    pub at: u64,
    /// Its length, 1 to [`MAX_WANT`] bytes.
    pub length: u32,
}

/// Bytes of a file, at most [`MAX_CHUNK`]; empty at the end of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkBytes {
    /// Their offset in the file. It follows from the wants, and verifies that both sides agree.
    pub at: u64,
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    bytes: Vec<u8>,
}

/// Invalid chunk data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk is base64 with padding, of at most {MAX_CHUNK} bytes")]
pub struct InvalidChunk;

impl ChunkBytes {
    /// The bytes at the offset `at`.
    pub fn new(at: u64, bytes: Vec<u8>) -> Result<Self, InvalidChunk> {
        if bytes.len() > MAX_CHUNK { Err(InvalidChunk) } else { Ok(Self { at, bytes }) }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let bytes = STANDARD.decode(String::deserialize(from)?).ok();
    let bytes = bytes.filter(|bytes| bytes.len() <= MAX_CHUNK);
    bytes.ok_or_else(|| serde::de::Error::custom(InvalidChunk))
}

/// The client's side of a file.
pub trait Source {
    /// Its description in the request.
    fn describe(&self) -> FileArg;

    /// Reads at the offset `at`, in bytes, into `buffer`; returns less than fits only at the end of
    /// the file.
    ///
    /// # Errors
    /// It cannot be read, or not at this offset.
    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ClientMessage, FailureCode, FilePiece, PieceBody};
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    fn chunk(at: u64, bytes: &[u8]) -> ChunkBytes {
        ChunkBytes::new(at, bytes.to_vec()).unwrap()
    }

    fn piece(at: u64, bytes: &[u8]) -> FilePiece {
        FilePiece { id: 1, body: PieceBody::Chunk(chunk(at, bytes)) }
    }

    #[test]
    fn a_part_is_complete_or_the_end() {
        let mut intake = FileIntake::default();
        assert_eq!(intake.want(7, 5).unwrap(), Want { at: 7, length: 5 });
        assert_eq!(intake.take(&chunk(7, b"abc")).unwrap(), None);
        assert_eq!(intake.take(&chunk(10, b"de")).unwrap(), Some(b"abcde".to_vec()));
        assert!(intake.take(&chunk(12, b"f")).is_err());
        // Three are in flight when the file ends within the first of them.
        for at in [12, 17, 22] {
            intake.want(at, 5).unwrap();
        }
        assert_eq!(intake.take(&chunk(12, b"fgh")).unwrap(), None);
        assert_eq!(intake.take(&chunk(15, b"")).unwrap(), Some(b"fgh".to_vec()));
        assert_eq!(intake.take(&chunk(17, b"")).unwrap(), Some(vec![]));
        assert_eq!(intake.take(&chunk(22, b"")).unwrap(), Some(vec![]));
        assert_eq!(intake.in_flight(), 0);
        assert_eq!(intake.want(0, u32::MAX).unwrap().length, MAX_WANT);
        assert!(intake.want(u64::MAX, 1).is_err());
    }

    /// Too much data, the wrong offset, and data that was not requested.
    #[test]
    fn what_was_not_asked_for_is_refused() {
        for (bad, why) in [
            (chunk(0, b"abcdef"), "more of the file"),
            (chunk(5, b"fghij"), "byte 5 of the file came where byte 0 was next"),
            (chunk(1, b""), "byte 1 of the file came where byte 0 was next"),
        ] {
            let mut intake = FileIntake::default();
            intake.want(0, 5).unwrap();
            intake.want(5, 5).unwrap();
            let failure = intake.take(&bad).unwrap_err();
            assert!(failure.message.starts_with(why), "{failure}");
        }
        let failure = FileIntake::default().take(&chunk(0, b"")).unwrap_err();
        assert!(failure.message.contains("not asked for"), "{failure}");
        // A part of the second want before the first is complete.
        let mut intake = FileIntake::default();
        intake.want(0, 5).unwrap();
        intake.want(5, 5).unwrap();
        intake.take(&chunk(0, b"abc")).unwrap();
        assert!(intake.take(&chunk(5, b"fg")).is_err());
    }

    #[test]
    fn the_window_is_bounded() {
        let mut in_flight = InFlight::default();
        let want = |at| Want { at, length: MAX_WANT };
        for at in 0..MAX_WANTS as u64 {
            in_flight.add(want(at)).unwrap();
        }
        assert!(in_flight.add(want(0)).is_err());
        in_flight.take(&chunk(0, b"")).unwrap();
        in_flight.add(want(0)).unwrap();
        for length in [0, MAX_WANT + 1] {
            assert!(InFlight::default().add(Want { at: 0, length }).is_err(), "{length}");
        }
    }

    /// A relay buffers what was requested and is not read yet, and not more.
    #[test]
    fn a_relay_holds_what_was_asked_for() {
        let held = Arc::default();
        let mut relayed = Relayed::new(&held);
        assert!(relayed.take(piece(0, b"")).is_err());
        let full = vec![7; MAX_CHUNK];
        let window = MAX_WANTS as u64 * u64::from(MAX_WANT);
        let fill = |relayed: &mut Relayed| {
            for at in (0..window).step_by(MAX_WANT as usize) {
                relayed.want(Want { at, length: MAX_WANT }).unwrap();
            }
            for at in (0..window).step_by(MAX_CHUNK) {
                relayed.take(piece(at, &full)).unwrap();
            }
        };
        fill(&mut relayed);
        assert!(relayed.take(piece(window, &full)).unwrap_err().message.contains("not asked for"));
        // There is room for everything that two requests may have in flight. A third waits for
        // room.
        let mut second = Relayed::new(&held);
        fill(&mut second);
        let mut third = Relayed::new(&held);
        third.want(Want { at: 0, length: MAX_WANT }).unwrap();
        let refused = (0..u64::from(MAX_WANT)).map(|at| third.take(piece(at, b"x")));
        assert_eq!(refused.last().unwrap().unwrap_err().code, FailureCode::Busy);
        drop((second, third));

        let (mut decoder, mut next) = (crate::frame::Decoder::default(), 0);
        while let Some(pending) = relayed.pending() {
            // A socket accepts bytes regardless of frames.
            let count = pending.len().min(3000);
            decoder.push(&pending[..count]);
            relayed.sent(count);
            while let Some(payload) = decoder.next_payload().unwrap() {
                let message: ClientMessage = serde_json::from_slice(&payload).unwrap();
                assert_eq!(message, ClientMessage::Piece(piece(next, &full)));
                next += MAX_CHUNK as u64;
            }
        }
        assert_eq!((next, held.load(Ordering::Relaxed)), (window, 0));
    }

    /// Chunks of one byte need much more room than their data: only a limited number is buffered.
    #[test]
    fn a_relay_holds_few_short_chunks() {
        let held = Arc::default();
        let mut relayed = Relayed::new(&held);
        for at in (0..).step_by(MAX_WANT as usize).take(MAX_WANTS) {
            relayed.want(Want { at, length: MAX_WANT }).unwrap();
        }
        let taken = (0..).take_while(|&at| relayed.take(piece(at, b"x")).is_ok()).count();
        assert!(taken > 0 && held.load(Ordering::Relaxed) <= MAX_RELAYED / 2 + 100);
        // There is room for another request meanwhile.
        let mut other = Relayed::new(&held);
        other.want(Want { at: 0, length: 1 }).unwrap();
        other.take(piece(0, b"x")).unwrap();
        drop((relayed, other));
        assert_eq!(held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_cannot_go_on_says_so_once() {
        let mut relayed = Relayed::new(&Arc::default());
        let broken = FilePiece { id: 1, body: PieceBody::Broken("the disk".to_owned()) };
        assert!(relayed.take(broken.clone()).is_err());
        for at in [0, 9] {
            relayed.want(Want { at, length: 9 }).unwrap();
        }
        relayed.take(broken.clone()).unwrap();
        assert!(relayed.take(broken).is_err());
        assert!(relayed.take(piece(0, b"x")).is_err());
    }

    proptest! {
        #[test]
        fn chunks_come_out_as_they_went_in(bytes in prop::collection::vec(any::<u8>(), 0..=MAX_CHUNK), at: u64) {
            let json = serde_json::to_string(&chunk(at, &bytes)).unwrap();
            prop_assert_eq!(serde_json::from_str::<ChunkBytes>(&json).unwrap(), chunk(at, &bytes));
        }

        #[test]
        fn never_panics(text in "\\PC*", at: u64, length: u32, chunk_at: u64) {
            let _ = serde_json::from_str::<ChunkBytes>(&text);
            let mut intake = FileIntake::default();
            let _ = intake.want(at, length);
            let _ = intake.take(&chunk(chunk_at, text.as_bytes()));
        }

        /// Whatever a client sends, a unit receives the file from the first want on, without a gap.
        #[test]
        fn only_what_is_next_is_taken(
            lengths in prop::collection::vec(1u32..20, 1..5),
            chunks in prop::collection::vec((0u64..80, 0usize..20), 0..20),
        ) {
            let mut intake = FileIntake::default();
            let mut end = 0;
            for length in lengths {
                intake.want(end, length).unwrap();
                end += u64::from(length);
            }
            let file: Vec<u8> = (0..100).collect();
            let (mut parts, mut has_ended) = (vec![], false);
            for (at, count) in chunks {
                let bytes = &file[at as usize..at as usize + count];
                let Ok(part) = intake.take(&chunk(at, bytes)) else { continue };
                has_ended |= count == 0;
                parts.extend(part.filter(|_| !has_ended).unwrap_or_default());
            }
            prop_assert!(parts.len() as u64 <= end && file.starts_with(&parts));
        }
    }

    #[test]
    fn a_chunk_is_bounded() {
        let read = |bytes: &str| {
            let json = serde_json::json!({ "at": 0, "bytes": bytes });
            serde_json::from_value::<ChunkBytes>(json)
        };
        assert!(read(&STANDARD.encode(vec![0; MAX_CHUNK])).is_ok());
        assert!(read(&STANDARD.encode(vec![0; MAX_CHUNK + 1])).is_err());
        assert!(ChunkBytes::new(0, vec![0; MAX_CHUNK + 1]).is_err());
        for bad in ["=", "a", "YQ", "YQ==\n", "Y Q=="] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
