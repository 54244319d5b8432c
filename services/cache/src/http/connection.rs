//! Sends bytes of files from the page cache to the socket, by sendfile(2) below hyper: they are never copied into
//! this program.
//!
//! A body yields a slice of [`STAND_IN`], as long as the bytes of the file that belong there, and queues the file.
//! Where hyper writes that slice, the connection sends from the file in its place.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::range::ByteRange;
use crate::objects::ObjectFile;

/// The maximum number of bytes of a file that are queued as one part.
pub const MAX_PART: u64 = 1 << 20;

/// The bytes that stand for those of a file. They are recognised by their address and never read, so the kernel
/// gives no memory to them.
static STAND_IN: LazyLock<Bytes> = LazyLock::new(|| vec![0; MAX_PART as usize].into());

fn is_stand_in(slice: &[u8]) -> bool {
    STAND_IN.as_ptr_range().contains(&slice.as_ptr())
}

#[derive(Debug)]
pub struct FilePart {
    file: Arc<File>,
    /// The object that is to be verified if the file cannot be read.
    of: Option<ObjectFile>,
    offset: u64,
    length: u64,
}

impl FilePart {
    /// A range of at most [`MAX_PART`] bytes.
    pub fn new(file: Arc<File>, of: Option<ObjectFile>, range: ByteRange) -> Self {
        Self { file, of, offset: range.start, length: range.length().min(MAX_PART) }
    }
}

/// The parts of files that a connection is to send, in order.
#[derive(Debug, Clone, Default)]
pub struct FileQueue(Arc<Mutex<VecDeque<FilePart>>>);

impl FileQueue {
    /// Queues a part. Returns what hyper is to write in its place.
    pub fn push(&self, part: FilePart) -> Bytes {
        let length = part.length;
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.push_back(part);
        STAND_IN.slice(..length as usize)
    }
}

/// A connection that sends files where stand-ins are written. hyper must not copy what it writes
/// (`Builder::writev`).
pub struct FileConnection<'a> {
    stream: TokioIo<&'a mut TcpStream>,
    files: FileQueue,
}

impl<'a> FileConnection<'a> {
    pub fn new(stream: &'a mut TcpStream, files: FileQueue) -> Self {
        Self { stream: TokioIo::new(stream), files }
    }

    /// Sends at most `most` bytes of the first part.
    fn send(&self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let mut parts = self.files.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(part) = parts.front_mut() else {
            return Poll::Ready(Err(io::Error::other("no file is queued")));
        };
        let length = most.min(part.length as usize);
        let sent = ready!(write(self.stream.inner(), context, |stream| {
            let mut offset = part.offset;
            let sent = sendfile(stream, &part.file, Some(&mut offset), length);
            if let (Err(Errno::IO), Some(of)) = (&sent, &part.of) {
                of.doubt();
            }
            Ok(sent?)
        }))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        part.offset += sent as u64;
        part.length -= sent as u64;
        if part.length == 0 {
            parts.pop_front();
        }
        Poll::Ready(Ok(sent))
    }
}

/// Sends to the socket as such: writev(2) would have the kernel look at it as a file first.
fn send(stream: &TcpStream, buffers: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
    let mut none = SendAncillaryBuffer::default();
    Ok(sendmsg(stream, buffers, &mut none, flags | SendFlags::NOSIGNAL)?)
}

/// Calls `write` as soon as the socket has room.
fn write(
    stream: &TcpStream,
    context: &mut Context<'_>,
    write: impl Fn(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(context))?;
        match stream.try_io(Interest::WRITABLE, || write(stream)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

impl Read for FileConnection<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for FileConnection<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(buffer)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = buffers.iter().position(|it| !it.is_empty()).unwrap_or(buffers.len());
        let rest = &buffers[first..];
        let is_file = |it: &IoSlice<'_>| !it.is_empty() && is_stand_in(it);
        match rest.iter().position(is_file) {
            Some(0) => self.send(context, rest[0].len()),
            // A file follows at once: the kernel waits for it before it sends a packet that is not full.
            Some(end) => write(self.stream.inner(), context, |stream| {
                send(stream, &rest[..end], SendFlags::MORE)
            }),
            None => {
                write(self.stream.inner(), context, |stream| send(stream, rest, SendFlags::empty()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
