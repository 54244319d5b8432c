//! One client of a service that serves all of them with one thread.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use octet_control::{Connection, Failure, FailureCode, Message, Reply, ReplyBody, Request};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long a client may leave an answer unread.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client. Who stops waiting for any of what it does loses nothing.
pub struct Peer {
    stream: UnixStream,
    connection: Connection,
    requests: VecDeque<Request>,
}

impl Peer {
    /// Who is at the other end of `stream`.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, connection: Connection::default(), requests: VecDeque::new() }
    }

    /// What it asks next; `None` once it asks nothing any more.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn next_request(&mut self) -> io::Result<Option<Request>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(request) = self.requests.pop_front() {
                return Ok(Some(request));
            }
            if self.connection.finished() {
                return Ok(None);
            }
            self.stream.readable().await?;
            let count = match self.stream.try_read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => count,
                // Readiness may be what is left of an earlier message.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            for message in self.connection.received(&buffer[..count], true) {
                // Pieces of files are for verbs that ask for them; there is none here.
                let Message::Request(request) = message else { continue };
                self.requests.push_back(request);
            }
            self.flush().await?;
        }
    }

    /// Waits until it is gone, as long as an answer of it goes on; what it asks meanwhile is refused.
    pub async fn gone(&mut self) {
        while let Ok(Some(request)) = self.next_request().await {
            let help = "wait for the end of the answer, or open another connection";
            let message = "this connection is still being answered";
            let busy = Failure::new(FailureCode::Busy, message, help);
            if self.end(request.id, Err(busy)).await.is_err() {
                return;
            }
        }
    }

    /// Answers the request `id` with one item of several.
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
        let Self { stream, connection, .. } = self;
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
        timeout(PATIENCE, write).await?
    }
}
