//! The clients of PID 1: those of its socket, and the serial port under QEMU while the unit that
//! owns the port does not run.

use std::collections::HashMap;
use std::io;
use std::iter;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use octet_control::{ClientMessage, INIT, SOCKETS};
use rustix::net::sockopt::socket_peercred;

use super::callers::{self, Caller};
use super::client::{ClientStream, ControlClient, Received};
use super::poll::{EventSource, Poll};
use crate::clock::now;
use crate::port;
use crate::supervisor::Moment;

/// Maximum number of clients; further ones are refused.
const MAX_CLIENTS: usize = 64;

/// How many of them are reserved for operators: a service that occupies all the others must not
/// keep operators out.
const RESERVED_FOR_OPERATORS: usize = 32;

/// How many connections are accepted or refused in one turn: a client that connects without end
/// must not keep PID 1 from its other work. The poll is level-triggered, so the remaining ones are
/// reported again.
const MAX_ACCEPTS_PER_TURN: usize = 16;

#[derive(Default)]
pub struct ControlClients {
    listener: Option<UnixListener>,
    clients: HashMap<u32, ControlClient>,
    last_token: u32,
    port: Port,
    /// Users whose units authenticate operators.
    operators: Vec<u32>,
    /// Clients that may have sent more than was read in their turn.
    unfinished: Vec<u32>,
}

/// The serial port under QEMU.
#[derive(Default)]
enum Port {
    /// The unit `port` has it, or will have it.
    #[default]
    Delegated,
    /// That unit does not run: PID 1 tries to open the port.
    Searching {
        give_up: Moment,
        next: Moment,
    },
    Open(u32),
    Missing,
}

impl ControlClients {
    /// Opens the control socket. Any process of the node may connect and read; further permissions
    /// depend on the peer's uid: processes of the users `operators` have an operator's rights.
    pub fn listen(&mut self, poll: &Poll, operators: Vec<u32>) -> io::Result<()> {
        self.operators = operators;
        let path = format!("{SOCKETS}/{INIT}.sock");
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        poll.add(&listener, EventSource::Listener)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// When PID 1 tries to open the port next.
    pub fn next_attempt(&self) -> Option<Moment> {
        match self.port {
            Port::Searching { next, .. } => Some(next),
            Port::Delegated | Port::Open(_) | Port::Missing => None,
        }
    }

    /// No unit uses the port now: PID 1 answers there itself.
    pub fn claim_port(&mut self) {
        if let Port::Delegated = self.port {
            self.port = Port::Searching { give_up: now() + port::TIMEOUT, next: now() };
        }
    }

    /// The unit `port` is about to open the port, which only one program can have open.
    pub fn release_port(&mut self) {
        if let Port::Open(token) = std::mem::take(&mut self.port) {
            self.clients.remove(&token);
        }
    }

    /// Opens the port if it is due and exists.
    pub fn open_port(&mut self, poll: &Poll) {
        let Port::Searching { give_up, .. } = self.port else { return };
        let next = now() + port::RETRY_DELAY;
        self.port = match port::open() {
            Some(port) => {
                let token = self.next_token();
                let watched = poll.add_for_changes(&port, EventSource::Client(token));
                self.clients
                    .insert(token, ControlClient::new(ClientStream::Port(port), Caller::Port));
                watched.map_or(Port::Missing, |()| Port::Open(token))
            }
            None if now() < give_up => Port::Searching { give_up, next },
            None => Port::Missing,
        };
    }

    /// Accepts waiting connections, a limited number at a time.
    pub fn accept(&mut self, poll: &Poll) {
        let Some(listener) = &self.listener else {
            return;
        };
        let mut accepted = Vec::new();
        let mut count = self.clients.len();
        for (stream, _) in iter::from_fn(|| listener.accept().ok()).take(MAX_ACCEPTS_PER_TURN) {
            let Ok(peer) = socket_peercred(&stream) else { continue };
            let caller = callers::classify(peer.uid.as_raw(), &self.operators);
            if has_room(count, caller) {
                count += 1;
                accepted.push((stream, caller));
            }
        }
        for (stream, caller) in accepted {
            self.adopt(poll, stream, caller);
        }
    }

    /// Serves `stream` with the peer `caller` from now on, if it can be polled.
    fn adopt(&mut self, poll: &Poll, stream: UnixStream, caller: Caller) -> Option<()> {
        let token = self.next_token();
        stream.set_nonblocking(true).ok()?;
        poll.add_for_changes(&stream, EventSource::Client(token)).ok()?;
        self.clients.insert(token, ControlClient::new(ClientStream::Socket(stream), caller));
        Some(())
    }

    fn next_token(&mut self) -> u32 {
        self.last_token = self.last_token.wrapping_add(1);
        self.last_token
    }

    /// The client, if it is still connected.
    pub fn get(&mut self, token: u32) -> Option<&mut ControlClient> {
        self.clients.get_mut(&token)
    }

    /// Reads what the client has sent; `None` if it is gone.
    pub fn receive(&mut self, token: u32) -> Option<Vec<ClientMessage>> {
        let mut messages = Vec::new();
        match self.clients.get_mut(&token)?.receive(&mut messages) {
            Received::Drained => {}
            Received::MorePending => self.unfinished.push(token),
            Received::Disconnected => {
                self.clients.remove(&token);
                return None;
            }
        }
        Some(messages)
    }

    /// The clients that get another turn without a new event.
    pub fn take_unfinished(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.unfinished)
    }

    /// Sends what the client accepts, and removes it if it is finished or gone.
    pub fn send(&mut self, token: u32) {
        if self.clients.get_mut(&token).is_some_and(|client| !client.send()) {
            self.clients.remove(&token);
        }
    }

    /// Something has changed that watchers are to see.
    pub fn mark_changed(&mut self) {
        self.clients.values_mut().for_each(ControlClient::mark_changed);
    }

    /// The watchers that the state is sent to now. One that has not yet read the last state is
    /// skipped: when it has, it gets the newest.
    pub fn due_watchers(&self) -> Vec<u32> {
        self.clients.iter().filter(|(_, client)| client.is_due()).map(|(token, _)| *token).collect()
    }

    /// Tries again to send pending replies to all clients.
    pub fn flush(&mut self) {
        for client in self.clients.values_mut() {
            client.send();
        }
    }
}

/// Whether there is room for `caller` besides `count` others.
fn has_room(count: usize, caller: Caller) -> bool {
    let reserved = if caller.is_operator() { 0 } else { RESERVED_FOR_OPERATORS };
    count + reserved < MAX_CLIENTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_keep_no_operator_out() {
        let most = |caller| (0..).find(|&count| !has_room(count, caller)).unwrap();
        let (services, all) = (most(Caller::User(901)), most(Caller::Root));
        assert_eq!(
            (services, all - services),
            (MAX_CLIENTS - RESERVED_FOR_OPERATORS, RESERVED_FOR_OPERATORS)
        );
    }

    /// Connections beyond the limit of a turn keep waiting.
    #[test]
    fn no_turn_is_longer_than_it_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("init.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut clients = ControlClients {
            listener: Some(listener.try_clone().unwrap()),
            ..ControlClients::default()
        };
        let _waiting: Vec<_> =
            (0..MAX_ACCEPTS_PER_TURN * 2).map(|_| UnixStream::connect(&path).unwrap()).collect();
        clients.accept(&Poll::new().unwrap());
        assert_eq!(iter::from_fn(|| listener.accept().ok()).count(), MAX_ACCEPTS_PER_TURN);
    }
}
