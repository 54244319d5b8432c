//! What is in flight of a file: the parts that a unit has requested and not received yet, and what a
//! relay between client and unit holds of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{ChunkBytes, MAX_RELAYED, MAX_WANT, MAX_WANTS, Want};
use crate::frame::encode;
use crate::message::{ClientMessage, Failure, FailureCode, FilePiece, PieceBody};

/// The requested parts that were not received yet, in the order in which they must arrive.
#[derive(Debug, Default)]
pub struct InFlight {
    /// The first one begins at the offset of the next chunk.
    wants: VecDeque<Want>,
}

impl InFlight {
    /// The number of unanswered wants.
    pub fn count(&self) -> usize {
        self.wants.len()
    }

    /// Adds a want of the unit.
    pub fn add(&mut self, want: Want) -> Result<(), Failure> {
        let is_part = (1..=MAX_WANT).contains(&want.length)
            && want.at.checked_add(want.length.into()).is_some();
        if !is_part || self.wants.len() >= MAX_WANTS {
            let message = "the unit asks for more of the file than may be in flight";
            return Err(Failure::new(FailureCode::Failed, message, "report it: the unit is wrong"));
        }
        self.wants.push_back(want);
        Ok(())
    }

    /// Handles a chunk of the client. Returns whether it completes its part: the part is whole, or
    /// the file ends here.
    ///
    /// # Errors
    /// It is not the chunk that has to come next.
    pub fn take(&mut self, chunk: &ChunkBytes) -> Result<bool, Failure> {
        let Some(want) = self.wants.front_mut() else {
            return Err(invalid_chunk("a part of the file came that was not asked for".to_owned()));
        };
        if chunk.at != want.at {
            let (came, next) = (chunk.at, want.at);
            return Err(invalid_chunk(format!(
                "byte {came} of the file came where byte {next} was next"
            )));
        }
        // A chunk is never that long.
        let count = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
        if count > want.length {
            return Err(invalid_chunk("more of the file came than was asked for".to_owned()));
        }
        want.at += u64::from(count);
        want.length -= count;
        let is_complete = count == 0 || want.length == 0;
        if is_complete {
            self.wants.pop_front();
        }
        Ok(is_complete)
    }

    /// The client cannot continue: no further chunks come.
    pub fn end(&mut self) -> Result<(), Failure> {
        if self.wants.is_empty() {
            return Err(invalid_chunk("the end of a file came that was not asked for".to_owned()));
        }
        self.wants.clear();
        Ok(())
    }
}

fn invalid_chunk(message: String) -> Failure {
    let help = "answer each `want` in its order, with as many bytes from its offset on as it says";
    Failure::new(FailureCode::BadRequest, message, help)
}

/// The unit's side of a file: assembles parts from the chunks that it has requested.
#[derive(Debug, Default)]
pub struct FileIntake {
    in_flight: InFlight,
    bytes: Vec<u8>,
}

impl FileIntake {
    /// Makes the want for the `length` bytes at `at`, limited to [`MAX_WANT`].
    ///
    /// # Errors
    /// Too much is in flight already.
    pub fn want(&mut self, at: u64, length: u32) -> Result<Want, Failure> {
        let want = Want { at, length: length.clamp(1, MAX_WANT) };
        self.in_flight.add(want).map(|()| want)
    }

    /// The number of unanswered wants.
    pub fn in_flight(&self) -> usize {
        self.in_flight.count()
    }

    /// Handles one chunk. Returns the part once it is complete; a part that is shorter than
    /// requested is the end of the file.
    ///
    /// # Errors
    /// The client sends something else than was requested.
    pub fn take(&mut self, chunk: &ChunkBytes) -> Result<Option<Vec<u8>>, Failure> {
        let is_complete = self.in_flight.take(chunk)?;
        self.bytes.extend_from_slice(chunk.bytes());
        Ok(is_complete.then(|| std::mem::take(&mut self.bytes)))
    }
}

/// The buffer of a relay for the file of one request: what the unit has requested, and does not
/// read yet.
///
/// Since the relay sees the wants too, it accepts no more than the unit has requested. All files of
/// a relay share a limit, so that no number of units and clients needs more memory than
/// [`MAX_RELAYED`].
#[derive(Debug)]
pub struct Relayed {
    in_flight: InFlight,
    /// Frames for the unit, and the number of bytes of the first one that were sent.
    frames: VecDeque<Vec<u8>>,
    sent: usize,
    /// Bytes of these frames, and of those of all requests of the relay.
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl Relayed {
    /// A buffer whose bytes are counted in `held`.
    pub fn new(held: &Arc<AtomicUsize>) -> Self {
        let (in_flight, frames) = (InFlight::default(), VecDeque::new());
        Self { in_flight, frames, sent: 0, bytes: 0, total: Arc::clone(held) }
    }

    /// Records a want of the unit.
    pub fn want(&mut self, want: Want) -> Result<(), Failure> {
        self.in_flight.add(want)
    }

    /// Buffers a piece for the unit.
    ///
    /// # Errors
    /// The unit has not requested it, or there is no room.
    pub fn take(&mut self, piece: FilePiece) -> Result<(), Failure> {
        match &piece.body {
            PieceBody::Chunk(chunk) => self.in_flight.take(chunk).map(drop)?,
            PieceBody::Broken(_) => self.in_flight.end()?,
        }
        let mut frame = Vec::new();
        let json = serde_json::to_vec(&ClientMessage::Piece(piece)).unwrap_or_default();
        // A piece that was received as a frame fits a frame.
        let _ = encode(&json, &mut frame);
        let held = self.total.fetch_add(frame.len(), Ordering::Relaxed) + frame.len();
        self.bytes += frame.len();
        self.frames.push_back(frame);
        // Many chunks that are much shorter than possible need more room than what was requested.
        if self.bytes > MAX_RELAYED / 2 || held > MAX_RELAYED {
            let message = "too much of files waits here for units that do not read it";
            return Err(Failure::new(FailureCode::Busy, message, "send it again later"));
        }
        Ok(())
    }

    /// The next bytes for the unit, if any are buffered.
    pub fn pending(&self) -> Option<&[u8]> {
        self.frames.front().map(|frame| &frame[self.sent..])
    }

    /// Removes the first `count` bytes, which were sent.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.pending().is_some_and(<[u8]>::is_empty)
            && let Some(frame) = self.frames.pop_front()
        {
            self.total.fetch_sub(frame.len(), Ordering::Relaxed);
            self.bytes -= frame.len();
            self.sent = 0;
        }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
