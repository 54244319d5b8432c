//! Frames of the control protocol over any async byte stream, for services that serve many peers.

use std::io;
use std::time::Duration;

use octet_control::{Decoder, FrameError, Reply, encode};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The bytes are not a valid frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The timeout for the first byte expired.
    #[error("the connection timed out")]
    Silent,
    /// The timeout for the rest of a frame expired.
    #[error("a frame timed out")]
    Slow,
}

/// Timeouts of reading.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the first byte of a frame; `None` for no timeout.
    pub first: Option<Duration>,
    pub rest: Option<Duration>,
}

pub const FOR_EVER: Patience = Patience { first: None, rest: None };

/// Reads frames from `R`.
pub struct Frames<R> {
    from: R,
    decoder: Decoder,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Accepts frames of at most `limit` bytes.
    pub fn new(from: R, limit: usize) -> Self {
        Self { from, decoder: Decoder::with_limit(limit) }
    }

    /// Accepts frames of at most `limit` bytes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.decoder.set_limit(limit);
    }

    /// The underlying stream; `None` if bytes of it are buffered already.
    pub fn into_inner(self) -> Option<R> {
        self.decoder.is_empty().then_some(self.from)
    }

    /// The payload of the next frame; `None` at the end. It is cancel-safe.
    pub async fn next(&mut self, patience: Patience) -> Result<Option<Vec<u8>>, Broken> {
        if self.decoder.is_empty() {
            match within(patience.first, self.fill()).await {
                None => return Err(Broken::Silent),
                Some(Ok(0)) => return Ok(None),
                Some(filled) => filled.map(drop)?,
            }
        }
        match within(patience.rest, self.whole()).await {
            None => Err(Broken::Slow),
            Some(payload) => payload,
        }
    }

    async fn whole(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        loop {
            if let Some(payload) = self.decoder.next_payload()? {
                return Ok(Some(payload));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let count = match self.from.read(&mut buffer).await {
            // A connection that ends without a TLS close_notify is reported as an error. The frame's length
            // shows whether it is complete.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            read => read?,
        };
        self.decoder.push(&buffer[..count]);
        Ok(count)
    }
}

async fn within<T>(time: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match time {
        Some(time) => timeout(time, future).await.ok(),
        None => Some(future.await),
    }
}

/// Sends `value` as one frame.
pub async fn send(to: &mut (impl AsyncWrite + Unpin), value: &impl Serialize) -> io::Result<()> {
    let mut frame = Vec::new();
    let json = serde_json::to_vec(value)?;
    encode(&json, &mut frame).map_err(io::Error::other)?;
    to.write_all(&frame).await?;
    to.flush().await
}

pub fn reply(payload: &[u8]) -> io::Result<Reply> {
    Ok(serde_json::from_slice(payload)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::ReadBuf;

    /// Some bytes, and then the error of a TLS library for a missing close_notify.
    struct Unannounced(&'static [u8]);

    impl AsyncRead for Unannounced {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let bytes = std::mem::take(&mut self.0);
            if bytes.is_empty() {
                let error = "peer closed connection without sending TLS close_notify: https://…";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)));
            }
            buffer.put_slice(bytes);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn who_goes_without_a_goodbye_has_gone() {
        for bytes in [&b""[..], b"OCT1\0\0\0\x02{}", b"OCT1\0\0\0\x02{"] {
            let mut frames = Frames::new(Unannounced(bytes), 100);
            let whole = bytes.ends_with(b"}");
            let first = frames.next(FOR_EVER).await.unwrap();
            assert_eq!(first.is_some(), whole, "{bytes:?}");
            assert!(frames.next(FOR_EVER).await.unwrap().is_none(), "{bytes:?}");
        }
    }
}
