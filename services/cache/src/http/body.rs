//! Response bodies: ranges of an object, and multipart delimiters.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::unfold;
use octet_node::key::random;
use octet_node::say;
use rustix::fs::{Advice, FsWord, fadvise, fstatfs};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};
use tokio::task::spawn_blocking;

use super::connection::{FilePart, FileQueue, MAX_PART};
use super::range::ByteRange;
use super::response::ResponseBody;
use crate::counters::CacheCounters;
use crate::objects::{ObjectContent, ObjectFile};

/// The distance in bytes at which pages are looked for: what the kernel reads ahead by default.
const READ_AHEAD: usize = 128 << 10;

/// How much is copied at once where no file can be sent, in bytes.
const COPIED: u64 = 64 << 10;

/// The type of a file system in memory (statfs(2)).
const TMPFS: FsWord = 0x0102_1994;

enum Part {
    Text(String),
    Bytes(ByteRange),
}

pub struct BodyParts {
    parts: Vec<Part>,
    /// The content type of a multipart body, with its boundary.
    pub kind: Option<String>,
}

impl BodyParts {
    /// A single range, which may be empty.
    pub fn one(span: ByteRange) -> Self {
        Self { parts: vec![Part::Bytes(span)], kind: None }
    }

    /// Several ranges of an object of `size` and `kind` (RFC 9110, section 14.6).
    ///
    /// # Errors
    /// The kernel provides no random bytes.
    pub fn several(spans: &[ByteRange], size: u64, kind: &str) -> io::Result<Self> {
        // The boundary must be unpredictable for the author of an object.
        let random = random::<16>().map_err(io::Error::other)?;
        let boundary: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut parts = vec![];
        for span in spans {
            parts.push(Part::Text(format!(
                "\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
                span.start,
                span.end - 1
            )));
            parts.push(Part::Bytes(*span));
        }
        parts.push(Part::Text(format!("\r\n--{boundary}--\r\n")));
        Ok(Self { parts, kind: Some(format!("multipart/byteranges; boundary={boundary}")) })
    }

    /// The length in bytes.
    pub fn length(&self) -> u64 {
        let length = |part: &Part| match part {
            Part::Text(text) => text.len() as u64,
            Part::Bytes(span) => span.length(),
        };
        self.parts.iter().map(length).sum()
    }

    /// The range, if there is only one.
    pub fn single(&self) -> Option<ByteRange> {
        match self.parts[..] {
            [Part::Bytes(span)] => Some(span),
            _ => None,
        }
    }

    /// Streams `content`, what is in a file by `files` if the connection has them, and counts the sent bytes.
    pub fn body(
        self,
        content: ObjectContent,
        files: Option<FileQueue>,
        counters: Arc<CacheCounters>,
    ) -> ResponseBody {
        if let (ObjectContent::Memory(bytes), [Part::Bytes(span)]) = (&content, &self.parts[..]) {
            counters.http_bytes.add(span.length());
            return ResponseBody::Bytes(bytes.slice(span.start as usize..span.end as usize));
        }
        let most = if files.is_some() { MAX_PART } else { COPIED };
        let mut rest = self.parts;
        rest.reverse();
        ResponseBody::from_stream(unfold(
            (content, rest, files, counters),
            move |(content, mut rest, files, counters)| async move {
                let read = match rest.pop()? {
                    Part::Text(text) => Ok(text.into()),
                    Part::Bytes(span) => match ready(&content, span, most).await {
                        Ok(next) => {
                            if next < span.end {
                                rest.push(Part::Bytes(ByteRange { start: next, end: span.end }));
                            }
                            let span = ByteRange { start: span.start, end: next };
                            read(&content, span, files.as_ref()).await
                        }
                        Err(error) => Err(error),
                    },
                };
                match &read {
                    Ok(bytes) => counters.http_bytes.add(bytes.len() as u64),
                    // The client detects the truncation by the announced length.
                    Err(error) => {
                        say!("an object cannot be read to its end: {error}");
                        rest.clear();
                    }
                }
                Some((read, (content, rest, files, counters)))
            },
        ))
    }
}

