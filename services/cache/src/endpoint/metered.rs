//! The stream of an answer, on which content is counted and limited.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use iroh::endpoint::{SendStream, VarInt};
use iroh_blobs::util;

use crate::neighbours::{Neighbours, Taker};

/// The error code of an answer that would exceed the limit of what its taker may be given.
pub const OVER_LIMIT: VarInt = VarInt::from_u32(16);

/// Writes an answer of iroh-blobs. It sends content as [`Bytes`], at most 16 KiB at once, and all
/// else, which proves the content, as a slice.
pub struct MeteredStream {
    stream: SendStream,
    neighbours: Arc<Neighbours>,
    taker: Taker,
    /// Content that was written.
    written: u64,
    is_over_limit: bool,
}

impl MeteredStream {
    pub fn new(stream: SendStream, neighbours: Arc<Neighbours>, taker: Taker) -> Self {
        Self { stream, neighbours, taker, written: 0, is_over_limit: false }
    }
}

impl util::SendStream for MeteredStream {
    async fn send_bytes(&mut self, content: Bytes) -> io::Result<()> {
        let (traffic, length) = (&self.neighbours.traffic, content.len() as u64);
        if !traffic.take(self.taker, length, Instant::now()) {
            self.is_over_limit = true;
            return Err(io::Error::other("the limit of what the other node is given"));
        }
        let before = self.written;
        let mut rest = [content];
        let mut rest = &mut rest[..];
        while !rest.is_empty() {
            let left = |rest: &[Bytes]| rest.iter().map(|it| it.len() as u64).sum::<u64>();
            let outcome = self.stream.write_many_chunks(&mut rest).await;
            self.written = before + length - left(rest);
            if let Err(error) = outcome {
                traffic.put_back(self.taker, left(rest));
                return Err(error.into());
            }
        }
        Ok(())
    }

    async fn send(&mut self, proof: &[u8]) -> io::Result<()> {
        Ok(self.stream.write_all(proof).await?)
    }

    async fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Ends the answer early. A reset would discard content that was counted and is still under way,
    /// so an answer that has some ends as if it was whole; the taker finds that the rest is missing,
    /// asks for it, and gets the code.
    fn reset(&mut self, code: VarInt) -> io::Result<()> {
        let is_counted = self.taker != Taker::Board && self.written > 0;
        match (is_counted, self.is_over_limit) {
            (true, _) => self.stream.finish()?,
            (false, true) => self.stream.reset(OVER_LIMIT)?,
            (false, false) => self.stream.reset(code)?,
        }
        Ok(())
    }

    async fn stopped(&mut self) -> io::Result<Option<VarInt>> {
        Ok(self.stream.stopped().await?)
    }

    fn id(&self) -> u64 {
        self.stream.id().index()
    }
}
