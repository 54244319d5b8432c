//! Response bodies: ranges of an object, read while they are sent, and multipart delimiters.

use std::fs::File;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::unfold;
use octet_node::key::random;
use octet_node::say;
use rustix::buffer::spare_capacity;
use rustix::io::pread;
use tokio::task::spawn_blocking;

use super::range::ByteRange;
use crate::counters::CacheCounters;
use crate::objects::ObjectContent;

/// The read size in bytes: the only buffer of a connection.
const PIECE: u64 = 256 << 10;

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

    /// Streams `content`, and counts the sent bytes.
    pub fn body(self, content: ObjectContent, counters: Arc<CacheCounters>) -> Body {
        if let (ObjectContent::Memory(bytes), [Part::Bytes(span)]) = (&content, &self.parts[..]) {
            counters.http_bytes.add(span.length());
            return Body::from(bytes.slice(span.start as usize..span.end as usize));
        }
        let mut rest = self.parts;
        rest.reverse();
        Body::from_stream(unfold(
            (content, rest, counters),
            |(content, mut rest, counters)| async move {
                let read = match rest.pop()? {
                    Part::Text(text) => Ok(text.into()),
                    Part::Bytes(span) => match ready(&content, span).await {
                        Ok(next) => {
                            if next < span.end {
                                rest.push(Part::Bytes(ByteRange { start: next, end: span.end }));
                            }
                            read(&content, ByteRange { start: span.start, end: next }).await
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
                Some((read, (content, rest, counters)))
            },
        ))
    }
}

/// The end of the readable part of `span`, once its first byte is here.
async fn ready(content: &ObjectContent, span: ByteRange) -> io::Result<u64> {
    let most = span.end.min(span.start + PIECE);
    match content {
        ObjectContent::Fetching(coming) => Ok(coming.wait_for(span.start).await?.min(most)),
        ObjectContent::Memory(_) | ObjectContent::File(_) => Ok(most),
    }
}

async fn read(content: &ObjectContent, span: ByteRange) -> io::Result<Bytes> {
    let file = match content {
        ObjectContent::Memory(bytes) => {
            return Ok(bytes.slice(span.start as usize..span.end as usize));
        }
        ObjectContent::File(file) => Arc::clone(file),
        ObjectContent::Fetching(coming) => coming.file().await?,
    };
    spawn_blocking(move || read_file(&file, span)).await.map_err(io::Error::other)?
}

fn read_file(file: &File, span: ByteRange) -> io::Result<Bytes> {
    let length = span.length() as usize;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = span.start + bytes.len() as u64;
        if pread(file, spare_capacity(&mut bytes), at)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    // More bytes may have been read.
    bytes.truncate(length);
    Ok(bytes.into())
}
