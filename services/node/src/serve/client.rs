//! One client of a service's socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use octet_control::{Connection, Message, Reply, ReplyBody};

/// One client.
pub(super) struct Client {
    /// What it is connected by.
    pub stream: UnixStream,
    /// Whose process has connected, as the kernel says.
    pub uid: u32,
    connection: Connection,
    /// Requests without the end of an answer.
    open: usize,
    /// It does not read its answers, or is gone: it is dropped.
    given_up: bool,
    /// It will ask nothing further: it is dropped once it has its answers.
    done_asking: bool,
}

impl Client {
    pub fn new(stream: UnixStream, uid: u32) -> Self {
        let connection = Connection::default();
        Self { stream, uid, connection, open: 0, given_up: false, done_asking: false }
    }

    /// Whether more is read from it: not while it has yet to read its answers.
    pub fn may_ask(&self) -> bool {
        !self.done_asking && !self.has_pending()
    }

    pub fn has_pending(&self) -> bool {
        self.connection.has_pending()
    }

    /// Reads what it has sent, once.
    pub fn receive(&mut self) -> Vec<Message> {
        if !self.may_ask() {
            return vec![];
        }
        let mut buffer = [0; 4096];
        let messages = match self.stream.read(&mut buffer) {
            Ok(0) => {
                self.done_asking = true;
                vec![]
            }
            Ok(count) => self.connection.received(&buffer[..count], true),
            Err(error) => {
                self.given_up |= !is_passing(&error);
                vec![]
            }
        };
        self.open +=
            messages.iter().filter(|message| matches!(message, Message::Request(_))).count();
        messages
    }

    /// Queues a reply; a client that does not read its replies is cut off.
    pub fn reply(&mut self, id: u64, body: ReplyBody) {
        if body.is_last() {
            self.open = self.open.saturating_sub(1);
        }
        self.given_up |= self.connection.reply(&Reply { id, body }).is_err();
    }

    /// Sends what it takes now. Returns whether it is still to be served.
    pub fn send(&mut self) -> bool {
        while self.has_pending() && !self.given_up {
            match self.stream.write(self.connection.pending()) {
                Ok(0) => return false,
                Ok(count) => self.connection.sent(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        !self.given_up && !self.connection.finished() && (!self.done_asking || self.open > 0)
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
