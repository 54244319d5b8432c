//! One client of a service that serves all of them with one thread.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use octet_control::file::Intake;
use octet_control::{
    Connection, Failure, FailureCode, Message, Piece, PieceBody, Reply, ReplyBody, Request,
};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::peer::{Whole, broken};

/// How long a client may leave an answer unread, or keep a file waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client. Who stops waiting for any of what it does loses nothing.
pub struct Peer {
    stream: UnixStream,
    connection: Connection,
    messages: VecDeque<Message>,
}

impl Peer {
    /// Who is at the other end of `stream`.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, connection: Connection::default(), messages: VecDeque::new() }
    }

    /// What it asks next; `None` once it asks nothing any more.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn next_request(&mut self) -> io::Result<Option<Request>> {
        loop {
            match self.next().await? {
                None => return Ok(None),
                Some(Message::Request(request)) => return Ok(Some(request)),
                // The rest of a file that was given up.
                Some(Message::Piece(_)) => {}
            }
        }
    }

    /// What it sends next; `None` once it sends nothing any more.
    async fn next(&mut self) -> io::Result<Option<Message>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Ok(Some(message));
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
            self.messages.extend(self.connection.received(&buffer[..count], true));
            self.flush().await?;
        }
    }

    /// Waits until it is gone, as long as an answer of it goes on; what it asks meanwhile is refused.
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

    /// Reads the file of the request `id`, which may have `longest` bytes.
    ///
    /// # Errors
    /// It is longer, or does not come.
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
        let mut intake = Intake::new(at, length);
        self.reply(id, ReplyBody::Want(intake.want())).await?;
        loop {
            match timeout(PATIENCE, self.next()).await??.ok_or(io::ErrorKind::UnexpectedEof)? {
                Message::Piece(Piece { id: of, body }) if of == id => match body {
                    PieceBody::Chunk(chunk) => match intake.take(&chunk) {
                        Ok(None) => {}
                        Ok(Some(bytes)) => return Ok(Ok(bytes)),
                        Err(failure) => return Ok(Err(failure)),
                    },
                    PieceBody::Broken(why) => return Ok(Err(broken(&why))),
                },
                Message::Piece(_) => {}
                Message::Request(request) => self.refuse(&request).await?,
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