/// The end of the readable part of `span`, of at most so many bytes, once its first byte is here.
async fn ready(content: &ObjectContent, span: ByteRange, most: u64) -> io::Result<u64> {
    let most = span.end.min(span.start + most);
    match content {
        ObjectContent::Fetching(coming) => Ok(coming.wait_for(span.start).await?.min(most)),
        // What is verified here is copied.
        ObjectContent::File(file) if file.verified().is_none() => Ok(most.min(span.start + COPIED)),
        ObjectContent::Memory(_) | ObjectContent::File(_) => Ok(most),
    }
}

async fn read(
    content: &ObjectContent,
    span: ByteRange,
    files: Option<&FileQueue>,
) -> io::Result<Bytes> {
    if span.length() == 0 {
        return Ok(Bytes::new());
    }
    let file = match content {
        ObjectContent::Memory(bytes) => {
            return Ok(bytes.slice(span.start as usize..span.end as usize));
        }
        ObjectContent::File(file) => match file.verified() {
            Some(verified) => {
                return send(Arc::clone(verified), Some(file), span, files).await;
            }
            None => {
                let file = file.clone();
                let read = spawn_blocking(move || file.read(span.start..span.end));
                return read.await.map_err(io::Error::other)?;
            }
        },
        ObjectContent::Fetching(coming) => coming.file().await?,
    };
    send(file, None, span, files).await
}

/// Sends a range of a file, of which an object may be told that it could not be read.
async fn send(
    file: Arc<File>,
    of: Option<&ObjectFile>,
    span: ByteRange,
    files: Option<&FileQueue>,
) -> io::Result<Bytes> {
    let doubt = |_: &io::Error| of.into_iter().for_each(ObjectFile::doubt);
    let Some(files) = files else {
        return read_at(file, span.start, span.end).await.inspect_err(doubt);
    };
    // Otherwise sendfile(2) would wait for the disk, and with it all connections of this thread.
    if !is_loaded(&file, span)? {
        let file = Arc::clone(&file);
        let loaded = spawn_blocking(move || load(&file, span)).await.map_err(io::Error::other)?;
        loaded.inspect_err(doubt)?;
    }
    Ok(files.push(FilePart::new(file, of.cloned(), span)))
}

/// The bytes of a file from `start` to `end`, or fewer if it ends before.
pub(crate) async fn read_at(file: Arc<File>, start: u64, end: u64) -> io::Result<Bytes> {
    let read = move || {
        let mut bytes = vec![0; (end - start) as usize];
        let count = pread(&*file, &mut bytes, start)?;
        bytes.truncate(count);
        if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes.into()) }
    };
    spawn_blocking(read).await.map_err(io::Error::other)?
}

/// Whether the range seems to be in the page cache.
fn is_loaded(file: &File, span: ByteRange) -> io::Result<bool> {
    for at in places(span) {
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        match preadv2(file, &mut bytes, at, ReadWriteFlags::NOWAIT) {
            Ok(1) => {}
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            // Some file systems do not support the flag, among them the one that is in memory.
            Err(Errno::OPNOTSUPP) => return Ok(fstatfs(file)?.f_type == TMPFS),
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Waits until the range is in the page cache, and has the kernel begin with what follows.
fn load(file: &File, span: ByteRange) -> io::Result<()> {
    let ahead = NonZeroU64::new(span.length() + MAX_PART);
    // It is advice only.
    let _ = fadvise(file, span.start, ahead, Advice::WillNeed);
    for at in places(span) {
        if pread(file, &mut [0; 1], at)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Where the range is looked at: at each [`READ_AHEAD`] bytes, and at its end.
fn places(span: ByteRange) -> impl Iterator<Item = u64> {
    (span.start..span.end).step_by(READ_AHEAD).chain([span.end.saturating_sub(1)])
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    /// Nobody waits for what a file system has in memory.
    #[test]
    fn a_file_in_memory_is_loaded() {
        let file = File::from(memfd_create("loaded", MemfdFlags::empty()).unwrap());
        file.set_len(1 << 20).unwrap();
        assert_eq!(fstatfs(&file).unwrap().f_type, TMPFS);
        assert!(is_loaded(&file, ByteRange { start: 0, end: 1 << 20 }).unwrap());
    }
}
