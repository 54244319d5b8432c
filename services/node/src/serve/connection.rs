//! The server's side of a connection of the control protocol, without I/O: what both servers, of
//! [`threads`](super::threads) and of [`tasks`](super::tasks), do with a client's messages.

use std::collections::VecDeque;
use std::io;

use octet_control::file::{FileIntake, MAX_WANT};
use octet_control::{
    ClientMessage, Connection, Failure, FailureCode, FilePiece, PieceBody, Reply, ReplyBody,
    Request,
};
use serde_json::Value;

/// What a client has sent, and what it has not been sent yet.
#[derive(Debug, Default)]
pub(crate) struct ServerConnection {
    connection: Connection,
    messages: VecDeque<ClientMessage>,
    has_asked: bool,
}

impl ServerConnection {
    /// Takes bytes of the client.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.messages.extend(self.connection.received(bytes, true));
    }

    /// Whether the client's bytes can no longer be understood.
    pub fn is_finished(&self) -> bool {
        self.connection.finished()
    }

    /// The next request that has arrived. Other messages before it are the rest of an abandoned file.
    pub fn next_request(&mut self) -> Option<Request> {
        while let Some(message) = self.messages.pop_front() {
            if let ClientMessage::Request(request) = message {
                self.has_asked = true;
                return Some(request);
            }
        }
        None
    }

    /// Whether the next request has a time limit: the first one, and one that has begun. After its first request
    /// a client may be silent forever: some stay only to keep a registration.
    pub fn is_request_due(&self) -> bool {
        !self.has_asked || self.connection.is_mid_message()
    }

    /// Queues one of several items that answer request `id`.
    ///
    /// # Errors
    /// The client does not read; so it is with the others.
    pub fn item(&mut self, id: u64, item: Value) -> io::Result<()> {
        self.reply(id, ReplyBody::Item(item))
    }

    /// Queues the end of the answer to request `id`.
    pub fn end(&mut self, id: u64, answer: Result<Value, Failure>) -> io::Result<()> {
        self.reply(id, answer.map_or_else(ReplyBody::Error, ReplyBody::End))
    }

    /// Queues the refusal of a request that came before the end of the answer to another.
    pub fn refuse(&mut self, request: &Request) -> io::Result<()> {
        let help = "wait for the end of the answer, or open another connection";
        let message = "this connection is still being answered";
        self.end(request.id, Err(Failure::new(FailureCode::Busy, message, help)))
    }

    /// Queues the request for a part of the file of request `id`, which `intake` receives.
    pub fn want(
        &mut self,
        id: u64,
        intake: &mut FileIntake,
        at: u64,
        length: u32,
    ) -> Result<(), Failure> {
        let want = intake.want(at, length)?;
        self.reply(id, ReplyBody::Want(want)).map_err(|error| broken(&error.to_string()))
    }

    fn reply(&mut self, id: u64, body: ReplyBody) -> io::Result<()> {
        let given_up = |_| io::Error::other("the client does not read its answers");
        self.connection.reply(&Reply { id, body }).map_err(given_up)
    }

    /// The bytes that are to be sent.
    pub fn pending(&self) -> &[u8] {
        self.connection.pending()
    }

    pub fn has_pending(&self) -> bool {
        self.connection.has_pending()
    }

    /// The first `count` pending bytes are sent.
    pub fn sent(&mut self, count: usize) {
        self.connection.sent(count);
    }

    /// The first of the requested parts of the file of request `id`; `None` if more bytes are needed.
    pub fn next_part(
        &mut self,
        id: u64,
        intake: &mut FileIntake,
    ) -> Result<Option<Vec<u8>>, Failure> {
        while let Some(message) = self.messages.pop_front() {
            match message {
                ClientMessage::Piece(FilePiece { id: of, body }) if of == id => match body {
                    PieceBody::Chunk(chunk) => {
                        if let Some(bytes) = intake.take(&chunk)? {
                            return Ok(Some(bytes));
                        }
                    }
                    PieceBody::Broken(why) => return Err(broken(&why)),
                },
                ClientMessage::Piece(_) => {}
                ClientMessage::Request(request) => {
                    self.refuse(&request).map_err(|error| broken(&error.to_string()))?;
                }
            }
        }
        Ok(None)
    }
}

/// The reassembly of a file that is requested part by part.
pub(crate) struct Whole {
    longest: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Whole {
    /// A file of at most `longest` bytes.
    pub(crate) fn new(longest: u64) -> Self {
        Self { longest, bytes: vec![] }
    }

    /// The offset and length of the next part: one byte more than allowed, to detect a longer file.
    pub(crate) fn wants(&self) -> (u64, u32) {
        let at = self.bytes.len() as u64;
        (at, u32::try_from(self.longest + 1 - at).unwrap_or(u32::MAX).min(MAX_WANT))
    }

    /// Adds that part. Returns whether the file ends with it.
    pub(crate) fn take(&mut self, part: &[u8]) -> Result<bool, Failure> {
        let (_, wanted) = self.wants();
        self.bytes.extend_from_slice(part);
        if self.bytes.len() as u64 > self.longest {
            let message = format!("the file is longer than {} bytes", self.longest);
            let help = "see whether it is the file that you mean";
            return Err(Failure::new(FailureCode::BadArgument, message, help));
        }
        Ok(part.len() < wanted as usize)
    }
}

pub(crate) fn broken(why: &str) -> Failure {
    let message = format!("the file did not come to its end: {why}");
    Failure::new(FailureCode::Failed, message, "what is in force is as it was; send it again")
}
