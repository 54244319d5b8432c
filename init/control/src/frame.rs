//! Frames: the bytes `OCT1`, the payload's length (32 bits, big-endian), the payload.
//!
//! On a socket a broken frame ends the connection. A serial port cannot be closed, so there the
//! decoder searches for the next `OCT1` and continues: a half-sent frame of a client that went away
//! costs at most that frame.

/// The first bytes of every frame.
const MAGIC: [u8; 4] = *b"OCT1";

pub const HEADER: usize = 8;

/// Maximum payload size in bytes.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// Buffer size in bytes that an empty decoder keeps: most frames are small.
const RETAINED_CAPACITY: usize = 16 << 10;

/// Bytes that are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame does not start with `OCT1`.
    #[error("the frame does not start with OCT1")]
    Magic,
    /// The frame exceeds this side's limit.
    #[error("the frame carries {0} bytes, more than the {1} that are allowed")]
    TooLong(u32, usize),
}

/// Appends `payload` to `out` as one frame.
///
/// # Errors
/// The payload is longer than [`MAX_PAYLOAD`]; nothing is appended.
pub fn encode(payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if payload.len() > MAX_PAYLOAD {
        return Err(FrameError::TooLong(length, MAX_PAYLOAD));
    }
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// Decodes frames from a stream of bytes. It buffers at most one frame and the bytes of the last
/// push.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    limit: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(MAX_PAYLOAD)
    }
}

impl Decoder {
    /// A decoder for payloads of at most `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { buffer: Vec::new(), limit: limit.min(MAX_PAYLOAD) }
    }

    /// Sets the maximum payload size in bytes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(MAX_PAYLOAD);
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether no frame has begun.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next complete payload, if there is one.
    ///
    /// # Errors
    /// The next bytes are not a frame. On a stream that can be closed, close it; otherwise call
    /// [`resynchronise`](Self::resynchronise) and try again.
    pub fn next_payload(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let start = &self.buffer[..self.buffer.len().min(MAGIC.len())];
        if !MAGIC.starts_with(start) {
            return Err(FrameError::Magic);
        }
        let Some(length) = self.buffer.get(MAGIC.len()..HEADER) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let end = HEADER + length as usize;
        if end > HEADER + self.limit {
            return Err(FrameError::TooLong(length, self.limit));
        }
        if self.buffer.len() < end {
            return Ok(None);
        }
        let payload = self.buffer[HEADER..end].to_vec();
        self.buffer.drain(..end);
        if self.buffer.is_empty() && self.buffer.capacity() > RETAINED_CAPACITY {
            self.buffer = Vec::new();
        }
        Ok(Some(payload))
    }

    /// Drops bytes up to the next possible start of a frame.
    pub fn resynchronise(&mut self) {
        let next = (1..self.buffer.len())
            .find(|&at| {
                let rest = &self.buffer[at..];
                MAGIC.starts_with(&rest[..rest.len().min(MAGIC.len())])
            })
            .unwrap_or(self.buffer.len());
        self.buffer.drain(..next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_too_long() {
        let mut out = Vec::new();
        assert!(encode(&vec![0; MAX_PAYLOAD], &mut out).is_ok());
        let before = out.len();
        assert!(encode(&vec![0; MAX_PAYLOAD + 1], &mut out).is_err());
        assert_eq!(out.len(), before);

        let mut decoder = Decoder::default();
        decoder.push(b"OCT1\x00\x10\x00\x01");
        assert_eq!(decoder.next_payload(), Err(FrameError::TooLong(0x0010_0001, MAX_PAYLOAD)));
    }

    proptest! {
        /// However the bytes are split, the payloads are decoded in order.
        #[test]
        fn pieces_do_not_matter(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..5),
            piece in 1usize..20,
        ) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                encode(payload, &mut bytes).unwrap();
            }
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for chunk in bytes.chunks(piece) {
                decoder.push(chunk);
                while let Some(payload) = decoder.next_payload().unwrap() {
                    got.push(payload);
                }
            }
            prop_assert_eq!(got, payloads);
        }

        /// Garbage before a frame never hides all later frames, and never causes a panic. The
        /// garbage may itself look like a frame; the client then sends again.
        #[test]
        fn finds_a_frame_after_garbage(garbage in "[^O]{0,40}") {
            let mut decoder = Decoder::default();
            decoder.push(garbage.as_bytes());
            let mut frame = Vec::new();
            encode(b"hello", &mut frame).unwrap();
            decoder.push(&frame);
            let mut got = None;
            for _ in 0..=garbage.len() {
                match decoder.next_payload() {
                    Ok(payload) => { got = payload; break }
                    Err(_) => decoder.resynchronise(),
                }
            }
            prop_assert_eq!(got.as_deref(), Some(&b"hello"[..]));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            for _ in 0..=bytes.len() {
                match decoder.next_payload() {
                    Ok(None) => break,
                    Ok(Some(_)) => {}
                    Err(_) => decoder.resynchronise(),
                }
            }
        }
    }
}
