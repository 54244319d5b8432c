//! One client of the single-threaded server.

use std::io;
use std::time::Duration;

use octet_control::file::FileIntake;
use octet_control::{Failure, Request};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::peer::TIMEOUT;
use crate::serve::connection::{ServerConnection, Whole, broken};

/// A client. All its operations are cancel-safe.
pub struct Peer {
    stream: UnixStream,
    connection: ServerConnection,
    patience: Duration,
}

impl Peer {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self::with_patience(stream, TIMEOUT)
    }

    fn with_patience(stream: UnixStream, patience: Duration) -> Self {
        Self { stream, connection: ServerConnection::default(), patience }
    }

    /// The client's next request; `None` at the end of the stream.
    ///
    /// # Errors
    /// The connection broke, or a timeout expired.
    pub(super) async fn next_request(&mut self) -> io::Result<Option<Request>> {
        let mut due = None;
        loop {
            if let Some(request) = self.connection.next_request() {
                return Ok(Some(request));
            }
            let begun = self.connection.is_request_due();
            due = begun.then(|| due.unwrap_or_else(|| Instant::now() + self.patience));
            let is_more = match due {
                Some(due) => timeout_at(due, self.fill()).await??,
                None => self.fill().await?,
            };
            if !is_more {
                return Ok(None);
            }
        }
    }

    /// Reads more of the client's bytes; `false` at the end of the stream.
    async fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            if self.connection.is_finished() {
                return Ok(false);
            }
            self.stream.readable().await?;
            let count = match self.stream.try_read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                // The readiness may be left over from an earlier message.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            self.connection.receive(&buffer[..count]);
            return self.flush().await.map(|()| true);
        }
    }

    /// Waits during a long answer until the client disconnects; other requests are refused meanwhile.
    pub async fn gone(&mut self) {
        while let Ok(Some(request)) = self.next_request().await {
            if self.connection.refuse(&request).is_err() || self.flush().await.is_err() {
                return;
            }
        }
    }

    /// Reads the file of request `id`, of at most `longest` bytes.
    ///
    /// # Errors
    /// It is longer, or does not arrive.
    pub async fn read_file(&mut self, id: u64, longest: u64) -> Result<Vec<u8>, Failure> {
        let mut file = Whole::new(longest);
        loop {
            let (at, length) = file.wants();
            let part = self.read_part(id, at, length).await?;
            if file.take(&part)? {
                return Ok(file.bytes);
            }
        }
    }

    async fn read_part(&mut self, id: u64, at: u64, length: u32) -> Result<Vec<u8>, Failure> {
        let lost = |error: io::Error| broken(&error.to_string());
        let mut intake = FileIntake::default();
        self.connection.want(id, &mut intake, at, length)?;
        loop {
            self.flush().await.map_err(lost)?;
            if let Some(part) = self.connection.next_part(id, &mut intake)? {
                return Ok(part);
            }
            let filled = timeout(self.patience, self.fill()).await.map_err(io::Error::from);
            if !filled.flatten().map_err(lost)? {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Sends one of several items that answer request `id`.
    ///
    /// # Errors
    /// The connection broke, or the client does not read.
    pub async fn item(&mut self, id: u64, item: Value) -> io::Result<()> {
        self.connection.item(id, item)?;
        self.flush().await
    }

    /// Ends the answer to the request `id`.
    ///
    /// # Errors
    /// The connection broke, or the client does not read.
    pub(super) async fn end(&mut self, id: u64, answer: Result<Value, Failure>) -> io::Result<()> {
        self.connection.end(id, answer)?;
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        let Self { stream, connection, patience } = self;
        let write = async {
            while connection.has_pending() {
                stream.writable().await?;
                match stream.try_write(connection.pending()) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => connection.sent(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        timeout(*patience, write).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream as StdStream;

    fn client(said: &[u8]) -> (StdStream, Peer) {
        let (mut ours, theirs) = StdStream::pair().unwrap();
        ours.write_all(said).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let theirs = UnixStream::from_std(theirs).unwrap();
        (ours, Peer::with_patience(theirs, Duration::from_millis(20)))
    }

    /// A client that sends no complete request is disconnected; one with a request stays, and is answered
    /// later.
    #[tokio::test]
    async fn only_who_has_asked_may_be_silent() {
        let mut frame = vec![];
        octet_control::encode(br#"{"id":1,"verb":"status"}"#, &mut frame).unwrap();
        let half = &frame[..frame.len() - 1];
        let (mut stays, mut asked) = client(&frame);
        assert_eq!(asked.next_request().await.unwrap().unwrap().verb, "status");
        let waits = tokio::spawn(async move { asked.next_request().await });
        for said in [&[][..], &frame[..1], half] {
            let (_ours, mut peer) = client(said);
            peer.next_request().await.unwrap_err();
        }
        let (_ours, mut peer) = client(&[&frame, half].concat());
        peer.next_request().await.unwrap().unwrap();
        peer.next_request().await.unwrap_err();
        // This client has waited for longer than the others.
        stays.write_all(&frame).unwrap();
        assert_eq!(waits.await.unwrap().unwrap().unwrap().verb, "status");
    }
}
