//! One client of the single-threaded server.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use octet_control::file::FileIntake;
use octet_control::{
    ClientMessage, Connection, Failure, FailureCode, FilePiece, PieceBody, Reply, ReplyBody,
    Request,
};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::peer::{TIMEOUT, Whole, broken};

/// A client. All its operations are cancel-safe.
pub struct Peer {
    stream: UnixStream,
    connection: Connection,
    messages: VecDeque<ClientMessage>,
    has_asked: bool,
    patience: Duration,
}

impl Peer {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self::with_patience(stream, TIMEOUT)
    }

    fn with_patience(stream: UnixStream, patience: Duration) -> Self {
        let (connection, messages) = (Connection::default(), VecDeque::new());
        Self { stream, connection, messages, has_asked: false, patience }
    }

    /// The client's next request; `None` at the end of the stream.
    ///
    /// # Errors
    /// The connection broke, or a timeout expired.
    pub(super) async fn next_request(&mut self) -> io::Result<Option<Request>> {
        let mut due = None;
        loop {
            while let Some(message) = self.messages.pop_front() {
                // Other messages are the rest of an abandoned file.
                if let ClientMessage::Request(request) = message {
                    self.has_asked = true;
                    return Ok(Some(request));
                }
            }
            let begun = !self.has_asked || self.connection.is_mid_message();
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
            if self.connection.finished() {
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
            self.messages.extend(self.connection.received(&buffer[..count], true));
            return self.flush().await.map(|()| true);
        }
    }

    /// Waits during a long answer until the client disconnects; other requests are refused meanwhile.
    pub async fn gone(&mut self) {
        while let Ok(Some(request)) = self.next_request().await {
            if self.refuse(&request).await.is_err() {
                return;
            }
        }
    }

    async fn refuse(&mut self, request: &Request) -> io::Result<()> {
        let help = "wait for the end of the answer, or open another connection";
        let message = "this connection is still being answered";
        let busy = Failure::new(FailureCode::Busy, message, help);
        self.end(request.id, Err(busy)).await
    }

    /// Reads the file of request `id`, of at most `longest` bytes.
    ///
    /// # Errors
    /// It is longer, or does not arrive.
    pub async fn read_file(&mut self, id: u64, longest: u64) -> Result<Vec<u8>, Failure> {
        let mut file = Whole::new(longest);
        loop {
            let (at, length) = file.wants();
            let part = self.ask(id, at, length).await;
            let part = part.unwrap_or_else(|error| Err(broken(&error.to_string())))?;
            if file.take(&part)? {
                return Ok(file.bytes);
            }
        }
    }

    async fn ask(&mut self, id: u64, at: u64, length: u32) -> io::Result<Result<Vec<u8>, Failure>> {
        let mut intake = FileIntake::default();
        let want = match intake.want(at, length) {
            Ok(want) => want,
            Err(failure) => return Ok(Err(failure)),
        };
        self.reply(id, ReplyBody::Want(want)).await?;
        loop {
            let Some(message) = self.messages.pop_front() else {
                match timeout(self.patience, self.fill()).await?? {
                    true => continue,
                    false => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            };
            match message {
                ClientMessage::Piece(FilePiece { id: of, body }) if of == id => match body {
                    PieceBody::Chunk(chunk) => match intake.take(&chunk) {
                        Ok(None) => {}
                        Ok(Some(bytes)) => return Ok(Ok(bytes)),
                        Err(failure) => return Ok(Err(failure)),
                    },
                    PieceBody::Broken(why) => return Ok(Err(broken(&why))),
                },
                ClientMessage::Piece(_) => {}
                ClientMessage::Request(request) => self.refuse(&request).await?,
            }
        }
    }

    /// Sends one of several items that answer request `id`.
    ///
    /// # Errors
    /// The connection broke, or the client does not read.
    pub async fn item(&mut self, id: u64, item: Value) -> io::Result<()> {
        self.reply(id, ReplyBody::Item(item)).await
    }

    /// Ends the answer to the request `id`.
    ///
    /// # Errors
    /// The connection broke, or the client does not read.
    pub(super) async fn end(&mut self, id: u64, answer: Result<Value, Failure>) -> io::Result<()> {
        self.reply(id, answer.map_or_else(ReplyBody::Error, ReplyBody::End)).await
    }

    async fn reply(&mut self, id: u64, body: ReplyBody) -> io::Result<()> {
        let given_up = |_| io::Error::other("the client does not read its answers");
        self.connection.reply(&Reply { id, body }).map_err(given_up)?;
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        let Self { stream, connection, patience, .. } = self;
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
