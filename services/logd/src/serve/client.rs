//! A client: its connection, and its answer in progress.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use octet_node::control::{ClientMessage, Connection, Reply, ReplyBody};
use octet_node::limits::Permit;

use crate::read::Cursor;

pub struct LogClient {
    pub stream: UnixStream,
    /// The user of the connected process, as reported by the kernel.
    pub uid: u32,
    connection: Connection,
    /// The answer in progress; there is at most one.
    pub reading: Option<Reading>,
    /// Whether it is dropped because it does not read its answers.
    given_up: bool,
    /// Whether it sends no more requests: it is dropped once it has all answers.
    done_asking: bool,
    /// The registered events: readable, writable.
    pub interest: (bool, bool),
    _place: Permit<u32>,
}

/// An answer that is sent in batches.
pub struct Reading {
    pub id: u64,
    /// The position; `None` while the reader has it.
    pub cursor: Option<Cursor>,
    /// Everything up to this sequence number was sent.
    pub at_end: Option<u64>,
    pub fields: bool,
    /// Whether any line was found.
    pub found_any: bool,
}

impl LogClient {
    /// A new client of user `uid`.
    pub fn new(stream: UnixStream, uid: u32, place: Permit<u32>) -> Self {
        Self {
            stream,
            uid,
            connection: Connection::default(),
            reading: None,
            given_up: false,
            done_asking: false,
            interest: (true, false),
            _place: place,
        }
    }

    /// Queues a reply; a client that does not read its replies is dropped.
    pub fn reply(&mut self, id: u64, body: ReplyBody) {
        if self.connection.reply(&Reply { id, body }).is_err() {
            self.given_up = true;
        }
    }

    /// Reads from the connection once; `None` if it has failed.
    pub fn receive(&mut self) -> Option<Vec<ClientMessage>> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.done_asking = true,
            Ok(count) => return Some(self.connection.received(&buffer[..count], true)),
            Err(error) if is_transient(&error) => {}
            Err(_) => return None,
        }
        Some(vec![])
    }

    /// Sends as much as the socket takes. Returns whether the client is kept.
    pub fn send(&mut self) -> bool {
        while self.connection.has_pending() && !self.given_up {
            match self.stream.write(self.connection.pending()) {
                Ok(0) => return false,
                Ok(count) => self.connection.sent(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        let owed = self.reading.is_some();
        !self.given_up && !self.connection.finished() && (!self.done_asking || owed)
    }

    /// The events to register: readable, writable.
    pub fn poll_interest(&self) -> (bool, bool) {
        (!self.done_asking, self.connection.has_pending())
    }

    /// The cursor to continue reading at, if everything so far was sent, and there may be more
    /// entries before sequence number `next`.
    pub fn take_cursor(&mut self, next: u64) -> Option<Cursor> {
        if self.connection.has_pending() {
            return None;
        }
        let reading = self.reading.as_mut()?;
        reading.at_end.is_none_or(|seen| next > seen).then(|| reading.cursor.take())?
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
