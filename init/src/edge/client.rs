//! A client of PID 1: its connection, and its pending replies.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use super::callers::Caller;
use octet_control::{ClientMessage, Connection, Reply, ReplyBody};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How often PID 1 reads from one client before the others have their turn.
const READS_PER_TURN: usize = 16;

pub struct ControlClient {
    stream: ClientStream,
    connection: Connection,
    pub caller: Caller,
    /// The request that is answered with every change, and whether an answer is due.
    watch: Option<(u64, bool)>,
    /// The client does not read its replies: it is disconnected.
    overflowed: bool,
    /// The client has closed its sending side: it is disconnected once it has its replies.
    read_closed: bool,
}

/// The result of reading from a client.
pub enum Received {
    /// Everything that it has sent was read.
    Drained,
    MorePending,
    Disconnected,
}

/// The connection of a client.
pub enum ClientStream {
    /// PID 1's socket.
    Socket(UnixStream),
    /// The serial port under QEMU, which outlives each of its users.
    Port(File),
}

impl ClientStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(stream) => stream.read(buffer),
            Self::Port(port) => port.read(buffer),
        }
    }

    /// Whether the peer has closed the connection; never for a port.
    fn is_hung_up(&self) -> bool {
        let Self::Socket(stream) = self else { return false };
        let mut fds = [PollFd::new(stream, PollFlags::empty())];
        let now = Timespec::default();
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(stream) => stream.write(bytes),
            Self::Port(port) => port.write(bytes),
        }
    }
}

impl ControlClient {
    /// A client whose caller is known.
    pub fn new(stream: ClientStream, caller: Caller) -> Self {
        Self {
            stream,
            connection: Connection::default(),
            caller,
            watch: None,
            overflowed: false,
            read_closed: false,
        }
    }

    /// Queues a reply; a client that does not read its replies is disconnected.
    pub fn reply(&mut self, id: u64, body: ReplyBody) {
        if self.connection.reply(&Reply { id, body }).is_err() {
            self.reset();
            self.overflowed = matches!(self.stream, ClientStream::Socket(_));
        }
    }

    /// Answers the request `id` with every change from now on.
    pub fn watch(&mut self, id: u64) {
        self.watch = Some((id, true));
    }

    /// Something has changed that a watcher is to see.
    pub fn mark_changed(&mut self) {
        if let Some((_, due)) = &mut self.watch {
            *due = true;
        }
    }

    /// Whether the state is to be sent now: the client watches, something has changed, and it has
    /// read the previous state.
    pub fn is_due(&self) -> bool {
        self.watch.is_some_and(|(_, due)| due) && !self.connection.has_pending()
    }

    /// The request to be answered with the current state.
    pub fn take_watch(&mut self) -> Option<u64> {
        let (id, due) = self.watch.as_mut()?;
        *due = false;
        Some(*id)
    }

    fn reset(&mut self) {
        self.connection = Connection::default();
        self.watch = None;
    }

    /// Appends the received messages.
    pub fn receive(&mut self, messages: &mut Vec<ClientMessage>) -> Received {
        let closable = matches!(self.stream, ClientStream::Socket(_));
        let mut buffer = [0; 4096];
        for _ in 0..READS_PER_TURN {
            match self.stream.read(&mut buffer) {
                // A port outlives its users: the next one begins with a clean state.
                Ok(0) if !closable => {
                    self.reset();
                    return Received::Drained;
                }
                Ok(0) => {
                    self.read_closed = true;
                    return Received::Drained;
                }
                Ok(count) => messages.extend(self.connection.received(&buffer[..count], closable)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Received::Drained;
                }
                Err(_) => return Received::Disconnected,
            }
        }
        Received::MorePending
    }

    /// Sends what the client accepts now. Returns whether it is still connected.
    pub fn send(&mut self) -> bool {
        if self.overflowed {
            return false;
        }
        while self.connection.has_pending() {
            match self.stream.write(self.connection.pending()) {
                Ok(0) => return false,
                Ok(count) => self.connection.sent(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return matches!(self.stream, ClientStream::Port(_)),
            }
        }
        let is_owed = || self.watch.is_some() && !self.stream.is_hung_up();
        !self.connection.finished() && (!self.read_closed || is_owed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;

    #[test]
    fn who_watches_and_goes_is_dropped() {
        let (mut peer, own) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        let mut client = ControlClient::new(ClientStream::Socket(own), Caller::Root);
        client.watch(1);
        client.reply(1, ReplyBody::Item(serde_json::json!({ "state": "ready" })));
        assert!(client.send());
        // It sends no further requests, and continues to read.
        peer.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(client.receive(&mut vec![]), Received::Drained));
        assert!(client.send());
        assert!(peer.read(&mut [0; 64]).unwrap() > 0);
        drop(peer);
        assert!(matches!(client.receive(&mut vec![]), Received::Drained));
        assert!(!client.send());
    }
}
