//! One client: its connection, and the answer that it is in the middle of.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use octet_node::control::{ClientMessage, Connection, Reply, ReplyBody};
use octet_node::limits::Permit;

use crate::read::Cursor;

pub struct LogClient {
    /// What it is connected by.
    pub stream: UnixStream,
    /// Whose process has connected, as the kernel says.
    pub uid: u32,
    connection: Connection,
    /// The answer that is under way; one at a time.
    pub reading: Option<Reading>,
    /// It does not read its answers: it is dropped.
    given_up: bool,
    /// It will ask nothing further: it is dropped once it has its answers.
    done_asking: bool,
    /// What is waited for: whether it can be read, whether it can be written.
    pub interest: (bool, bool),
    _place: Permit<u32>,
}

/// An answer of many lines.
pub struct Reading {
    pub id: u64,
    /// Where to go on; `None` while the reader has it.
    pub cursor: Option<Cursor>,
    /// It has all that there is, up to this sequence number.
    pub at_end: Option<u64>,
    pub fields: bool,
    /// Whether it has been sent anything yet.
    pub found_any: bool,
}

impl LogClient {
    /// A client that has just connected, a process of user `uid`, and has this place.
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

    /// Queues a reply; a client that does not read its replies is cut off.
    pub fn reply(&mut self, id: u64, body: ReplyBody) {
        if self.connection.reply(&Reply { id, body }).is_err() {
            self.given_up = true;
        }
    }

    /// Reads what it has sent, once; `None` if it is gone.
    pub fn receive(&mut self) -> Option<Vec<ClientMessage>> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.done_asking = true,
            Ok(count) => return Some(self.connection.received(&buffer[..count], true)),
            Err(error) if is_passing(&error) => {}
            Err(_) => return None,
        }
        Some(vec![])
    }

    /// Sends what it takes now. Returns whether it is still to be served.
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

    /// Whether to wait for something to read, and for room to write.
    pub fn wanted_interest(&self) -> (bool, bool) {
        (!self.done_asking, self.connection.has_pending())
    }

    /// The cursor to read on with: it has read all that it was sent, and there may be more, up to
    /// sequence number `next`.
    pub fn take_cursor(&mut self, next: u64) -> Option<Cursor> {
        if self.connection.has_pending() {
            return None;
        }
        let reading = self.reading.as_mut()?;
        reading.at_end.is_none_or(|seen| next > seen).then(|| reading.cursor.take())?
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
