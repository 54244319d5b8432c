//! A response while its body arrives: in a file, from which all that wait for it read.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::watch;

use super::stored::ResponseHead;
use crate::counters::CacheCounters;
use crate::http::{ByteRange, ResponseBody, read_at};

/// How much is read at once, in bytes.
const PIECE: u64 = 64 << 10;

/// How far a body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyProgress {
    pub written: u64,
    /// `Some(true)`: all of it is there. `Some(false)`: it is cut off.
    pub is_whole: Option<bool>,
}

#[derive(Debug)]
pub struct ComingResponse {
    pub head: ResponseHead,
    /// The length, if it is known.
    pub length: Option<u64>,
    pub file: Arc<File>,
    pub progress: watch::Receiver<BodyProgress>,
}

impl ComingResponse {
    /// The body in `range`, each part as soon as it is there.
    pub fn body(&self, range: ByteRange, counters: Arc<CacheCounters>) -> ResponseBody {
        let (file, progress) = (Arc::clone(&self.file), self.progress.clone());
        ResponseBody::from_stream(unfold(
            (file, progress, range, counters),
            |(file, mut progress, mut range, counters)| async move {
                let read = next(&file, &mut progress, range).await;
                match &read {
                    Ok(bytes) if bytes.is_empty() => return None,
                    Ok(bytes) => {
                        range.start += bytes.len() as u64;
                        counters.http_bytes.add(bytes.len() as u64);
                    }
                    // The client learns of it by the length, or by the missing last chunk.
                    Err(_) => range.start = range.end,
                }
                Some((read, (file, progress, range, counters)))
            },
        ))
    }
}

/// The next part of `range`; empty at its end.
async fn next(
    file: &Arc<File>,
    progress: &mut watch::Receiver<BodyProgress>,
    range: ByteRange,
) -> io::Result<Bytes> {
    if range.start >= range.end {
        return Ok(Bytes::new());
    }
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let is_there = |it: &BodyProgress| it.written > range.start || it.is_whole.is_some();
    let now = *progress.wait_for(is_there).await.map_err(|_| cut())?;
    if now.written <= range.start {
        return if now.is_whole == Some(true) { Ok(Bytes::new()) } else { Err(cut()) };
    }
    let end = now.written.min(range.end).min(range.start + PIECE);
    read_at(Arc::clone(file), range.start, end).await
}

/// All `size` bytes of a file, in parts.
pub fn parts(file: Arc<File>, size: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    unfold(0, move |at| {
        let file = Arc::clone(&file);
        async move {
            if at >= size {
                return None;
            }
            let read = read_at(file, at, size.min(at + PIECE)).await;
            let next = read.as_ref().map_or(size, |bytes| at + bytes.len() as u64);
            Some((read, next))
        }
    })
}

/// A part of what may arrive from one origin at the same time.
#[derive(Debug)]
pub struct ArrivingShare {
    pub total: Arc<AtomicU64>,
    pub most: u64,
    taken: u64,
}

impl ArrivingShare {
    pub fn new(total: Arc<AtomicU64>, most: u64) -> Self {
        Self { total, most, taken: 0 }
    }

    /// Takes up to `bytes` in all. Returns whether there is room for them.
    pub fn take(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.taken);
        let add = |now: u64| now.checked_add(more).filter(|sum| *sum <= self.most);
        let has_room = self.total.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok();
        if has_room {
            self.taken += more;
        }
        has_room
    }
}

impl Drop for ArrivingShare {
    fn drop(&mut self) {
        self.total.fetch_sub(self.taken, Ordering::AcqRel);
    }
}
